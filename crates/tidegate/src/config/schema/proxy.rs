//! `proxy`: the service at which a route ends, and how requests are handed to it.

use std::sync::Arc;

use super::super::error::Problems;
use super::super::plan::{HostPolicy, OriginPolicy, WebSocketPlan};
use super::super::url;
use super::super::value;
use super::super::yaml::{Choice, Located, Quoted, Spot, nearest};
use super::{located, websocket};

/// The value of `proxy`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Proxy {
    pub(in crate::config) service: Option<Located<String>>,
    pub(in crate::config) host: HostPolicy,
    pub(in crate::config) origin: OriginPolicy,
    pub(in crate::config) websocket: Arc<WebSocketPlan>,
}

impl Proxy {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        if spot.is_scalar() {
            let name = spot.text(problems).and_then(|text| value::name(text).ok());
            let suggestion = format!("write `proxy: {{ service: {} }}`", name.unwrap_or("chat"));
            problems.suggest(
                &spot.place(),
                "expected a map, found a single value",
                suggestion,
            );
            return None;
        }
        let mut fields = spot.fields(problems)?;
        let service = fields.need("service", "service: chat", problems);
        let service = service.and_then(|spot| located(&spot, problems, |text| Ok(text.to_owned())));
        let host = fields.take("host");
        let host = host.and_then(|spot| read_host(&spot, problems));
        let origin = fields.take("origin");
        let origin = origin.and_then(|spot| read_origin(&spot, problems));
        let websocket = fields.take("websocket");
        let websocket = websocket.map(|spot| websocket::read(&spot, problems));
        fields.finish(problems);
        Some(Self {
            service,
            host: host.unwrap_or(HostPolicy::Keep),
            origin: origin.unwrap_or(OriginPolicy::Keep),
            websocket: Arc::new(websocket.unwrap_or_default()),
        })
    }
}

/// `keep`, `rewrite`, or a literal, which may be written as `{ literal: ... }` too.
fn read_host(spot: &Spot<'_>, problems: &mut Problems) -> Option<HostPolicy> {
    const NAMES: [&str; 3] = ["keep", "rewrite", "literal"];
    let choice = spot.choice(problems)?;
    match (choice.name, &choice.argument) {
        ("keep", _) => choice.no_argument(problems).map(|()| HostPolicy::Keep),
        ("rewrite", _) => choice.no_argument(problems).map(|()| HostPolicy::Rewrite),
        ("literal", Some(literal)) => literal.value(problems, url::host).map(HostPolicy::Literal),
        (_, Some(_)) => {
            choice.unknown(problems, "host policy", NAMES);
            None
        }
        (_, None) => {
            reject_misspelling(&choice, "literal: host", problems)?;
            spot.value(problems, url::host).map(HostPolicy::Literal)
        }
    }
}

/// `keep`, `rewrite`, a literal, `{ literal: ... }`, or `{ default: ... }`.
fn read_origin(spot: &Spot<'_>, problems: &mut Problems) -> Option<OriginPolicy> {
    const NAMES: [&str; 4] = ["keep", "rewrite", "literal", "default"];
    let choice = spot.choice(problems)?;
    match (choice.name, &choice.argument) {
        ("keep", _) => choice.no_argument(problems).map(|()| OriginPolicy::Keep),
        ("rewrite", _) => choice.no_argument(problems).map(|()| OriginPolicy::Rewrite),
        ("literal", Some(literal)) => literal
            .value(problems, url::origin)
            .map(OriginPolicy::Literal),
        ("default", Some(default)) => default
            .value(problems, url::origin)
            .map(OriginPolicy::Default),
        (_, Some(_)) => {
            choice.unknown(problems, "origin policy", NAMES);
            None
        }
        (_, None) => {
            reject_misspelling(&choice, "default: https://app.example", problems)?;
            spot.value(problems, url::origin).map(OriginPolicy::Literal)
        }
    }
}

/// A slip in `keep` or `rewrite` must not become a literal of that name.
fn reject_misspelling(choice: &Choice<'_>, example: &str, problems: &mut Problems) -> Option<()> {
    let known = ["keep", "rewrite", "literal", "default"];
    let Some(meant) = nearest(choice.name, known).filter(|_| !choice.name.contains(['.', ':']))
    else {
        return Some(());
    };
    let suggestion = match meant {
        "literal" | "default" => format!("write `{{ {example} }}`"),
        meant => format!("did you mean {}?", Quoted(meant)),
    };
    let message = format!("unknown policy {}", Quoted(choice.name));
    problems.suggest(&choice.place, message, suggestion);
    None
}
