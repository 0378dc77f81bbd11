//! `handler`: the embedder's code at which a route ends, and what holds for its WebSockets.

use std::sync::Arc;

use super::super::error::Problems;
use super::super::plan::HandlerLimits;
use super::super::value;
use super::super::yaml::{Located, Spot};
use super::{name, websocket};

/// The value of `handler`: its name, or a map.
#[derive(Debug, Clone)]
pub(in crate::config) struct Handler {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) websocket: Arc<HandlerLimits>,
}

impl Handler {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        if spot.is_scalar() {
            return Some(Self {
                name: name(spot, problems),
                websocket: Arc::default(),
            });
        }
        let mut fields = spot.fields(problems)?;
        let name = fields
            .need("name", "name: chat", problems)
            .and_then(|spot| name(&spot, problems));
        let websocket = fields.take("websocket");
        let websocket = websocket.map(|spot| read_limits(&spot, problems));
        fields.finish(problems);
        Some(Self {
            name,
            websocket: Arc::new(websocket.unwrap_or_default()),
        })
    }
}

/// What makes sense of `proxy.websocket` where messages end here; what is not written keeps its default.
pub(super) fn read_limits(spot: &Spot<'_>, problems: &mut Problems) -> HandlerLimits {
    let mut limits = HandlerLimits::default();
    let Some(mut fields) = spot.fields(problems) else {
        return limits;
    };
    let max_message = fields.take("max_message");
    let max_message = max_message.and_then(|spot| spot.value(problems, value::bounded_size));
    limits.max_message = max_message.unwrap_or(limits.max_message);
    let max_frame = fields.take("max_frame");
    if let Some(spot) = &max_frame {
        limits.max_frame = spot.value(problems, value::limit).unwrap_or_default();
    }
    if let Some(spot) = max_frame
        && limits.max_frame > Some(limits.max_message)
    {
        websocket::doubt_frame(&spot, problems);
    }
    for (key, timeout) in [
        ("idle_timeout", &mut limits.idle_timeout),
        ("max_age", &mut limits.max_age),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::timeout));
        *timeout = written.unwrap_or(*timeout);
    }
    for (key, timeout) in [
        ("write_timeout", &mut limits.write_timeout),
        ("close_timeout", &mut limits.close_timeout),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *timeout = written.unwrap_or(*timeout);
    }
    let keep_alive = fields.take("keep_alive");
    let keep_alive = keep_alive.and_then(|spot| websocket::read_one_keep_alive(&spot, problems));
    limits.keep_alive = keep_alive.unwrap_or(limits.keep_alive);
    let control_frames = fields.take("max_control_frames");
    let control_frames =
        control_frames.and_then(|spot| websocket::read_control_frames(&spot, problems));
    limits.max_control_frames = control_frames.unwrap_or(limits.max_control_frames);
    fields.finish_with(problems, of_proxies);
    limits
}

/// What is known of a WebSocket that passes through, and means nothing for one that ends here.
fn of_proxies(key: &str) -> Option<String> {
    let instead = match key {
        "text" => "a handler's text messages are always checked",
        "ping" => "a handler's pings are always answered",
        "extensions" => "a handler speaks permessage-deflate alone",
        _ => return None,
    };
    Some(format!("leave it out: {instead}"))
}
