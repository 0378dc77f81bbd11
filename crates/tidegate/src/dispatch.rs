//! From a request to its answer: the table of contents of the gateway.

use std::sync::Arc;

use tidegate_ws::cors::CorsFields;

use crate::bridge::presence;
use crate::error::{Fault, GatewayError, UpstreamError};
use crate::exchange::{Answer, Exchange};
use crate::limits::Permits;
use crate::metrics::ExchangeMeter;
use crate::pipeline::cors;
use crate::pipeline::{ExchangeFacts, ResponseHead, SessionOpening, Step};
use crate::proxy::{self, Proxy};
use crate::redirect;
use crate::route::{Route, Target};
use crate::router::{RequestView, RouteError};
use crate::session::renewal;
use crate::upgrade::{self, Acceptance, Decision, Wish};
use crate::worker::Worker;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It has an answer.
    Answer(Answer),
    /// It becomes a WebSocket.
    Switch(Box<Acceptance>),
}

/// Answers one request: finds its route, runs the route's filters, calls its target. Whatever fails
/// on the way becomes an answer here and nowhere else.
///
/// What the request uses of what is capped is put into `permits`, which its answer or its session holds.
/// `entered` becomes the route, and is kept where the work panics.
pub(crate) async fn answer<'w>(
    worker: &'w Arc<Worker>,
    mut exchange: Exchange,
    entered: &mut Option<&'w Route>,
    permits: &mut Permits,
    meter: &mut ExchangeMeter<'_>,
) -> Outcome {
    let mut stamp = None;
    let walked = walk(worker, &mut exchange, entered, permits, meter, &mut stamp).await;
    meter.known(exchange.principal.as_deref());
    let mut outcome = walked.unwrap_or_else(|error| {
        if error.is_overload() {
            worker.caps().note_refusal(error.label());
        }
        worker.authenticator().note(error.label());
        meter.failed(&error);
        Outcome::Answer(rescue(&error, *entered))
    });
    if let Some(route) = *entered {
        return_through(route, &exchange, &mut outcome);
    }
    if let (Some(fields), Outcome::Answer(answer)) = (&stamp, &mut outcome) {
        cors::stamp(fields, &mut answer.headers);
    }
    outcome
}

async fn walk<'w>(
    worker: &'w Arc<Worker>,
    exchange: &mut Exchange,
    entered: &mut Option<&'w Route>,
    permits: &mut Permits,
    meter: &mut ExchangeMeter<'_>,
    stamp: &mut Option<CorsFields>,
) -> Result<Outcome, GatewayError> {
    if let Some(plan) = &exchange.downstream.redirect
        && !redirect::excepts(plan, &exchange.path)
    {
        return redirect::answer(plan, exchange).map(Outcome::Answer);
    }
    worker.authenticator().scrub(exchange);
    if let Some(answer) = answer_own(worker, exchange, entered, meter, stamp).await? {
        return Ok(Outcome::Answer(answer));
    }
    let routed = worker.router().route(&exchange.view());
    if let (Err(_), Some(cors)) = (&routed, worker.cors()) {
        *stamp = cors.judge(exchange)?;
    }
    let (place, captures) = routed?;
    exchange.captures = captures;
    let route = entered.insert(worker.route(place));
    meter.enter(place);
    // Judged first: what can never be a session takes nothing of what sessions are granted.
    let mut wish = if exchange.upgrade {
        Some(Wish::parse(exchange)?)
    } else {
        None
    };
    if let Some(cors) = &route.cors {
        *stamp = cors.judge(exchange)?;
    }
    worker
        .caps()
        .admit_request(&route.caps, exchange, permits)?;
    let is_session_only = matches!(route.target, Target::Bridge(_) | Target::Handler(_));
    // A browser hides why a handshake is refused, so a plain request to the same place tells.
    if is_session_only && wish.is_none() {
        worker.caps().would_admit(&route.caps, exchange)?;
    }
    if let Step::Answer(answer) = route.pipeline.request(exchange).await? {
        return Ok(Outcome::Answer(answer));
    }
    if is_session_only && wish.is_none() && exchange.principal.is_some() {
        // The same of its user, who is known only now.
        worker.caps().would_admit(&route.caps, exchange)?;
    }
    if let Some((wish, principal)) = wish.as_mut().zip(exchange.principal.as_ref()) {
        wish.keep_offered(exchange);
        worker
            .caps()
            .admit_user(&route.caps, principal.user(), permits)?;
    }
    match (&route.target, wish) {
        (target, Some(wish)) => {
            let decision = upgrade::decide(target, worker, exchange, wish, meter).await?;
            Ok(match decision {
                Decision::Refuse(answer) => Outcome::Answer(answer),
                Decision::Accept(acceptance) => Outcome::Switch(acceptance),
            })
        }
        (Target::Bridge(_) | Target::Handler(_), None) if worker.drain.has_closed() => {
            Err(GatewayError::Draining)
        }
        (Target::Bridge(_) | Target::Handler(_), None) => Err(RouteError::UpgradeRequired.into()),
        (Target::Proxy(proxy), None) => proxy::http::call(proxy, worker, exchange, meter)
            .await
            .map(Outcome::Answer),
    }
}

