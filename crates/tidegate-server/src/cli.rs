//! The arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use http::{HeaderValue, Method};
use tidegate::headers::FieldName;
use tracing_subscriber::EnvFilter;

/// A WebSocket and HTTP gateway that asks the upstream first.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration: prints all errors, exits with 0 when it is valid and 1 when not
    Check(CheckArgs),
    /// Print what a shell needs to complete these commands:
    /// source <(tidegate completions bash)
    Completions(CompletionsArgs),
    /// Start a demo: the gateway with built-in upstreams, all on loopback
    Dev(DevArgs),
    /// Tell users something through their bridge sessions, by the admin listener of a running gateway
    Push(PushArgs),
    /// Look at the routes of a configuration
    #[command(subcommand)]
    Routes(RoutesCommand),
    /// Run the gateway (the default command)
    Run(RunArgs),
    /// See and end the WebSockets of a running gateway, by its admin listener
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Make a token to try a gateway with, and see what a token says
    #[command(subcommand)]
    Token(TokenCommand),
    /// See who is online, and end the sessions of a user, by the admin listener
    #[command(subcommand)]
    Users(UsersCommand),
    /// Show the version
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoutesCommand {
    /// Show which route a request takes, and why not the others; exits with 1 when it takes none
    Test(RoutesTestArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List the open sessions
    Ls(SessionsLsArgs),
    /// End a session, at the boundary between two frames
    Kill(SessionsKillArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List the users who are online
    Ls(UsersLsArgs),
    /// End all sessions that a user has now
    Kick(UsersKickArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Show what a token says; with --config, whether that gateway would take it
    Inspect(TokenInspectArgs),
    /// Make a token, by a key for development
    Mint(TokenMintArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenInspectArgs {
    /// The token; `-` reads it from standard input
    pub(crate) token: String,
    /// The configuration to verify it by: exits with 1 where it is refused
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenMintArgs {
    /// The user (`sub`)
    #[arg(long, value_name = "NAME", default_value = "developer")]
    pub(crate) user: String,
    /// A role (`roles`); may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) role: Vec<String>,
    /// A scope (`scope`); may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Vec<String>,
    /// For whom it is (`aud`); may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Vec<String>,
    /// Who issues it (`iss`)
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// How long it is good, such as 10m
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = tidegate::config::duration)]
    pub(crate) expires_in: std::time::Duration,
    /// Any other claim: NAME=VALUE, the value in JSON or else a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_claim)]
    pub(crate) claim: Vec<(String, serde_json::Value)>,
    /// The private key in PEM; where there is no such file one is made, and KEY.pub.pem with it
    #[arg(long, value_name = "FILE", default_value = "tidegate-development.pem")]
    pub(crate) key: PathBuf,
    /// The file with the shared secret, in place of a key
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("to").required(true)))]
pub(crate) struct PushArgs {
    /// All sessions of this user; may be repeated
    #[arg(long, value_name = "NAME", group = "to")]
    pub(crate) user: Vec<String>,
    /// This session; may be repeated
    #[arg(long, value_name = "ID", group = "to")]
    pub(crate) session: Vec<String>,
    /// All members of this room; may be repeated
    #[arg(long, value_name = "NAME", group = "to")]
    pub(crate) room: Vec<String>,
    /// Every session
    #[arg(long, group = "to")]
    pub(crate) all: bool,
    /// The name of what has happened
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) event: String,
    /// What is told: JSON, or else a text; `-` reads it from standard input. What begins with `{` or `[` must be JSON
    #[arg(long, value_name = "JSON", default_value = "null")]
    pub(crate) data: String,
    /// What is told is a text, whatever it looks like
    #[arg(long, requires = "data")]
    pub(crate) text: bool,
    /// The service that it is from
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Of two with one key a slow client may get the later one alone
    #[arg(long, value_name = "TEXT")]
    pub(crate) conflate_key: Option<String>,
    /// It is not sent again to a client that comes back without it
    #[arg(long)]
    pub(crate) live: bool,
    /// Wait up to 5 s until the clients of version 1 have said that they have it
    #[arg(long)]
    pub(crate) wait: bool,
    /// Asked again with the same, nothing is pushed twice within 5 minutes
    #[arg(long, value_name = "TEXT", value_parser = parse_key)]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsLsArgs {
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only those of this route
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// Only those with this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only those of clients at this address, or in this network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// Print all that is known of each session, as a JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsKillArgs {
    /// The session's id
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// The close code that the client gets; 1008 unless it is given
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<u16>,
    /// The reason that the client gets, at most 123 bytes; `admin` unless it is given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UsersLsArgs {
    /// Print a JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UsersKickArgs {
    /// The user's name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) user: String,
    /// The close code that the clients get; 1008 unless it is given, and 4440 of a handler or a bridge
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<u16>,
    /// The reason that the clients get, at most 123 bytes; `admin` unless it is given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Where the admin listener is; without it as in the configuration, else 127.0.0.1:9900
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_place)]
    pub(crate) admin: Option<String>,
    /// The file that holds its token; without it as in the configuration, which is read beside
    /// --admin only where --config names it
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: AdminTlsArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AdminTlsArgs {
    /// Speak TLS; without it where the configuration says so, and with each of the options below
    #[arg(long)]
    pub(crate) tls: bool,
    /// The authorities that its certificate must be from, in PEM; without it those of the system, or
    /// it shows the certificate that the configuration names
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate to show where one is asked for, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Whom its certificate must be for; without it the host of --admin
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; without it ./tidegate.yaml, then /etc/tidegate/tidegate.yaml
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How the log is written to standard output
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RoutesTestArgs {
    /// The method, such as GET
    pub(crate) method: Method,
    /// The target: /path?query, http://host/path, or ws://host/path, which asks for a WebSocket:
    /// the fields of the handshake that no -H names are added
    pub(crate) url: String,
    /// A header field; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) header: Vec<(FieldName, HeaderValue)>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The address of the gateway
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) bind: SocketAddr,
    /// The address of the admin listener; 127.0.0.1:9900, or a free port where that is taken
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// Speak TLS, with a certificate that is made for this demo and goes with it
    #[arg(long)]
    pub(crate) tls: bool,
    /// Print the demo's configuration and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// How the log is written to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What is logged, as in RUST_LOG: a level, or `warn,tidegate=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub(crate) log_level: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A JSON object per line
    Json,
    /// For people
    Text,
}

