//! How a session ends: its peers say goodbye, one of them is lost, or it is ended for them.
//!
//! Both receivers are told at a frame boundary, both streams are finished, and whoever does not
//! follow in time is dropped, with a reset where it would otherwise take half for the whole.

use std::time::Duration;

use tidegate_ws::frame::ControlFrame;
use tokio::time::sleep;

use super::{Relay, Side, other};
use crate::session::registry::Order;
use crate::session::{Cause, Ending};

/// How long a close handshake, and the boundary that it waits for, may take, in seconds.
const CLOSE_SECONDS: u32 = 5;
/// How long that begins anew for a receiver that still takes what was said before, in seconds.
const LAST_WORDS_SECONDS: u32 = 60;
/// How long a receiver may take nothing, in seconds.
const STALL_SECONDS: u32 = 30;
/// How long an offender is still sent the answers to what it did before.
const PARTING: Duration = Duration::from_millis(300);

/// Which clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    None,
    /// A receiver takes nothing.
    Stall,
    /// The session is ending.
    Close,
}

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
    fn end(&mut self, ending: Ending) {
        self.ended.get_or_insert(ending);
        self.forced = true;
        let (to_client, to_upstream) = match ending.cause {
            Cause::IdleTimeout => {
                let after = self.registered.handle().idle_seconds();
                close_frames(ending, &format!("idle_timeout;after={after}s"))
            }
            cause => close_frames(ending, cause.label()),
        };
        let (client, upstream) = (
            self.down.finish_with(to_client),
            self.up.finish_with(to_upstream),
        );
        self.client.queue_frame(client);
        self.upstream.queue_frame(upstream);
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

    /// Both have said goodbye: nothing more goes on.
    fn finish(&mut self) {
        self.up.discard();
        self.down.discard();
        self.forced = true;
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::End(cause) if !self.forced => {
                self.end(Ending::of(cause));
            }
            Order::End(_) => {}
            Order::Overdue if self.timer == Timer::Stall => {
                self.end(Ending::of(Cause::SlowConsumer));
            }
            Order::Overdue => {
                self.client.give_up(self.down.at_boundary());
                self.upstream.give_up(self.up.at_boundary());
            }
        }
    }

    /// Sets the clock that fits: none, the one for a receiver that takes nothing, or the one for
    /// the end.
    pub(super) fn arm(&mut self) {
        let waiting = self.client.is_waiting() || self.upstream.is_waiting();
        let progressed = self.client.progressed() | self.upstream.progressed();
        let timer = match (self.forced, waiting, self.ended) {
            (true, _, _) | (false, false, Some(_)) => Timer::Close,
            (false, true, _) => Timer::Stall,
            (false, false, None) => Timer::None,
        };
        let now = self.worker.clock.now();
        let renewed = match timer {
            Timer::Stall => progressed,
            // What a peer said before the end is not cut while the other one still takes it.
            Timer::Close => {
                progressed && waiting && now.saturating_sub(self.closing_since) < LAST_WORDS_SECONDS
            }
            Timer::None => false,
        };
        if timer == self.timer && !renewed {
            return;
        }
        if timer == Timer::Close && self.timer != Timer::Close {
            self.closing_since = now;
        }
        self.timer = timer;
        let handle = self.registered.handle();
        match timer {
            Timer::None => handle.clear_deadline(),
            Timer::Stall => handle.set_deadline(&self.worker.clock, STALL_SECONDS),
            Timer::Close => handle.set_deadline(&self.worker.clock, CLOSE_SECONDS),
        }
    }
}

/// Close frames for the client and the upstream.
fn close_frames(ending: Ending, reason: &str) -> (ControlFrame, ControlFrame) {
    // Our words are not the peer's to choose, so a mask need not be hard to guess here.
    let mask = fastrand::u32(..).to_ne_bytes();
    (
        ControlFrame::close(ending.to_client, reason, None),
        ControlFrame::close(ending.to_upstream, reason, Some(mask)),
    )
}
