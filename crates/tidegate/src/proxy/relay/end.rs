//! How a session ends: its peers say goodbye, one of them is lost, or it is ended for them.
//!
//! Both receivers are told at a frame boundary, both streams are finished, and whoever does not
//! follow in time is dropped, with a reset where it would otherwise take half for the whole.

use std::time::Duration;

use tidegate_ws::frame::ControlFrame;
use tokio::time::sleep;

use super::{Relay, Side, initiator, other};
use crate::session::registry::Order;
use crate::session::{Cause, Initiator};

/// How long a close handshake, and the boundary that it waits for, may take, in seconds.
const CLOSE_SECONDS: u32 = 5;
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
        self.ended.get_or_insert((cause, initiator(from)));
        if self.up.is_closed() && self.down.is_closed() {
            self.finish();
        }
    }

    /// A side ended its stream, or takes nothing any more.
    pub(super) fn lost(&mut self, side: Side) {
        let (leg, receiver, pump) = self.direction(side);
        if !pump.at_boundary() {
            // Half a frame went on; a clean end would make it look whole.
            receiver.abort();
        }
        // Behind its close frame a side may end its stream and still wait for the answer to it.
        if pump.is_closed() && !leg.is_gone() {
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
            self.end(cause, initiator(side), cause.close_codes());
        }
    }

    /// Ends a session that its peers did not end themselves: tells both, at a frame boundary, with
    /// `codes` for the client and the upstream.
    fn end(&mut self, cause: Cause, initiator: Initiator, codes: (u16, u16)) {
        self.ended.get_or_insert((cause, initiator));
        self.forced = true;
        let (to_client, to_upstream) = close_frames(codes, cause.label());
        let ours = self.down.finish_with(to_client);
        self.client.queue_frame(ours);
        let ours = self.up.finish_with(to_upstream);
        self.upstream.queue_frame(ours);
    }

    /// Ends a session for what `offender` did. What it sent before has gone on and may be being
    /// answered, so the other side is told at once and the offender behind the answers.
    pub(super) fn part(
        &mut self,
        offender: Side,
        cause: Cause,
        initiator: Initiator,
        codes: (u16, u16),
        reason: &str,
    ) {
        self.ended.get_or_insert((cause, initiator));
        self.forced = true;
        self.parting = Some(Box::pin(sleep(PARTING)));
        let (to_client, to_upstream) = close_frames(codes, reason);
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
                self.end(cause, Initiator::Gateway, cause.close_codes());
            }
            Order::End(_) => {}
            Order::Overdue if self.timer == Timer::Stall => {
                self.end(
                    Cause::SlowConsumer,
                    Initiator::Gateway,
                    Cause::SlowConsumer.close_codes(),
                );
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
        if timer == self.timer && !(timer == Timer::Stall && progressed) {
            return;
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
fn close_frames(codes: (u16, u16), reason: &str) -> (ControlFrame, ControlFrame) {
    // Our words are not the peer's to choose, so a mask need not be hard to guess here.
    let mask = fastrand::u32(..).to_ne_bytes();
    (
        ControlFrame::close(codes.0, reason, None),
        ControlFrame::close(codes.1, reason, Some(mask)),
    )
}
