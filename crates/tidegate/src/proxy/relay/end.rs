//! How a session ends: its peers say goodbye, one of them is lost, or it is ended for them.
//!
//! Both receivers are told at a frame boundary, both streams are finished, and whoever does not
//! follow in time is dropped, with a reset where it would otherwise take half for the whole.

use std::borrow::Cow;
use std::time::Duration;

use tidegate_ws::frame::ControlFrame;
use tokio::time::sleep;

use super::watch::mask;
use super::{Relay, Side, other};
use crate::access_log::Ended;
use crate::session::{Cause, Ending};

/// How long an offender is still sent the answers to what it did before.
const PARTING: Duration = Duration::from_millis(300);

impl Relay {
    /// A side's close frame has gone on.
    pub(super) fn closed(&mut self, from: Side) {
        let cause = if from == Side::Client {
            Cause::ClientClose
        } else {
            Cause::UpstreamClose
        };
        self.ended.get_or_insert(Ending::of(cause));
        let (_, _, answering) = self.direction(other(from));
        if answering.is_closed() || answering.is_over() {
            self.finish();
        }
    }

    /// A side takes nothing any more. What it sent before is still passed on; its end comes with
    /// the last of it.
    pub(super) fn went_deaf(&mut self, side: Side) {
        let (_, _, toward) = self.direction(other(side));
        toward.discard();
        let (_, _, pump) = self.direction(side);
        if pump.is_closed() {
            self.finish();
        }
    }

    /// A side ended its stream.
    pub(super) fn lost(&mut self, side: Side) {
        let (leg, receiver, pump) = self.direction(side);
        if !pump.at_boundary() {
            // Half a frame went on; a clean end would make it look whole.
            receiver.abort();
        }
        // Behind its close frame a side may end its stream and still wait for the answer to it.
        if pump.is_closed() && !leg.is_deaf() {
            return;
        }
        let said_goodbye = pump.is_closed();
        let (_, _, toward) = self.direction(other(side));
        let whole = toward.at_boundary();
        toward.discard();
        if !whole {
            self.direction(side).0.abort();
        }
        if said_goodbye {
            self.finish();
        } else {
            let cause = if side == Side::Client {
                Cause::ClientLost
            } else {
                Cause::UpstreamLost
            };
            self.end(Ending::of(cause));
        }
    }

    /// Ends a session that its peers did not end themselves: tells both, at a frame boundary.
    pub(super) fn end(&mut self, mut ending: Ending) {
        let farewell = self.registered.handle().farewell(ending.cause);
        if let Some(farewell) = farewell {
            ending.to_client = farewell.code;
        }
        self.ended.get_or_insert(ending);
        self.forced = true;
        let reason = self.reason(ending.cause);
        let (mut to_client, to_upstream) = close_frames(ending, &reason);
        if let Some(farewell) = farewell {
            to_client = ControlFrame::close(farewell.code, &farewell.reason, None);
        }
        let (client, upstream) = (
            self.down.finish_with(to_client),
            self.up.finish_with(to_upstream),
        );
        self.client.queue_frame(client);
        self.upstream.queue_frame(upstream);
    }

    /// What both sides are told where the gateway ends a session.
    fn reason(&self, cause: Cause) -> Cow<'static, str> {
        cause.reason(match cause {
            Cause::IdleTimeout => self.plan.idle_timeout,
            Cause::MaxAge => self.plan.max_age,
            _ => None,
        })
    }

    /// Tells how the session ended; once, when it is dropped.
    pub(super) fn report(&self) {
        let (code, cause, initiator, _) = self.meter.end();
        let handle = self.registered.handle();
        handle.publish_closed((code, cause, initiator));
        let Some(log) = &self.worker.access_log else {
            return;
        };
        let reason = match cause {
            Cause::ClientClose | Cause::UpstreamClose => Cow::Borrowed(self.words.as_str()),
            // Nobody could be told.
            Cause::ClientLost | Cause::Internal => Cow::Borrowed(""),
            cause => handle.farewell(cause).map_or_else(
                || self.reason(cause),
                |farewell| Cow::Borrowed(&*farewell.reason),
            ),
        };
        let [up, down] = &self.tallies;
        let counts = [(up.messages, up.bytes), (down.messages, down.bytes)];
        log.closed(handle, &Ended::of(&self.meter, &reason, counts));
    }

    /// Ends a session for what `offender` did. What it sent before has gone on and may be being
    /// answered, so the other side is told at once and the offender behind the answers.
    pub(super) fn part(&mut self, offender: Side, ending: Ending, reason: &str) {
        self.ended.get_or_insert(ending);
        self.forced = true;
        self.parting = Some(Box::pin(sleep(PARTING)));
        let (to_client, to_upstream) = close_frames(ending, reason);
        let (client, upstream) = match offender {
            Side::Client => (
                self.down.part_with(to_client),
                self.up.finish_with(to_upstream),
            ),
            Side::Upstream => (
                self.down.finish_with(to_client),
                self.up.part_with(to_upstream),
            ),
        };
        self.client.queue_frame(client);
        self.upstream.queue_frame(upstream);
    }

    /// Waits for answers no longer.
    pub(super) fn stop_parting(&mut self) {
        self.parting = None;
        let (client, upstream) = (self.down.finish(), self.up.finish());
        self.client.queue_frame(client);
        self.upstream.queue_frame(upstream);
    }

    /// Whether a side, of which so much was read, floods behind the end, and nothing is left that it
    /// should get. It is reset then.
    pub(super) fn wastes(&mut self, side: Side, size: usize) -> bool {
        let (leg, _, pump) = self.direction(side);
        if !pump.throws_away() {
            return false;
        }
        leg.waste(size);
        if !leg.is_flooding() || !leg.has_all() {
            return false;
        }
        let (_, _, toward) = self.direction(other(side));
        if !toward.is_over() {
            return false;
        }
        self.direction(side).0.abort();
        true
    }

    /// Both have said goodbye: nothing more goes on.
    fn finish(&mut self) {
        self.up.discard();
        self.down.discard();
        self.forced = true;
    }

    /// Ends a session for what `offender` did within a frame of which a part has gone on: the other
    /// side has no use for the rest, and must not take the half for the whole.
    pub(super) fn tear(&mut self, offender: Side, ending: Ending) {
        let (_, receiver, pump) = self.direction(offender);
        receiver.abort();
        pump.discard();
        self.part(offender, ending, ending.cause.label());
        self.stop_parting();
    }

    /// A side was reset that is not read, because the other one takes nothing.
    pub(super) fn gone(&mut self, side: Side) {
        let (leg, receiver, _) = self.direction(side);
        leg.drop_transport();
        receiver.abort();
        self.lost(side);
    }

    /// Drops both, with a reset where something is left over.
    pub(super) fn give_up(&mut self) {
        self.client.give_up(self.down.at_boundary());
        self.upstream.give_up(self.up.at_boundary());
    }
}

/// Close frames for the client and the upstream.
fn close_frames(ending: Ending, reason: &str) -> (ControlFrame, ControlFrame) {
    (
        ControlFrame::close(ending.to_client, reason, None),
        ControlFrame::close(ending.to_upstream, reason, Some(mask())),
    )
}
