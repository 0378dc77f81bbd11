//! Somebody else who makes keys and signs tokens: Node's cryptography, in a child process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::tools;

/// The secret that [`Token::secret`] signs with, long enough for every hash.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Makes keys and signs tokens, until it is dropped.
#[derive(Debug)]
pub struct Mint {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// The public half of a key, as files of several kinds hold it, and the private one.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// `PUBLIC KEY`.
    pub pem: String,
    /// `RSA PUBLIC KEY`, of RSA keys.
    pub pkcs1: String,
    /// `PRIVATE KEY`.
    pub private: String,
    /// A JWK without `kid`.
    pub jwk: Value,
}

/// A token to be.
#[derive(Debug, Clone)]
pub struct Token {
    how: String,
    key: String,
    secret: String,
    header: Value,
    claims: Value,
    payload: Option<String>,
}

/// Seconds since 1970, `offset` from now.
#[must_use]
pub fn from_now(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + offset
}

impl Mint {
    /// Starts it; `None`, said aloud, where there is no Node.
    #[must_use]
    pub fn open(test: &str) -> Option<Self> {
        let node = tools::program(test, "node")?;
        let mut child = Command::new(node)
            .arg(tools::script("mint.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipes = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        Some(Self {
            child,
            pipes: Mutex::new(pipes),
        })
    }

    fn ask(&self, request: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap();
        writeln!(pipes.0, "{request}").unwrap();
        let mut line = String::new();
        pipes.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Makes a key of this kind (`rsa`, `p256`, `p384`, `p521`, `ed25519`, `rsa1024`).
    pub fn key(&self, name: &str, kind: &str) -> PublicKey {
        let made = self.ask(&json!({ "make": { "name": name, "kind": kind } }));
        let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
        PublicKey {
            pem: text("pem"),
            pkcs1: text("pkcs1"),
            private: text("private"),
            jwk: made["jwk"].clone(),
        }
    }

    /// Signs a token.
    #[must_use]
    pub fn sign(&self, token: &Token) -> String {
        let request = json!({ "sign": {
            "how": token.how, "key": token.key, "secret": token.secret, "header": token.header,
            "claims": token.claims, "payload": token.payload,
        } });
        self.ask(&request).as_str().unwrap().to_owned()
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PublicKey {
    /// The JWK with these members too.
    #[must_use]
    pub fn jwk_with(&self, members: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }
}

impl Token {
    /// One that is right in every claim, of the user `u42` with the role `user`, signed by `alg` with
    /// the key of that name.
    #[must_use]
    pub fn of(alg: &str, key: &str) -> Self {
        Self {
            how: alg.to_owned(),
            key: key.to_owned(),
            secret: SECRET.to_owned(),
            header: json!({ "alg": alg, "typ": "JWT" }),
            claims: json!({ "sub": "u42", "roles": ["user"], "exp": from_now(300) }),
            payload: None,
        }
    }

    /// The same, signed with [`SECRET`] by HS256.
    #[must_use]
    pub fn secret() -> Self {
        Self::of("HS256", "")
    }

    /// With this claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Without this claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    /// With this member of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Signed in this way, whatever the header says.
    #[must_use]
    pub fn signed_by(mut self, how: &str) -> Self {
        how.clone_into(&mut self.how);
        self
    }

    /// Signed with the key of this name.
    #[must_use]
    pub fn signed_with(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Signed with this secret.
    #[must_use]
    pub fn with_secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }

    /// With this text in place of claims.
    #[must_use]
    pub fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.to_owned());
        self
    }
}
