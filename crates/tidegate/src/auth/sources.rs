//! Where the token of a request stands, and how it leaves: by `Authorization`, and by nothing else that
//! ends up in somebody's log.

use http::HeaderValue;

use super::error::AuthError;
use crate::exchange::Exchange;
use crate::headers::FieldName;

/// A place where a token may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    Header,
}

/// A credential of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A token, as it was written.
    Bearer(String),
    /// A user and a password in base64, as they were written.
    Basic(String),
    /// Of a scheme that we do not know.
    Other,
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

/// Takes the credential of a request from where the first of `sources` has one.
pub(super) fn take(
    exchange: &mut Exchange,
    sources: &[TokenSource],
) -> Result<Option<Credential>, AuthError> {
    let _ = sources;
    of_header(exchange)
}

/// Makes `token` what the upstream is told.
pub(super) fn normalise(exchange: &mut Exchange, token: &str) {
    // A token that was verified is made of letters, digits and a few signs.
    if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}")) {
        value.set_sensitive(true);
        exchange
            .headers
            .set(FieldName::from_static("Authorization"), value);
    }
}
