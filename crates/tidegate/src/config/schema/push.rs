//! `push` of a bridge: how pushes reach its sessions.

use super::super::error::Problems;
use super::super::plan::{BridgePush, PushBuffer, SlowConsumer};
use super::super::value;
use super::super::yaml::Spot;

const POLICIES: [(&str, SlowConsumer); 3] = [
    ("close", SlowConsumer::Close),
    ("drop_oldest", SlowConsumer::DropOldest),
    ("conflate", SlowConsumer::Conflate),
];
/// Each session may keep so many.
const MOST_MESSAGES: u32 = 100_000;

/// The value of a bridge's `push`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> BridgePush {
    let mut push = BridgePush::default();
    let Some(mut fields) = spot.fields(problems) else {
        return push;
    };
    if let Some(spot) = fields.take("outbox") {
        let outbox = spot.value(problems, value::bounded_size);
        push.outbox = outbox.unwrap_or(push.outbox);
    }
    if let Some(spot) = fields.take("slow_after") {
        let slow_after = spot.value(problems, value::duration);
        push.slow_after = slow_after.unwrap_or(push.slow_after);
    }
    if let Some(spot) = fields.take("slow_consumer") {
        let policy = spot.name_of(problems, "way with slow clients", &POLICIES);
        push.slow_consumer = policy.unwrap_or(push.slow_consumer);
    }
    if let Some(spot) = fields.take("buffer") {
        push.buffer = read_buffer(&spot, problems);
    }
    fields.finish(problems);
    push
}

fn read_buffer(spot: &Spot<'_>, problems: &mut Problems) -> PushBuffer {
    let mut buffer = PushBuffer::default();
    let Some(mut fields) = spot.fields(problems) else {
        return buffer;
    };
    if let Some(spot) = fields.take("messages") {
        let messages = spot.whole(problems, 1..=MOST_MESSAGES);
        buffer.messages = messages.map_or(buffer.messages, |messages| messages as usize);
    }
    if let Some(spot) = fields.take("bytes") {
        let bytes = spot.value(problems, value::bounded_size);
        buffer.bytes = bytes.unwrap_or(buffer.bytes);
    }
    if let Some(spot) = fields.take("age") {
        let age = spot.value(problems, value::duration);
        buffer.age = age.unwrap_or(buffer.age);
    }
    fields.finish(problems);
    buffer
}
