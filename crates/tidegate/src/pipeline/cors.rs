//! Where browsers may call from: the gateway's side of `tidegate_ws::cors`, for handshakes and requests
//! alike. It stands before all filters, so that a preflight, which bears no credential, needs none.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use tidegate_ws::cors::{self, CorsFields, CorsPolicy, CorsRefusal, Origin, Own};

use crate::error::date;
use crate::exchange::{Answer, Exchange};
use crate::headers::{FieldName, Headers};

const ORIGIN: &str = "origin";
const METHOD: &str = "access-control-request-method";
const HEADERS: &str = "access-control-request-headers";

/// What holds for browsers somewhere.
#[derive(Debug, Clone)]
pub struct CorsPlan {
    /// Who may call.
    pub policy: Arc<CorsPolicy>,
    /// Whether that is everybody. Then nobody may with what a browser sends unasked.
    pub is_any: bool,
    /// Whether its route speaks nothing but WebSocket: what comes there without asking for one, asks what
    /// it would be told.
    pub only_sessions: bool,
}

/// Whether it asks, on behalf of a page, what that may do (Fetch section 3.3.2).
pub(crate) fn is_preflight(exchange: &Exchange) -> bool {
    exchange.method == Method::OPTIONS
        && exchange.headers.contains(ORIGIN)
        && exchange.headers.contains(METHOD)
}

/// The method that a preflight asks for.
pub(crate) fn asked_method(exchange: &Exchange) -> Option<Method> {
    let method = exchange.headers.get(METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

impl CorsPlan {
    /// What holds where a route ends at code of ours and nothing is said of origins: a session carries
    /// what a browser sends unasked, and nothing behind us sees where it comes from (RFC 6455 section 10.2).
    #[must_use]
    pub fn same_origin() -> Self {
        Self {
            policy: Arc::new(CorsPolicy::same_origin()),
            is_any: false,
            only_sessions: true,
        }
    }

    /// The answer to a preflight.
    pub(crate) fn preflight(&self, exchange: &Exchange) -> Result<Answer, CorsRefusal> {
        let method = exchange.headers.get(METHOD).map(HeaderValue::as_bytes);
        let headers = exchange.headers.get_all(HEADERS).map(HeaderValue::as_bytes);
        let authority = authority(exchange);
        let own = own(exchange, authority.as_deref());
        let method = method.unwrap_or_default();
        let fields = self
            .policy
            .preflight(&origin(exchange), own, method, headers)?;
        let mut answer = Answer::new(StatusCode::NO_CONTENT);
        answer
            .headers
            .append(FieldName::from_static("Date"), date());
        stamp(&fields, &mut answer.headers);
        Ok(answer)
    }

    /// Whether a request may come from where it does, and what its answer has to say of that.
    pub(crate) fn judge(&self, exchange: &Exchange) -> Result<Option<CorsFields>, CorsRefusal> {
        let authority = authority(exchange);
        let own = own(exchange, authority.as_deref());
        let origin = origin(exchange);
        if exchange.upgrade {
            return self.policy.handshake(&origin, own).map(|()| None);
        }
        self.policy
            .request(&origin, own, &exchange.method)
            .map(Some)
    }
}

/// Whether a request may come from where it does, with a credential that browsers send unasked. Where
/// nothing else is configured, from pages of the same origin alone; and where everybody may call, too.
/// `missing_origin` is for handshakes, and `credentials` for all else.
pub(crate) fn judge_ambient(
    plan: Option<&CorsPlan>,
    exchange: &Exchange,
) -> Result<(), CorsRefusal> {
    let same = CorsPolicy::same_origin();
    let only_sessions = plan.is_some_and(|plan| plan.only_sessions);
    let policy = plan.filter(|plan| !plan.is_any);
    let policy = policy.map_or(&same, |plan| &*plan.policy);
    let authority = authority(exchange);
    let own = own(exchange, authority.as_deref());
    if exchange.upgrade {
        policy.handshake(&origin(exchange), own)?;
    } else if only_sessions {
        policy.request(&origin(exchange), own, &exchange.method)?;
    } else {
        policy.ambient(&origin(exchange), own)?;
    }
    // Browsers leave `Origin` out of some requests, but most tell this of each.
    let is_foreign = says(exchange, "sec-fetch-site", b"cross-site");
    if is_foreign && !exchange.headers.contains(ORIGIN) && !is_visit(exchange) {
        return Err(CorsRefusal::OriginMissing);
    }
    Ok(())
}

/// Whether a user follows a link: no page of the other site can read what is answered, and it changes
/// nothing (RFC 9110 section 9.2.1).
fn is_visit(exchange: &Exchange) -> bool {
    let safe = [Method::GET, Method::HEAD];
    let is_safe = safe.contains(&exchange.method) && !exchange.upgrade;
    is_safe && says(exchange, "sec-fetch-mode", b"navigate")
}

/// Whether a script sends it, as far as its browser tells: not a user who visits a page.
pub(crate) fn is_of_script(exchange: &Exchange) -> bool {
    let headers = &exchange.headers;
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode.as_bytes() != b"navigate",
        None => headers.contains(ORIGIN) || headers.contains("x-requested-with"),
    }
}

/// The scheme that the client used, where it is known: by our own TLS, or by the word of a trusted proxy.
pub(crate) fn scheme(exchange: &Exchange) -> Option<&str> {
    let downstream = &exchange.downstream;
    match (downstream.secure, downstream.trusted) {
        (true, _) => Some("https"),
        // A proxy in front may have ended TLS; what is left of its word is believed.
        (false, true) => exchange
            .headers
            .get("x-forwarded-proto")
            .and_then(|scheme| scheme.to_str().ok())
            .filter(|scheme| matches!(*scheme, "http" | "https" | "ws" | "wss")),
        (false, false) => Some("http"),
    }
}

fn says(exchange: &Exchange, name: &str, word: &[u8]) -> bool {
    let value = exchange.headers.get(name);
    value.is_some_and(|value| value.as_bytes() == word)
}

/// Writes `fields` in place of whatever an upstream says about it, so that nothing is said twice.
pub(crate) fn stamp(fields: &CorsFields, headers: &mut Headers) {
    headers.retain(|field| !cors::is_cors_field(field.name.as_str()));
    for (name, value) in fields.iter() {
        if let Ok(name) = FieldName::parse(name.as_str().to_owned()) {
            headers.append(name, value.clone());
        }
    }
    for name in fields.vary() {
        if !headers.list_has("vary", name) && !headers.list_has("vary", "*") {
            let value = HeaderValue::from_static(name);
            headers.append(FieldName::from_static("Vary"), value);
        }
    }
}

fn origin(exchange: &Exchange) -> Origin<'_> {
    let lines = exchange.headers.get_all(ORIGIN);
    Origin::parse(lines.map(HeaderValue::as_bytes))
}

fn authority(exchange: &Exchange) -> Option<String> {
    exchange.authority.as_ref().map(ToString::to_string)
}

fn own<'a>(exchange: &'a Exchange, authority: Option<&'a str>) -> Own<'a> {
    Own {
        scheme: scheme(exchange),
        authority,
    }
}
