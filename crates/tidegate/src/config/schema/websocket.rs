//! `proxy.websocket`: what holds for the WebSockets of a route.

use super::super::defaults;
use super::super::error::Problems;
use super::super::plan::{KeepAlive, PingMode, Sides, TextCheck, WebSocketPlan};
use super::super::value;
use super::super::yaml::Spot;

/// More control frames in a second than any peer has a use for.
const MOST_CONTROL_FRAMES: u32 = 1_000_000;

/// Reads the value of `websocket`; what is not written keeps its default.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> WebSocketPlan {
    let mut plan = WebSocketPlan::default();
    let Some(mut fields) = spot.fields(problems) else {
        return plan;
    };
    for (key, limit) in [
        ("max_message", &mut plan.max_message),
        ("max_frame", &mut plan.max_frame),
    ] {
        if let Some(spot) = fields.take(key) {
            *limit = read_limit(&spot, problems);
        }
    }
    for (key, timeout) in [
        ("idle_timeout", &mut plan.idle_timeout),
        ("max_age", &mut plan.max_age),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::timeout));
        *timeout = written.unwrap_or(*timeout);
    }
    for (key, timeout) in [
        ("write_timeout", &mut plan.write_timeout),
        ("close_timeout", &mut plan.close_timeout),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *timeout = written.unwrap_or(*timeout);
    }
    let text = fields.take("text").and_then(|spot| {
        let names = [("any", TextCheck::Any), ("utf8", TextCheck::Utf8)];
        spot.name_of(problems, "check of texts", &names)
    });
    plan.text = text.unwrap_or(plan.text);
    let ping = fields.take("ping").and_then(|spot| {
        let names = [("forward", PingMode::Forward), ("answer", PingMode::Answer)];
        spot.name_of(problems, "ping mode", &names)
    });
    plan.ping = ping.unwrap_or(plan.ping);
    if let Some(spot) = fields.take("keep_alive") {
        plan.keep_alive = read_keep_alive(&spot, problems);
    }
    let control_frames = fields.take("max_control_frames");
    let control_frames = control_frames.and_then(|spot| read_control_frames(&spot, problems));
    plan.max_control_frames = control_frames.unwrap_or(plan.max_control_frames);
    if let Some(spot) = fields.take("extensions") {
        let read = |spot: &Spot<'_>| spot.value(problems, value::extension);
        plan.extensions = spot.any_number().iter().filter_map(read).collect();
    }
    fields.finish(problems);
    plan
}

/// A size or `none`, for both directions or for each.
fn read_limit(spot: &Spot<'_>, problems: &mut Problems) -> Sides<Option<u64>> {
    let mut limit = Sides::both(None);
    if !spot.is_map() {
        let written = spot.value(problems, value::limit);
        return written.map_or(limit, Sides::both);
    }
    let Some(mut fields) = spot.fields(problems) else {
        return limit;
    };
    for (key, limit) in [
        ("from_client", &mut limit.client),
        ("from_upstream", &mut limit.upstream),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::limit));
        *limit = written.unwrap_or(*limit);
    }
    fields.finish(problems);
    limit
}

/// `none` or a pair of durations, for both legs or for each.
fn read_keep_alive(spot: &Spot<'_>, problems: &mut Problems) -> Sides<Option<KeepAlive>> {
    const BY_LEG: [&str; 2] = ["client", "upstream"];
    let mut keep_alive = Sides::both(Some(KeepAlive::default()));
    let names = if spot.is_map() {
        spot.entries(problems)
    } else {
        Vec::new()
    };
    if !names.iter().any(|(name, _)| BY_LEG.contains(&name.value)) {
        let written = read_one_keep_alive(spot, problems);
        return written.map_or(keep_alive, Sides::both);
    }
    let Some(mut fields) = spot.fields(problems) else {
        return keep_alive;
    };
    for (key, leg) in BY_LEG
        .into_iter()
        .zip([&mut keep_alive.client, &mut keep_alive.upstream])
    {
        let written = fields.take(key);
        let written = written.and_then(|spot| read_one_keep_alive(&spot, problems));
        *leg = written.unwrap_or(*leg);
    }
    fields.finish(problems);
    keep_alive
}

fn read_one_keep_alive(spot: &Spot<'_>, problems: &mut Problems) -> Option<Option<KeepAlive>> {
    if spot.is_scalar() {
        return spot.value(problems, value::no_keep_alive).map(|()| None);
    }
    let mut fields = spot.fields(problems)?;
    let mut keep_alive = KeepAlive::default();
    for (key, time) in [
        ("interval", &mut keep_alive.interval),
        ("timeout", &mut keep_alive.timeout),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *time = written.unwrap_or(*time);
    }
    fields.finish(problems);
    Some(Some(keep_alive))
}

fn read_control_frames(spot: &Spot<'_>, problems: &mut Problems) -> Option<Option<u32>> {
    if spot.is_scalar() && spot.text(problems) == Some("none") {
        return Some(None);
    }
    spot.whole(problems, 1..=MOST_CONTROL_FRAMES).map(Some)
}

impl Default for WebSocketPlan {
    fn default() -> Self {
        Self {
            max_message: Sides::both(None),
            max_frame: Sides::both(None),
            text: TextCheck::Any,
            ping: PingMode::Forward,
            keep_alive: Sides::both(Some(KeepAlive::default())),
            idle_timeout: Some(defaults::WEBSOCKET_IDLE_TIMEOUT),
            max_age: None,
            write_timeout: defaults::WEBSOCKET_WRITE_TIMEOUT,
            close_timeout: defaults::WEBSOCKET_CLOSE_TIMEOUT,
            max_control_frames: Some(defaults::WEBSOCKET_MAX_CONTROL_FRAMES),
            extensions: Vec::new(),
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        let (interval, timeout) = defaults::WEBSOCKET_KEEP_ALIVE;
        Self { interval, timeout }
    }
}

impl<T: Copy> Sides<T> {
    /// The same for both.
    const fn both(value: T) -> Self {
        Self {
            client: value,
            upstream: value,
        }
    }
}
