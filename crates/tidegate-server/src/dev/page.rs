//! The demo's page: the bridge, tried from a browser with a token that is there already.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Map, json};
use tidegate::auth::mint::Mint;

const PAGE: &str = include_str!("demo.html");
/// How long the token is good: longer than a demo.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A user of the demo.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// What it shows.
    pub(super) token: String,
    /// What the token is verified with, in PEM.
    pub(super) key: String,
}

impl Visitor {
    /// One whose key nobody has: it is forgotten at once.
    pub(super) fn make() -> anyhow::Result<Self> {
        let (mint, _forgotten) = Mint::make()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let end = now.unwrap_or_default() + LIFETIME;
        let mut claims = Map::new();
        claims.insert("sub".into(), "demo".into());
        claims.insert("roles".into(), json!(["user"]));
        claims.insert("exp".into(), end.as_secs().into());
        Ok(Self {
            token: mint.sign(&claims)?,
            key: mint.public_pem().context("the key has no public half")?,
        })
    }

    /// The page, with the token in it.
    pub(super) fn page(&self) -> String {
        PAGE.replace("{{token}}", &self.token)
    }
}
