//! What a filter sees of an answer on its way up.

use std::net::IpAddr;

use http::{Extensions, Method, StatusCode};

use crate::authority::Authority;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::headers::Headers;
use crate::router::{Captures, Path};

/// What is still known of an exchange once its body and headers have gone to the target. A filter
/// that needs more of the request keeps it in the extensions.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ExchangeFacts<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The path as it was forwarded.
    pub path: &'a Path,
    /// The path as the client asked for it.
    pub original_path: &'a Path,
    /// Whom the request was for.
    pub authority: Option<&'a Authority>,
    /// What the route's patterns captured.
    pub captures: &'a Captures,
    /// Whether the client asked for a WebSocket.
    pub upgrade: bool,
    /// The client's address.
    pub client: IpAddr,
    /// The connection on which the request came.
    pub downstream: &'a Downstream,
    /// What filters left for each other.
    pub extensions: &'a Extensions,
}

impl<'a> ExchangeFacts<'a> {
    /// The facts of an exchange, whose body and headers may already be taken.
    #[must_use]
    pub fn of(exchange: &'a Exchange) -> Self {
        Self {
            method: &exchange.method,
            path: &exchange.path,
            original_path: exchange.original_path(),
            authority: exchange.authority.as_ref(),
            captures: &exchange.captures,
            upgrade: exchange.upgrade,
            client: exchange.client,
            downstream: &exchange.downstream,
            extensions: &exchange.extensions,
        }
    }
}

/// The head of a response that is about to be written: of a plain answer, or the 101.
///
/// A filter can neither turn a 101 into something else nor make one. Of a 101 the gateway writes
/// `Connection`, `Upgrade` and `Sec-WebSocket-*` itself, behind all filters.
#[derive(Debug)]
pub struct ResponseHead<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    Plain(&'a mut Answer),
    Switching(&'a mut Headers),
}

/// A filter wants a status that it cannot set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a filter can neither change the status of an upgrade nor set an informational one")]
pub struct StatusFixed;

impl<'a> ResponseHead<'a> {
    /// The head of a plain answer.
    #[must_use]
    pub const fn plain(answer: &'a mut Answer) -> Self {
        Self(Kind::Plain(answer))
    }

    /// The head of the 101, as far as it is `headers` beyond the handshake's own.
    #[must_use]
    pub const fn switching(headers: &'a mut Headers) -> Self {
        Self(Kind::Switching(headers))
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.0 {
            Kind::Plain(answer) => answer.status,
            Kind::Switching(_) => StatusCode::SWITCHING_PROTOCOLS,
        }
    }

    /// Sets the status of a plain answer; the upstream's reason phrase goes with its status.
    pub fn set_status(&mut self, status: StatusCode) -> Result<(), StatusFixed> {
        match &mut self.0 {
            Kind::Plain(answer) if !status.is_informational() => {
                answer.status = status;
                answer.reason = None;
                Ok(())
            }
            Kind::Plain(_) | Kind::Switching(_) => Err(StatusFixed),
        }
    }

    /// Its header fields.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        match &self.0 {
            Kind::Plain(answer) => &answer.headers,
            Kind::Switching(headers) => headers,
        }
    }

    /// Its header fields, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match &mut self.0 {
            Kind::Plain(answer) => &mut answer.headers,
            Kind::Switching(headers) => headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn an_upgrade_stays_one_and_nothing_becomes_one() {
        let mut headers = Headers::new();
        let mut head = ResponseHead::switching(&mut headers);
        assert_eq!(head.set_status(StatusCode::OK), Err(StatusFixed));
        assert_eq!(head.status(), StatusCode::SWITCHING_PROTOCOLS);

        let mut answer = Answer::new(StatusCode::OK);
        let mut head = ResponseHead::plain(&mut answer);
        let switching = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(head.set_status(switching), Err(StatusFixed));
        assert_eq!(head.status(), StatusCode::OK);
    }

    #[test]
    fn a_new_status_drops_the_old_reason() {
        let mut answer = Answer::new(StatusCode::OK);
        answer.reason = Some(Bytes::from_static(b"Fine"));
        let mut head = ResponseHead::plain(&mut answer);
        head.set_status(StatusCode::GONE).unwrap();
        assert_eq!((answer.status, answer.reason), (StatusCode::GONE, None));
    }
}