fn parse_header(text: &str) -> Result<(FieldName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written as `Name: value`")?;
    let name = FieldName::parse(name.to_owned()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

fn parse_claim(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a claim is written as NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_text| value.into());
    Ok((name.to_owned(), value))
}

fn parse_key(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("a key has 1 to 255 visible ASCII characters".to_owned())
}

fn parse_place(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) if !text.contains('/') => Ok(text.to_owned()),
        _ => Err("write host and port alone, such as 127.0.0.1:9900".to_owned()),
    }
}

fn parse_level(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_command() {
        let cli = Cli::try_parse_from(["tidegate", "--config", "a.yaml"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.config.config.unwrap().to_str(), Some("a.yaml"));
    }

    #[test]
    fn each_command_has_its_own_format_of_the_log() {
        let cli = Cli::try_parse_from(["tidegate", "--log-level", "debug"]).unwrap();
        assert_eq!(cli.run.log_format, LogFormat::Json);
        let cli = Cli::try_parse_from(["tidegate", "dev"]).unwrap();
        let Some(Command::Dev(dev)) = cli.command else {
            unreachable!("it is `dev`");
        };
        assert_eq!(dev.log_format, LogFormat::Text);
    }

    #[test]
    fn headers_are_checked() {
        let (name, value) = parse_header("Host:  a.example ").unwrap();
        assert!(name.is("host") && value == "a.example");
        assert!(parse_header("Host").is_err());
        assert!(parse_header("a b: c").is_err());
    }

    #[test]
    fn a_wrong_use_ends_with_2() {
        for wrong in [
            &["tidegate", "chekc"][..],
            &["tidegate", "run", "--log-level", "tidegate=loud"],
            &["tidegate", "routes", "test", "GET"],
            &["tidegate", "sessions", "kill", ""],
            &["tidegate", "sessions", "ls", "--admin", "127.0.0.1"],
            &[
                "tidegate",
                "sessions",
                "ls",
                "--admin",
                "http://127.0.0.1:9900",
            ],
            &["tidegate", "sessions", "ls", "--admin", "a:99999"],
            &["tidegate", "sessions", "ls", "--cert", "a.pem"],
            &["tidegate", "sessions", "ls", "--key", "a.key"],
            &["tidegate", "push", "--event", "a"],
            &["tidegate", "push", "--all", "--user", "u", "--event", "a"],
            &["tidegate", "push", "--all"],
        ] {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2);
        }
    }
}
