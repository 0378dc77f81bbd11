//! `PUT /_tidegate/sessions/{id}/token`: a newer token for a session that is open, on whatever route: it
//! goes on until that one ends.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use crate::auth::{AuthError, Principal, TokenError};
use crate::error::{GatewayError, own_json};
use crate::exchange::{Answer, Exchange};
use crate::pipeline::FilterError;
use crate::route::Target;
use crate::router::RouteError;
use crate::session::Cause;
use crate::session::handle::Handle;
use crate::worker::Worker;

/// The id in the path of such a request.
pub(crate) fn named(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/_tidegate/sessions/")?;
    id.strip_suffix("/token").filter(|id| !id.contains('/'))
}

/// Whether a request is for us and for no route.
pub(crate) fn answers(worker: &Worker, exchange: &Exchange) -> bool {
    worker.authenticator().knows_tokens() && named(exchange.path.as_str()).is_some()
}

/// The answer to such a request.
pub(crate) async fn answer(
    worker: &Worker,
    exchange: &mut Exchange,
) -> Result<Answer, GatewayError> {
    if exchange.method != Method::PUT || exchange.upgrade {
        let allow = vec![Method::PUT];
        return Err(RouteError::MethodNotAllowed { allow }.into());
    }
    let authenticator = worker.authenticator();
    let shown = authenticator.shown_anew(exchange, worker.cors()).await;
    let renewed = shown.map_err(auth).and_then(|principal| {
        let id = named(exchange.path.as_str()).and_then(|id| id.parse().ok());
        let found = id.and_then(|id| worker.all_sessions().find(id));
        let (handle, clock) = found.ok_or(GatewayError::NoSession)?;
        if matches!(handle.facts.target(), Target::Bridge(_)) {
            return Err(GatewayError::RenewedInBand);
        }
        judge(&handle, &principal).map_err(auth)?;
        handle.renew(principal.identity(), &clock);
        // It may have been revoked since it was judged, and whoever did that has passed by here.
        if authenticator.revocations().hold(principal.identity()) {
            handle.order(Cause::TokenRevoked);
            return Err(auth(TokenError::Revoked.into()));
        }
        Ok((handle, principal))
    });
    authenticator.note_renewal(renewed.is_ok());
    let (handle, principal) = renewed?;
    let body = json!({ "session": handle.id.to_string(), "exp": principal.claims().get("exp") });
    Ok(own_json(&body))
}

fn auth(error: AuthError) -> GatewayError {
    FilterError::Auth(error).into()
}

/// Whether a session may go on by the token of `principal`: it is of who opened it, and as good for the
/// route.
///
/// # Errors
/// With why not.
pub(crate) fn judge(handle: &Handle, principal: &Arc<Principal>) -> Result<(), AuthError> {
    let opened = handle.identity().ok_or(AuthError::OtherSubject)?;
    if !opened.is_same(principal.identity()) {
        return Err(AuthError::OtherSubject);
    }
    let mut required = handle.facts.tokens().required.iter();
    required.try_for_each(|plan| plan.judge_user(principal))
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn the_path_names_one_session() {
        assert_eq!(named("/_tidegate/sessions/s_1/token"), Some("s_1"));
        assert_eq!(named("/_tidegate/sessions//token"), Some(""));
        for other in [
            "/_tidegate/sessions/s_1/tokens",
            "/_tidegate/sessions/s_1/",
            "/_tidegate/sessions/a/b/token",
            "/x/_tidegate/sessions/s_1/token",
            "/_tidegate/ticket",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
