//! The demo's page: tabs of two users, whose tokens are there already.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Map, json};
use tidegate::auth::mint::Mint;

use crate::reachable::reachable;

const PAGE: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const TAB: &str = include_str!("page/tab.js");
const SCRIPT: &str = include_str!("page/page.js");
/// Everything is from here, and nothing is written into it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// How long the tokens are good: longer than a demo.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The users of the demo.
#[derive(Debug, Clone)]
pub(super) struct Visitors {
    /// What the user `demo` shows.
    pub(super) demo: String,
    /// The same of `guest`.
    guest: String,
    /// What both are verified with, in PEM.
    pub(super) key: String,
}

/// What the page has to know.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) visitors: Visitors,
    /// Where the admin listener is, once that is known.
    pub(super) admin: Arc<OnceLock<SocketAddr>>,
}

impl Visitors {
    /// Ones whose key nobody has: it is forgotten at once.
    pub(super) fn make() -> anyhow::Result<Self> {
        let (mint, _forgotten) = Mint::make()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let end = now.unwrap_or_default() + LIFETIME;
        let token = |user: &str| {
            let mut claims = Map::new();
            claims.insert("sub".into(), user.into());
            claims.insert("roles".into(), json!(["user"]));
            claims.insert("exp".into(), end.as_secs().into());
            mint.sign(&claims)
        };
        Ok(Self {
            demo: token("demo")?,
            guest: token("guest")?,
            key: mint.public_pem().context("the key has no public half")?,
        })
    }
}

impl Page {
    /// The page and what it is made of.
    pub(super) fn application(self) -> Router {
        let script = |text| get(async move || ([(CONTENT_TYPE, "text/javascript")], text));
        Router::new()
            .route("/_tidegate/demo", get(page))
            .route("/_tidegate/demo/tab.js", script(TAB))
            .route("/_tidegate/demo/page.js", script(SCRIPT))
            .route(
                "/_tidegate/demo/page.css",
                get(async || ([(CONTENT_TYPE, "text/css")], CSS)),
            )
            .with_state(self)
    }
}

async fn page(State(page): State<Page>) -> impl IntoResponse {
    let admin = page.admin.get().copied().map(reachable);
    let admin = admin.map(|admin| admin.to_string()).unwrap_or_default();
    let text = PAGE
        .replace("{{demo}}", &page.visitors.demo)
        .replace("{{guest}}", &page.visitors.guest)
        .replace("{{admin}}", &admin);
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(text))
}
