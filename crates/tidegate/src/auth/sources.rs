//! Where the credential of a request stands, and how it leaves: by `Authorization`, and by nothing that
//! ends up in somebody's log.

mod cookie;
mod query;
mod subprotocol;

use http::HeaderValue;

use super::error::AuthError;
use crate::exchange::Exchange;
use crate::headers::FieldName;

/// A place where a token may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// The cookie of this name. Browsers send it unasked, so where they come from counts.
    Cookie(Box<str>),
    /// The first message of a bridge's session, a `hello`, where the handshake has no credential.
    FirstMessage,
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    Header,
    /// The parameter of this name in the query (RFC 6750 section 2.3). It goes no further.
    Query(Box<str>),
    /// A subprotocol that a handshake offers: `tidegate.bearer.TOKEN`, or `bearer` and behind it the
    /// token. It goes no further.
    Subprotocol,
    /// A ticket in the query, which is good once. It goes no further.
    Ticket,
}

/// The parameter that a ticket stands in.
pub(crate) const TICKET: &str = "ticket";

/// A credential of a request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A token, as it was written.
    Bearer(String),
    /// A user and a password in base64, as they were written.
    Basic(String),
    /// What a ticket was given for may be told by who gave it.
    Ticket(String),
    /// Of a scheme that we do not know.
    Other,
}

/// What a request has to show.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// What counts.
    pub(super) credential: Option<Credential>,
    /// Whether a browser may have sent it unasked.
    pub(super) is_ambient: bool,
    /// What stands elsewhere, and must be of the same user.
    pub(super) others: Vec<Credential>,
}

/// Takes from `exchange` what it has to show, and out of it what shall go no further. The header counts
/// before all others, and these in the order of `sources`.
pub(super) fn take(exchange: &mut Exchange, sources: &[TokenSource]) -> Result<Shown, AuthError> {
    let mut shown = Shown::default();
    if let Some(credential) = of_header(exchange)? {
        let is_asked = sources.contains(&TokenSource::Header);
        // A password is one whatever the sources of tokens are.
        if is_asked || !matches!(credential, Credential::Bearer(_)) {
            // Browsers send a password with every request once a user has typed it.
            shown.is_ambient = matches!(credential, Credential::Basic(_));
            shown.credential = Some(credential);
        }
    }
    for source in sources {
        let found = match source {
            TokenSource::FirstMessage | TokenSource::Header => None,
            TokenSource::Cookie(name) => cookie::find(exchange, name)?.map(Credential::Bearer),
            TokenSource::Query(name) => query::take(exchange, name)?.map(Credential::Bearer),
            TokenSource::Subprotocol => subprotocol::take(exchange)?.map(Credential::Bearer),
            TokenSource::Ticket => query::take(exchange, TICKET)?.map(Credential::Ticket),
        };
        let Some(found) = found else {
            continue;
        };
        if shown.credential.is_none() {
            shown.is_ambient = matches!(source, TokenSource::Cookie(_));
            shown.credential = Some(found);
        } else {
            shown.others.push(found);
        }
    }
    Ok(shown)
}

/// The names of parameters that are secrets.
pub(crate) fn secret_parameters(sources: &[TokenSource]) -> impl Iterator<Item = &str> {
    sources.iter().filter_map(|source| match source {
        TokenSource::Query(name) => Some(&**name),
        TokenSource::Ticket => Some(TICKET),
        _ => None,
    })
}

/// Takes the parameters of these names out of the `Referer`, by which the page before may tell them.
pub(crate) fn scrub_referer<'a>(exchange: &mut Exchange, names: impl Iterator<Item = &'a str>) {
    let Some(referer) = exchange.headers.get("referer") else {
        return;
    };
    let mut text = referer.as_bytes().to_vec();
    for name in names {
        text = query::without(&text, name);
    }
    if text != referer.as_bytes()
        && let Ok(value) = HeaderValue::from_bytes(&text)
    {
        exchange
            .headers
            .set(FieldName::from_static("Referer"), value);
    }
}

/// What `Authorization` says.
fn of_header(exchange: &Exchange) -> Result<Option<Credential>, AuthError> {
    let mut lines = exchange.headers.get_all("authorization");
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(AuthError::Doubled);
    }
    let Ok(text) = line.to_str() else {
        return Ok(Some(Credential::Other));
    };
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let credential = credential.trim_matches(' ').to_owned();
    Ok(Some(match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Credential::Bearer(credential),
        _ if scheme.eq_ignore_ascii_case("basic") => Credential::Basic(credential),
        _ => Credential::Other,
    }))
}

/// Makes `token` what the upstream is told, and all that it is told: a cookie with another one in it was
/// not verified. `None`: what counted is in `Authorization`.
pub(super) fn normalise(exchange: &mut Exchange, sources: &[TokenSource], token: Option<&str>) {
    for source in sources {
        if let TokenSource::Cookie(name) = source {
            cookie::leave_only(exchange, name, token);
        }
    }
    let Some(token) = token else { return };
    // A token that was verified is made of letters, digits and a few signs.
    match HeaderValue::try_from(format!("Bearer {token}")) {
        Ok(mut value) => {
            value.set_sensitive(true);
            let name = FieldName::from_static("Authorization");
            exchange.headers.set(name, value);
        }
        Err(_) => {
            exchange.headers.remove("authorization");
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(..)",
            Self::Basic(_) => "Basic(..)",
            Self::Ticket(_) => "Ticket(..)",
            Self::Other => "Other",
        })
    }
}
