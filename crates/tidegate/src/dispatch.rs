//! From a request to its answer: the table of contents of the gateway.

use std::sync::Arc;

use tidegate_ws::handshake::Key;

use crate::error::{Fault, GatewayError};
use crate::exchange::{Answer, Exchange};
use crate::pipeline::{ExchangeFacts, FrameFilters, ResponseHead, SessionOpening, Step};
use crate::router::Route;
use crate::upgrade::{Acceptance, Wish};
use crate::worker::Worker;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It has an answer.
    Answer(Answer),
    /// It becomes a WebSocket.
    Switch(Box<Switch>),
}

/// An upgrade that everybody has agreed to.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) acceptance: Acceptance,
    pub(crate) key: Key,
    pub(crate) filters: FrameFilters,
}

/// Answers one request: finds its route, runs the route's filters, calls its target. Whatever fails
/// on the way becomes an answer here and nowhere else.
pub(crate) async fn answer(worker: &Arc<Worker>, mut exchange: Exchange) -> Outcome {
    let mut route = None;
    let walked = walk(worker, &mut exchange, &mut route).await;
    let mut outcome =
        walked.unwrap_or_else(|error| Outcome::Answer(rescue(&error, route.as_deref())));
    if let Some(route) = &route {
        return_through(route, &exchange, &mut outcome);
    }
    outcome
}

async fn walk(
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    entered: &mut Option<Arc<Route>>,
) -> Result<Outcome, GatewayError> {
    let (route, captures) = worker.router().route(&exchange.view())?;
    exchange.captures = captures;
    let route = entered.insert(route);
    let wish = if exchange.upgrade {
        Some(Wish::parse(exchange)?)
    } else {
        None
    };
    match route.pipeline.request(exchange).await? {
        Step::Answer(answer) => Ok(Outcome::Answer(answer)),
        Step::Continue => route.target.call(worker, exchange, wish).await,
    }
}

/// The way back: the filters see the head of what the client is about to get.
fn return_through(route: &Route, exchange: &Exchange, outcome: &mut Outcome) {
    if route.pipeline.is_empty() {
        return;
    }
    let facts = ExchangeFacts::of(exchange);
    match outcome {
        Outcome::Answer(answer) => route
            .pipeline
            .response(&facts, &mut ResponseHead::plain(answer)),
        Outcome::Switch(switch) => {
            let headers = &mut switch.acceptance.headers;
            let subprotocol = headers.get("sec-websocket-protocol").cloned();
            route
                .pipeline
                .response(&facts, &mut ResponseHead::switching(headers));
            let opening = SessionOpening {
                exchange: facts,
                subprotocol: subprotocol.as_ref(),
            };
            switch.filters = route.pipeline.session(&opening);
        }
    }
}

/// Turns an error into the client's answer, and logs what the client is not told.
pub(crate) fn rescue(error: &GatewayError, route: Option<&Route>) -> Answer {
    let name = route.map(|route| &*route.name);
    let (label, route) = (error.label(), name.unwrap_or("-"));
    match error.fault() {
        Fault::Downstream => tracing::debug!(label, route, %error, "request refused"),
        Fault::Gateway => tracing::error!(label, route, %error, "request failed"),
        Fault::Upstream => tracing::warn!(label, route, %error, "service failed"),
    }
    error.answer(name)
}
