//! `tidegate token`: tokens to try a gateway with, and what a token says.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};
use tidegate::auth;
use tidegate::auth::mint::Mint;
use tidegate::config::{Config, Secret};

use crate::cli::{TokenCommand, TokenInspectArgs, TokenMintArgs};
use crate::{config, out};

/// The longest text that is read for a token or a key.
const LONGEST: u64 = 1 << 20;

pub(crate) fn token(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Mint(args) => mint(args),
        TokenCommand::Inspect(args) => inspect(args),
    }
}

fn mint(args: &TokenMintArgs) -> anyhow::Result<ExitCode> {
    let mint = match &args.secret_file {
        Some(path) => {
            let secret = read(path)?;
            Mint::of_secret(&Secret::new(secret.trim_end()))
                .with_context(|| path.display().to_string())?
        }
        None => by_key(&args.key)?,
    };
    let mut claims = Map::new();
    claims.insert("sub".into(), args.user.as_str().into());
    if !args.role.is_empty() {
        claims.insert("roles".into(), json!(args.role));
    }
    if !args.scope.is_empty() {
        claims.insert("scope".into(), args.scope.join(" ").into());
    }
    match args.audience.as_slice() {
        [] => {}
        [one] => drop(claims.insert("aud".into(), one.as_str().into())),
        many => drop(claims.insert("aud".into(), json!(many))),
    }
    if let Some(issuer) = &args.issuer {
        claims.insert("iss".into(), issuer.as_str().into());
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    claims.insert("iat".into(), now.as_secs().into());
    claims.insert("exp".into(), (now + args.expires_in).as_secs().into());
    claims.extend(args.claim.iter().cloned());
    out::line(mint.sign(&claims)?);
    Ok(ExitCode::SUCCESS)
}

/// By the key in the file; where there is no such file, one is made, with its public half beside it.
fn by_key(path: &Path) -> anyhow::Result<Mint> {
    if path.exists() {
        return Mint::of_pem(&read(path)?).with_context(|| path.display().to_string());
    }
    let (mint, private) = Mint::make()?;
    let public_path = beside(path);
    let public = mint.public_pem().context("the key has no public half")?;
    write(path, 0o600, private.reveal())?;
    write(&public_path, 0o644, public.as_bytes())?;
    let shown = std::path::absolute(&public_path).unwrap_or(public_path);
    out::error(format_args!(
        "made a key for development, {}; let a gateway know it by\n  auth: {{ jwt: {{ pem: 'file:{}' }} }}",
        path.display(),
        shown.display(),
    ));
    Ok(mint)
}

/// `key.pem` has its public half in `key.pub.pem`.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("pub.pem")
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

fn inspect(args: &TokenInspectArgs) -> anyhow::Result<ExitCode> {
    let token = match args.token.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
            read.context("cannot read standard input")?;
            text
        }
        token => token.to_owned(),
    };
    let token = token.trim();
    let Some((header, claims)) = auth::inspect(token) else {
        bail!("this is no token: three parts of base64url with dots between them");
    };
    out::line(serde_json::to_string_pretty(
        &json!({ "header": header, "claims": claims }),
    )?);
    out::line(lifetime(&claims));
    let Some(path) = &args.config else {
        out::line("not verified: name a configuration with --config");
        return Ok(ExitCode::SUCCESS);
    };
    verify(path, token)
}

/// Whether a gateway with this configuration would take it.
fn verify(path: &Path, token: &str) -> anyhow::Result<ExitCode> {
    let plan = Config::from_file(config::find(&crate::cli::ConfigArgs {
        config: Some(path.to_owned()),
    })?)
    .and_then(|config| config.resolve());
    let plan = plan.map_err(|errors| anyhow!("{errors}"))?;
    let jwt = plan
        .auth
        .jwt
        .context("the configuration has no `auth.jwt`")?;
    match auth::verify(&jwt, token) {
        Ok(principal) => {
            let roles: Vec<_> = principal.roles().collect();
            let (user, roles) = (principal.user(), roles.join(", "));
            out::line(format_args!("verified: user {user}, roles {roles}"));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            out::line(format_args!("refused: {error}"));
            if jwt.jwks.is_some() {
                out::line("the keys that the issuer publishes were not fetched for this");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn lifetime(claims: &Value) -> String {
    let Some(end) = claims["exp"].as_f64() else {
        return "it does not say when it expires, so it is refused".to_owned();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = end - now.as_secs_f64();
    let whole = Duration::try_from_secs_f64(left.abs().floor()).unwrap_or(Duration::MAX);
    let seconds = whole.as_secs();
    if left > 0.0 {
        format!("it expires in {seconds} s")
    } else {
        format!("it expired {seconds} s ago")
    }
}
