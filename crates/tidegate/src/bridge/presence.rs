//! `GET /_tidegate/presence/{room}`: who is in a room, for who may see that. Through a bridge its own
//! rules say who may, of whoever opened the session. Over HTTP it is a bearer of a token; it may see what
//! it could see through some bridge, had it opened a session there.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::Bridge;
use super::call::Caller;
use crate::auth::{AuthError, Principal, RoomAct};
use crate::config::plan::RoutePlan;
use crate::error::{GatewayError, own_json};
use crate::exchange::{Answer, Exchange};
use crate::pipeline::{FilterError, FilterPlan, RequirePlan};
use crate::push::rooms::Rooms;
use crate::route::Target;
use crate::router::{Matcher, RouteError};
use crate::worker::Worker;

/// Where rooms are; what follows is a room's name.
const ROOMS: &str = "/_tidegate/presence/";

/// Whether it is asked for, of any room.
pub(super) fn is_asked(exchange: &Exchange) -> bool {
    exchange.path.as_str().starts_with(ROOMS)
}

/// The same of a request over HTTP, where any bridge has rooms.
pub(crate) fn answers(worker: &Worker, exchange: &Exchange) -> bool {
    is_asked(exchange) && bridges(worker).any(|bridge| !bridge.plan.rooms.is_empty())
}

fn bridges(worker: &Worker) -> impl Iterator<Item = &Arc<Bridge>> {
    worker
        .routes()
        .iter()
        .filter_map(|route| match &route.target {
            Target::Bridge(bridge) => Some(bridge),
            Target::Handler(_) | Target::Proxy(_) => None,
        })
}

/// What a route asks of who opens a session at its bridge; `None`: that cannot be told of somebody who
/// opens none, because code of an embedder's has its say, or the handshake must show more than where it
/// is for.
pub(crate) fn asked_by(route: &RoutePlan) -> Option<Vec<RequirePlan>> {
    let mut asked = Vec::new();
    for filter in &route.filters {
        match filter {
            FilterPlan::Custom(_) => return None,
            FilterPlan::Require(plan) => asked.push(plan.clone()),
            _ => {}
        }
    }
    is_of_address_alone(&route.matcher).then_some(asked)
}

/// Whether a matcher asks for nothing beside whom and what a handshake is for: that is no secret, and
/// says nothing of who sends it.
fn is_of_address_alone(matcher: &Matcher) -> bool {
    let Matcher {
        paths: _,
        hosts: _,
        methods: _,
        headers,
        certificate,
        upgrade: _,
    } = matcher;
    headers.is_empty() && certificate.is_none()
}

/// The answer to a request over HTTP.
pub(crate) async fn answer(
    worker: &Worker,
    exchange: &mut Exchange,
) -> Result<Answer, GatewayError> {
    let room = asked_room(exchange)?;
    let user = match exchange.headers.contains("authorization") {
        false => None,
        true => {
            let known = worker.authenticator().by_header(exchange).await;
            Some(known.map_err(FilterError::Auth)?)
        }
    };
    let may_see = bridges(worker).any(|bridge| bridge.shows(&room, user.as_deref(), exchange));
    if may_see {
        return Ok(snapshot(&worker.push().rooms, &room));
    }
    let error = match user {
        Some(_) => AuthError::Forbidden,
        None => worker.authenticator().missing(exchange),
    };
    Err(FilterError::Auth(error).into())
}

impl Bridge {
    /// Whether somebody may see who is in a room without a session.
    fn shows(&self, room: &str, user: Option<&Principal>, exchange: &Exchange) -> bool {
        let Some(asked) = &self.asked else {
            return false;
        };
        // Who opens a session where nothing is asked stays unknown there.
        let user = user.filter(|_| !asked.is_empty());
        let is_admitted = match user {
            Some(user) => asked.iter().all(|plan| plan.judge(user, exchange).is_ok()),
            None => asked.is_empty(),
        };
        let mut rules = self.plan.rooms.iter();
        is_admitted && rules.any(|rule| rule.grants(RoomAct::See, room, user))
    }
}

impl Caller {
    /// The answer to a call.
    pub(super) fn presence(&self, exchange: &Exchange) -> Result<Answer, GatewayError> {
        let room = asked_room(exchange)?;
        match self.may(RoomAct::See, &room, exchange.principal.as_deref()) {
            true => Ok(snapshot(&self.worker.push().rooms, &room)),
            false => Err(FilterError::Auth(AuthError::Forbidden).into()),
        }
    }
}

/// The room that is meant.
fn asked_room(exchange: &Exchange) -> Result<String, GatewayError> {
    if exchange.method != Method::GET || exchange.upgrade {
        let allow = vec![Method::GET];
        return Err(RouteError::MethodNotAllowed { allow }.into());
    }
    let name = exchange.path.as_str().strip_prefix(ROOMS).and_then(decode);
    name.ok_or_else(|| RouteError::NotFound.into())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn snapshot(rooms: &Rooms, room: &str) -> Answer {
    let seen = rooms.look(room).unwrap_or_default();
    let body = json!({
        "room": room,
        "n": seen.batch,
        "members": seen.members,
        "users": seen.users(),
    });
    own_json(&body)
}
