//! `proxy.websocket`: what holds for the WebSockets of a route.

use std::time::Duration;

use super::super::defaults;
use super::super::error::Problems;
use super::super::plan::{KeepAlive, PingMode, Sides, TextCheck, WebSocketPlan};
use super::super::value;
use super::super::yaml::Spot;

/// Less of a close, or of a keep-alive's timeout, is as much.
const SHORTEST_CLOSE: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

/// More control frames in a second than any peer has a use for.
const MOST_CONTROL_FRAMES: u32 = 1_000_000;

/// Reads the value of `websocket`; what is not written keeps its default.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> WebSocketPlan {
    let mut plan = WebSocketPlan::default();
    let Some(mut fields) = spot.fields(problems) else {
        return plan;
    };
    let max_frame = fields.take("max_frame");
    for (spot, limit) in [
        (fields.take("max_message"), &mut plan.max_message),
        (max_frame.clone(), &mut plan.max_frame),
    ] {
        if let Some(spot) = spot {
            *limit = read_limit(&spot, problems);
        }
    }
    if let Some(spot) = max_frame {
        doubt_frames(&spot, &plan, problems);
    }
    for (key, timeout) in [
        ("idle_timeout", &mut plan.idle_timeout),
        ("max_age", &mut plan.max_age),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::timeout));
        *timeout = written.unwrap_or(*timeout);
    }
    let close_timeout = fields.take("close_timeout");
    for (written, timeout) in [
        (fields.take("write_timeout"), &mut plan.write_timeout),
        (close_timeout.clone(), &mut plan.close_timeout),
    ] {
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *timeout = written.unwrap_or(*timeout);
    }
    if let Some(spot) = close_timeout.filter(|_| plan.close_timeout < SHORTEST_CLOSE) {
        let message = "it acts as 2s: times are whole seconds, and a close has two at least";
        problems.doubt(&spot.place(), message, "write `2s`");
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
        let is_deflate = |name: &str| name.eq_ignore_ascii_case("permessage-deflate");
        if plan.extensions.iter().any(|name| is_deflate(name)) {
            let message = "permessage-deflate passes in any case";
            problems.doubt(&spot.place(), message, "leave it out");
        }
    }
    fields.finish(problems);
    plan
}

/// A frame is larger than no message.
fn doubt_frames(spot: &Spot<'_>, plan: &WebSocketPlan, problems: &mut Problems) {
    let (frame, message) = (plan.max_frame, plan.max_message);
    let is_idle = [
        (frame.client, message.client),
        (frame.upstream, message.upstream),
    ]
    .iter()
    .any(|limits| matches!(limits, (Some(frame), Some(message)) if frame > message));
    if is_idle {
        doubt_frame(spot, problems);
    }
}

/// The limit of frames at `spot` is over that of messages.
pub(super) fn doubt_frame(spot: &Spot<'_>, problems: &mut Problems) {
    let message = "it is never reached, for `max_message` is smaller";
    problems.doubt(
        &spot.place(),
        message,
        "write a smaller size, or leave it out",
    );
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
    const OF_BOTH: [&str; 2] = ["interval", "timeout"];
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
    for key in OF_BOTH {
        if let Some(spot) = names.iter().find(|(name, _)| name.value == key) {
            fields.take(key);
            let message = "it stands beside `client` or `upstream`";
            let remedy =
                "write either `interval` and `timeout` for both sides, or `client` and `upstream`";
            problems.suggest(&spot.0.place, message, remedy);
        }
    }
    fields.finish(problems);
    keep_alive
}

/// `none` or a pair of durations.
pub(super) fn read_one_keep_alive(
    spot: &Spot<'_>,
    problems: &mut Problems,
) -> Option<Option<KeepAlive>> {
    if spot.is_scalar() {
        return spot.value(problems, value::no_keep_alive).map(|()| None);
    }
    let mut fields = spot.fields(problems)?;
    let mut keep_alive = KeepAlive::default();
    let timeout = fields.take("timeout");
    for (written, time) in [
        (fields.take("interval"), &mut keep_alive.interval),
        (timeout.clone(), &mut keep_alive.timeout),
    ] {
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *time = written.unwrap_or(*time);
    }
    if let Some(spot) = timeout.filter(|_| keep_alive.timeout < SECOND) {
        let message = "it acts as 1s: times are whole seconds";
        problems.doubt(&spot.place(), message, "write `1s`");
    }
    fields.finish(problems);
    Some(Some(keep_alive))
}

/// A number, or `none` for any.
pub(super) fn read_control_frames(spot: &Spot<'_>, problems: &mut Problems) -> Option<Option<u32>> {
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