/// Answers a call that came in an envelope: of `proxy`'s service where the envelope names it, else by the
/// routes, as if the request had come over HTTP.
pub(crate) async fn call(
    worker: &Arc<Worker>,
    mut exchange: Exchange,
    proxy: Option<&Proxy>,
    permits: &mut Permits,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Answer, GatewayError> {
    if let Some(proxy) = proxy {
        meter.enter(proxy.place);
        return proxy::http::call(proxy, worker, &mut exchange, meter).await;
    }
    let mut entered = None;
    // There is no browser to be told of origins.
    let mut stamp = None;
    let walked = walk(
        worker,
        &mut exchange,
        &mut entered,
        permits,
        meter,
        &mut stamp,
    )
    .await;
    let mut outcome = walked.inspect_err(|error| {
        if error.is_overload() {
            worker.caps().note_refusal(error.label());
        }
        worker.authenticator().note(error.label());
    })?;
    if let Some(route) = entered {
        return_through(route, &exchange, &mut outcome);
    }
    match outcome {
        Outcome::Answer(answer) => Ok(answer),
        // No call asks for an upgrade.
        Outcome::Switch(_) => Err(UpstreamError::SwitchUnasked.into()),
    }
}

/// What is answered before any route is asked: preflights, by the policy of the route that they are
/// about or by that of the gateway, and requests for a path of our own.
async fn answer_own<'w>(
    worker: &'w Arc<Worker>,
    exchange: &mut Exchange,
    entered: &mut Option<&'w Route>,
    meter: &mut ExchangeMeter<'_>,
    stamp: &mut Option<CorsFields>,
) -> Result<Option<Answer>, GatewayError> {
    let is_presence = presence::answers(worker, exchange);
    let is_ticket = worker.authenticator().answers(exchange);
    let is_own = is_presence || is_ticket || renewal::answers(worker, exchange);
    if cors::is_preflight(exchange) {
        let mut policy = worker.cors();
        if !is_own && let Some(method) = cors::asked_method(exchange) {
            let view = RequestView {
                method: &method,
                ..exchange.view()
            };
            if let Ok((place, _captures)) = worker.router().route(&view) {
                let route = worker.route(place);
                policy = route.cors.as_ref();
                if policy.is_some() {
                    meter.enter(place);
                    *entered = Some(route);
                }
            }
        }
        if let Some(policy) = policy {
            return Ok(Some(policy.preflight(exchange)?));
        }
    }
    if !is_own {
        return Ok(None);
    }
    if let Some(cors) = worker.cors() {
        *stamp = cors.judge(exchange)?;
    }
    let answered = if is_presence {
        presence::answer(worker, exchange).await
    } else if is_ticket {
        worker.authenticator().answer(exchange).await
    } else {
        renewal::answer(worker, exchange).await
    };
    answered.map(Some)
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
        Outcome::Switch(acceptance) => {
            route.pipeline.response(
                &facts,
                &mut ResponseHead::switching(&mut acceptance.headers),
            );
            let opening = SessionOpening {
                exchange: facts,
                subprotocol: acceptance.subprotocol.as_ref(),
            };
            acceptance.filters = route.pipeline.session(&opening);
        }
    }
}

/// Turns an error into the client's answer, and logs what the client is not told.
pub(crate) fn rescue(error: &GatewayError, route: Option<&Route>) -> Answer {
    let name = route.map(|route| &*route.name);
    let (label, route) = (error.label(), name.unwrap_or("-"));
    match error.fault() {
        // Each endpoint that failed was logged where it was tried.
        Fault::Upstream => tracing::debug!(label, route, %error, "service failed"),
        Fault::Gateway if !error.is_overload() && !matches!(error, GatewayError::Draining) => {
            tracing::error!(label, route, %error, "request failed");
        }
        // Of overloads there may be many; `limits` tells how many. A drain is nobody's failure.
        Fault::Downstream | Fault::Gateway => {
            tracing::debug!(label, route, %error, "request refused");
        }
    }
    error.answer(name)
}
