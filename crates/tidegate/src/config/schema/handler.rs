//! `handler`: the embedder's code at which a route ends, and what holds for its WebSockets.

use std::sync::Arc;

use tidegate_ws::deflate;

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
        let websocket =
            websocket.map(|spot| read_limits(&spot, HandlerLimits::default(), problems));
        fields.finish_with(problems, below_websocket);
        Some(Self {
            name,
            websocket: Arc::new(websocket.unwrap_or_default()),
        })
    }
}

/// Where keys belong that are missed by one step.
fn below_websocket(key: &str) -> Option<String> {
    const KEYS: [&str; 9] = [
        "close_timeout",
        "deflate",
        "idle_timeout",
        "keep_alive",
        "max_age",
        "max_control_frames",
        "max_frame",
        "max_message",
        "write_timeout",
    ];
    KEYS.contains(&key)
        .then(|| format!("write it below `websocket`: `websocket: {{ {key}: ... }}`"))
}

/// What makes sense of `proxy.websocket` where messages end here; what is not written keeps its default.
pub(super) fn read_limits(
    spot: &Spot<'_>,
    mut limits: HandlerLimits,
    problems: &mut Problems,
) -> HandlerLimits {
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
    if let Some(spot) = fields.take("deflate") {
        limits.deflate = read_deflate(&spot, problems);
    }
    fields.finish_with(problems, of_proxies);
    limits
}

/// `none`, or a map, which may be empty.
fn read_deflate(spot: &Spot<'_>, problems: &mut Problems) -> Option<deflate::Config> {
    if spot.is_scalar() {
        spot.value(problems, value::no_deflate)?;
        return None;
    }
    let mut fields = spot.fields(problems)?;
    let mut config = deflate::Config::default();
    for (key, alone) in [
        (
            "server_context_takeover",
            &mut config.server_no_context_takeover,
        ),
        (
            "client_context_takeover",
            &mut config.client_no_context_takeover,
        ),
    ] {
        let takeover = fields.take(key);
        let takeover = takeover.and_then(|spot| spot.truth(problems));
        *alone = takeover.map_or(*alone, |takeover| !takeover);
    }
    for (key, bits) in [
        ("server_max_window_bits", &mut config.server_max_window_bits),
        ("client_max_window_bits", &mut config.client_max_window_bits),
    ] {
        let range = u32::from(deflate::MIN_WINDOW_BITS)..=u32::from(deflate::MAX_WINDOW_BITS);
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.whole(problems, range));
        *bits = written
            .and_then(|bits| bits.try_into().ok())
            .unwrap_or(*bits);
    }
    let level = fields.take("level");
    let level = level.and_then(|spot| spot.whole(problems, 1..=9));
    let level = level.and_then(|level| deflate::Level::new(level.try_into().ok()?));
    config.level = level.unwrap_or(config.level);
    let threshold = fields.take("threshold");
    let threshold = threshold.and_then(|spot| spot.value(problems, value::size));
    let threshold = threshold.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    config.threshold = threshold.unwrap_or(config.threshold);
    fields.finish(problems);
    Some(config)
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
