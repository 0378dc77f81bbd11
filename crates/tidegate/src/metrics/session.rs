//! What one session leaves in the cells: that it is open, what passes, and how it ended.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

use super::RouteMeters;
use super::cell::{QUEUE_BOUNDS, REQUEST_BOUNDS, SESSION_BOUNDS};
use crate::proxy::relay::Tally;
use crate::session::{Cause, Ending, Initiator};

/// An open session; it is counted as closed when this is dropped.
#[derive(Debug)]
pub(crate) struct SessionMeter {
    route: Arc<RouteMeters>,
    /// When it began, by [`microseconds`]: half as large as an `Instant`.
    begun: u64,
    /// How it ended, as a key.
    end: u32,
}

impl SessionMeter {
    /// A session begins.
    pub(crate) fn opened(route: Arc<RouteMeters>) -> Self {
        route.opened.add(1);
        route.sessions.add(1);
        Self {
            route,
            begun: microseconds(),
            // Dropped before its end: by a panic, or by a runtime that ends.
            end: end_key(1006, Cause::Internal, Initiator::Gateway),
        }
    }

    /// Where its route is counted.
    pub(crate) fn route(&self) -> Arc<RouteMeters> {
        Arc::clone(&self.route)
    }

    /// Something passed in a direction: its tally before, and after.
    pub(crate) fn passed(&self, direction: usize, before: &Tally, after: &Tally) {
        let (Some([text, binary]), Some(bytes)) = (
            self.route.messages.get(direction),
            self.route.bytes.get(direction),
        ) else {
            return;
        };
        let messages = after.messages - before.messages;
        if messages > 0 {
            let of_bytes = u64::from(after.binary.wrapping_sub(before.binary));
            binary.add(of_bytes);
            text.add(messages - of_bytes);
        }
        bytes.add(after.bytes.wrapping_sub(before.bytes));
    }

    /// A leg answered a ping of ours after so many microseconds.
    pub(crate) fn ping_answered(&self, leg: usize, micros: u32) {
        if let Some(times) = self.route.ping_time.get(leg) {
            times.observe(Duration::from_micros(micros.into()), REQUEST_BOUNDS);
        }
    }

    /// A leg has not taken so many bytes, as it is found once a second.
    pub(crate) fn queued(&self, leg: usize, bytes: usize) {
        if let Some(queues) = self.route.queued.get(leg) {
            queues.observe_one(bytes as u64, QUEUE_BOUNDS);
        }
    }

    /// It has ended; `closes` are the codes of the close frames that the client and the upstream
    /// sent.
    pub(crate) const fn ended(&mut self, ending: Ending, closes: [u16; 2]) {
        let code = match ending.cause {
            Cause::ClientClose => closes[0],
            Cause::UpstreamClose => closes[1],
            // What RFC 6455 has for it (section 7.1.5).
            Cause::ClientLost => 1006,
            _ => ending.to_client,
        };
        self.end = end_key(code, ending.cause, ending.initiator);
    }

    fn lasted(&self) -> Duration {
        Duration::from_micros(microseconds().saturating_sub(self.begun))
    }

    /// How it ended: the code, the cause and the initiator; and how long it took.
    pub(crate) fn end(&self) -> (u16, Cause, Initiator, Duration) {
        let (code, cause, initiator) = parts(self.end);
        (code, cause, initiator, self.lasted())
    }
}

impl Drop for SessionMeter {
    fn drop(&mut self) {
        self.route.sessions.add(-1);
        self.route.closed.add(folded(self.end));
        let took = self.lasted();
        self.route.session_time.observe(took, SESSION_BOUNDS);
    }
}

/// Microseconds of the monotonic clock.
pub(crate) fn microseconds() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGIN.elapsed().as_micros()).unwrap_or(u64::MAX)
}

const INITIATORS: [Initiator; 4] = [
    Initiator::Client,
    Initiator::Gateway,
    Initiator::Upstream,
    Initiator::Admin,
];

const fn end_key(code: u16, cause: Cause, initiator: Initiator) -> u32 {
    let initiator = match initiator {
        Initiator::Client => 0,
        Initiator::Gateway => 1,
        Initiator::Upstream => 2,
        Initiator::Admin => 3,
    };
    (code as u32) << 16 | (cause as u32) << 8 | initiator
}

/// Applications choose among thousands of codes; here each thousand is one.
const fn folded(key: u32) -> u32 {
    let code = match key >> 16 {
        3000..=3999 => 3000,
        4000..=4999 => 4000,
        code => code,
    };
    code << 16 | key & 0xffff
}

fn parts(key: u32) -> (u16, Cause, Initiator) {
    let [high, low, cause, initiator] = key.to_be_bytes();
    let cause = Cause::from_byte(cause).unwrap_or(Cause::Internal);
    let initiator = INITIATORS.get(usize::from(initiator)).copied();
    let initiator = initiator.unwrap_or(Initiator::Gateway);
    (u16::from_be_bytes([high, low]), cause, initiator)
}

/// The code, the cause and the initiator of a key.
pub(super) fn of_end_key(key: u32) -> (String, &'static str, &'static str) {
    let (code, cause, initiator) = parts(key);
    let code = match code {
        3000 => "3xxx".to_owned(),
        4000 => "4xxx".to_owned(),
        code => code.to_string(),
    };
    (code, cause.label(), initiator.label())
}

/// Whether a key is that of a session whose peer was too slow.
pub(super) const fn is_of_slow_consumer(key: u32) -> bool {
    key >> 8 & 0xff == Cause::SlowConsumer as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_consumers_are_known_by_their_cause() {
        let key = |cause| end_key(1013, cause, Initiator::Gateway);
        assert!(is_of_slow_consumer(key(Cause::SlowConsumer)));
        assert!(!is_of_slow_consumer(key(Cause::Policy)));
    }

    #[test]
    fn an_end_is_told_as_it_was_and_codes_of_applications_together() {
        let key = end_key(1011, Cause::UpstreamLost, Initiator::Upstream);
        assert_eq!(
            of_end_key(key),
            ("1011".into(), "upstream_lost", "upstream")
        );
        for (code, label) in [
            (3000, "3xxx"),
            (3999, "3xxx"),
            (4999, "4xxx"),
            (1005, "1005"),
        ] {
            let key = end_key(code, Cause::ClientClose, Initiator::Client);
            assert_eq!(parts(key).0, code);
            let key = folded(key);
            assert_eq!(of_end_key(key), (label.into(), "client_close", "client"));
        }
    }
}
