//! `POST /_tidegate/ticket`: a ticket for who bears a token in `Authorization`.

use http::Method;
use serde_json::json;

use super::Authenticator;
use super::cache::Now;
use super::error::AuthError;
use super::tickets::{LIFETIME, Redeemed};
use crate::error::{GatewayError, own_json};
use crate::exchange::{Answer, Exchange};
use crate::pipeline::FilterError;
use crate::router::RouteError;

/// Where tickets are given out.
pub(crate) const TICKETS: &str = "/_tidegate/ticket";

impl Authenticator {
    /// Whether a request is for us and for no route.
    pub(crate) fn answers(&self, exchange: &Exchange) -> bool {
        self.gives_tickets() && exchange.path.as_str() == TICKETS
    }

    /// The answer to such a request.
    pub(crate) async fn answer(&self, exchange: &mut Exchange) -> Result<Answer, GatewayError> {
        if exchange.method != Method::POST || exchange.upgrade {
            let allow = vec![Method::POST];
            return Err(RouteError::MethodNotAllowed { allow }.into());
        }
        let ticket = self.ticket(exchange).await.map_err(FilterError::Auth)?;
        let body = json!({ "ticket": ticket, "expires_in": LIFETIME.as_secs() });
        Ok(own_json(&body))
    }

    async fn ticket(&self, exchange: &mut Exchange) -> Result<String, AuthError> {
        let principal = self.by_header(exchange).await?;
        let tickets = self.tickets.as_ref().ok_or(AuthError::Ticket)?;
        // As it was normalised: a ticket without a token would let through whatever stands there.
        let token = exchange.headers.get("authorization");
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = token.ok_or(AuthError::Ticket)?.to_owned();
        tickets.issue(Redeemed { principal, token }, Now::look())
    }
}
