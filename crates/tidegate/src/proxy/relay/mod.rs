//! A proxied session after its 101: two legs, two directions, bytes as they came.
//!
//! One hand-written future owns everything. Nothing is buffered while nothing moves: bytes are read
//! into one scratch buffer per thread, judged by the direction's `pump`, and written on at once;
//! only what the receiver does not take is kept, and while it is kept its sender is not read.
//!
//! How it ends is told in `end.rs`, and what it waits for in `timers.rs`.

mod end;
mod leg;
mod pulse;
mod pump;
mod rate;
mod timers;
mod watch;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tidegate_ws::scan::{Extensions, Rules, Sender};
use tokio::time::Sleep;

use self::leg::Leg;
use self::pulse::Pulse;
use self::pump::{HEADROOM, Passed, Pump, PumpEnd};
use self::timers::Timers;
pub(crate) use self::watch::Tally;
use self::watch::{Surroundings, Words};
use crate::config::plan::{PingMode, TextCheck, WebSocketPlan};
use crate::limits::Permits;
use crate::metrics::{SessionMeter, microseconds};
use crate::pipeline::{Direction, FrameFilters};
use crate::session::registry::Registered;
use crate::session::{Cause, Ending, Initiator};
use crate::transport::Transport;
use crate::upgrade::Opening;
use crate::upstream::Lease;
use crate::worker::Present;

/// One read. At 64 KiB a message of 64 KiB and its header need two.
const SCRATCH: usize = 128 * 1024;
/// Bytes that one direction may move before the other sessions of the thread have a turn.
const BUDGET: usize = 512 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEADROOM + SCRATCH].into());
}

/// An upstream that has agreed to a session.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its leg, with what it sent behind its 101.
    pub(crate) leg: (Transport, BytesMut),
    /// The extensions that it accepted.
    pub(crate) extensions: Extensions,
    /// What holds on the route.
    pub(crate) plan: Arc<WebSocketPlan>,
    /// The right to use the endpoint, held as long as the session lives.
    pub(crate) lease: Lease,
}

/// A relayed session.
pub(crate) struct Relay {
    client: Leg,
    upstream: Leg,
    /// Client to upstream.
    up: Pump,
    /// Upstream to client.
    down: Pump,
    filters: FrameFilters,
    /// What passed, by the side that sent it.
    tallies: [Tally; 2],
    /// The pings of each leg, by [`Side`].
    pulses: [Pulse; 2],
    timers: Timers,
    extensions: Extensions,
    ended: Option<Ending>,
    /// The end does not wait for the peers' close frames any more.
    forced: bool,
    /// It is being polled; dropped so, it has panicked.
    is_polled: bool,
    /// Runs while an offender is still sent answers.
    parting: Option<Pin<Box<Sleep>>>,
    registered: Registered,
    /// What the first close frame said.
    words: Words,
    plan: Arc<WebSocketPlan>,
    worker: Present,
    meter: SessionMeter,
    /// Held for their drop.
    _held: (Lease, Permits),
}

/// Which leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

const SIDES: [Side; 2] = [Side::Client, Side::Upstream];

impl Relay {
    pub(crate) fn new(upstream: Upstream, opening: Opening) -> Self {
        let plan = upstream.plan;
        for (transport, _) in [&opening.downstream, &upstream.leg] {
            transport.outlast(plan.write_timeout);
        }
        Self {
            client: Leg::new(opening.downstream),
            upstream: Leg::new(upstream.leg),
            up: Pump::new(Direction::ToUpstream),
            down: Pump::new(Direction::ToDownstream),
            filters: opening.filters,
            tallies: [Tally::default(), Tally::default()],
            pulses: [Pulse::default(), Pulse::default()],
            timers: Timers::new(&plan, opening.worker.clock.now()),
            extensions: upstream.extensions,
            ended: None,
            forced: false,
            is_polled: false,
            parting: None,
            registered: opening.registered,
            words: Words::default(),
            plan,
            worker: opening.worker,
            meter: opening.meter,
            _held: (upstream.lease, opening.permits),
        }
    }

    fn direction(&mut self, from: Side) -> (&mut Leg, &mut Leg, &mut Pump) {
        match from {
            Side::Client => (&mut self.client, &mut self.upstream, &mut self.up),
            Side::Upstream => (&mut self.upstream, &mut self.client, &mut self.down),
        }
    }

    /// Under an extension that we do not know no ping and no pong of ours may stand.
    fn is_foreign(&self) -> bool {
        self.extensions == Extensions::Foreign
    }

    /// What holds for the frames of one side.
    fn rules(&self, from: Side) -> Rules {
        let (frame, message) = (&self.plan.max_frame, &self.plan.max_message);
        let (sender, max_frame, max_message) = match from {
            Side::Client => (Sender::Client, frame.client, message.client),
            Side::Upstream => (Sender::Server, frame.upstream, message.upstream),
        };
        Rules {
            sender,
            extensions: self.extensions,
            text: self.plan.text == TextCheck::Utf8 && !self.is_foreign(),
            max_frame: max_frame.unwrap_or(u64::MAX),
            max_message: max_message.unwrap_or(u64::MAX),
        }
    }

    /// Does whatever can be done now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.registered.handle().register(cx.waker());
        let orders = self.registered.handle().take_orders();
        if let Some(cause) = orders.end.filter(|_| !self.forced) {
            self.end(Ending::of(cause));
        }
        BUFFER.with_borrow_mut(|buffer| {
            self.poll_direction(Side::Client, buffer, cx);
            self.poll_direction(Side::Upstream, buffer, cx);
        });
        if self
            .parting
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        {
            self.stop_parting();
        }
        if orders.overdue {
            self.overdue();
        }
        self.beat(cx);
        self.arm();
        self.publish();
        let Some(ended) = self.ended else {
            return Poll::Pending;
        };
        // Each leg is finished when its direction is over and all is out; the session when both are.
        let client = self.client.poll_finish(self.down.is_over(), cx);
        let upstream = self.upstream.poll_finish(self.up.is_over(), cx);
        if client.is_ready() && upstream.is_ready() {
            self.count_as(ended);
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Says how it ended.
    fn count_as(&mut self, ended: Ending) {
        let closes = self.tallies.map(|tally| tally.close);
        self.meter.ended(ended, closes);
    }

    /// Shows where the session is. Once for each turn, however much moved in it.
    fn publish(&self) {
        let [up, down] = &self.tallies;
        let counts = [(up.messages, up.bytes), (down.messages, down.bytes)];
        let handle = self.registered.handle();
        handle.publish(self.timers.last_moved(), counts, self.ended);
    }

    /// Moves what one side sent to the other, until nothing moves or the budget is used up.
    fn poll_direction(&mut self, from: Side, buffer: &mut [u8], cx: &mut Context<'_>) {
        let mut budget = BUDGET;
        loop {
            let (_, receiver, pump) = self.direction(from);
            match receiver.poll_out(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) if pump.is_over() => {}
                Poll::Ready(false) => self.went_deaf(other(from)),
                Poll::Pending => return,
            }
            if budget == 0 {
                return cx.waker().wake_by_ref();
            }
            match self.poll_read(from, buffer, cx) {
                Poll::Ready(Some(read)) => budget = budget.saturating_sub(read),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }

    /// Reads once from one side and passes it on; `None` when that side has ended.
    fn poll_read(
        &mut self,
        from: Side,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        let (sender, _, _) = self.direction(from);
        if sender.is_ended() {
            return Poll::Ready(None);
        }
        if let Some(mut early) = sender.take_early() {
            let size = early.len();
            self.pass(from, &mut early, cx);
            return Poll::Ready(Some(size));
        }
        let size = ready!(sender.poll_read(&mut buffer[HEADROOM..], cx));
        if size == 0 {
            self.lost(from);
            return Poll::Ready(None);
        }
        if self.wastes(from, size) {
            self.lost(from);
            return Poll::Ready(None);
        }
        let was_due = self.pulses[from as usize].heard();
        self.timers.heard(from, self.worker.clock.now(), was_due);
        let (_, _, pump) = self.direction(from);
        let start = pump.put_held(buffer);
        self.pass(from, &mut buffer[start..HEADROOM + size], cx);
        Poll::Ready(Some(size))
    }

    /// Judges what one side sent and gives the other what may go on.
    fn pass(&mut self, from: Side, bytes: &mut [u8], cx: &mut Context<'_>) {
        let before = self.tallies[from as usize];
        let passed = self.judge(from, bytes);
        self.meter
            .passed(from as usize, &before, &self.tallies[from as usize]);
        if let Some(micros) = passed.echoed {
            self.meter.ping_answered(from as usize, micros);
        }
        if passed.active {
            self.timers.moved(self.worker.clock.now());
        }
        let to = other(from);
        let mut sent = 0;
        let has_beat = self.ended.is_none() && self.pulses[to as usize].has_beat();
        if let Some(gap) = passed.gap.filter(|_| has_beat) {
            // Where frames come without a pause there may be no other boundary to be seen.
            self.direction(from).1.send(&bytes[..gap], cx);
            self.send_beats(to, cx);
            sent = gap;
        }
        let (_, receiver, _) = self.direction(from);
        receiver.send(&bytes[sent..passed.pass], cx);
        if let Some(ours) = passed.ours {
            receiver.send(ours.as_bytes(), cx);
        }
        match passed.end {
            None => {}
            Some(PumpEnd::Closed) => self.closed(from),
            Some(PumpEnd::Refused(refusal)) => {
                self.part(from, Ending::of(Cause::Policy), refusal.reason());
            }
            Some(PumpEnd::Flooded) => {
                let ending = Ending::flood(initiator(from));
                self.part(from, ending, ending.cause.label());
            }
            Some(PumpEnd::Violation(violation)) => {
                let ending = Ending::violation(violation, initiator(from));
                self.part(from, ending, ending.cause.label());
            }
            Some(PumpEnd::Torn(violation)) => {
                self.tear(from, Ending::violation(violation, initiator(from)));
            }
        }
    }

    fn judge(&mut self, from: Side, bytes: &mut [u8]) -> Passed {
        let rules = self.rules(from);
        let is_foreign = self.is_foreign();
        let [client, upstream] = &mut self.pulses;
        let (pump, sender, receiver) = match from {
            Side::Client => (&mut self.up, client, upstream),
            Side::Upstream => (&mut self.down, upstream, client),
        };
        let mut around = Surroundings {
            rules,
            filters: &mut self.filters,
            tally: &mut self.tallies[from as usize],
            words: &mut self.words,
            sender,
            receiver,
            answers: self.plan.ping == PingMode::Answer && !is_foreign,
            max_control_frames: self.plan.max_control_frames,
            now: microseconds,
        };
        pump.absorb(bytes, &mut around)
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Upstream,
        Side::Upstream => Side::Client,
    }
}

const fn initiator(side: Side) -> Initiator {
    match side {
        Side::Client => Initiator::Client,
        Side::Upstream => Initiator::Upstream,
    }
}

/// Dropped before its end, it does not leave a peer with half a frame behind a clean end, nor with
/// whatever it was about when it panicked.
impl Drop for Relay {
    fn drop(&mut self) {
        if self.is_polled {
            self.client.abort();
            self.upstream.abort();
        } else if let Some(ended) = self.ended {
            // Cut while it ended, which has had its cause before.
            self.count_as(ended);
        }
        self.client.give_up(self.down.at_boundary());
        self.upstream.give_up(self.up.at_boundary());
        self.report();
    }
}

impl Future for Relay {
    /// Nothing: the task is the relay alone, because a future around it would hold it twice.
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.is_polled = true;
        let polled = self.advance(cx);
        self.is_polled = false;
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::Relay;

    /// A session is this, with its two sockets in it, and its place in the registry. Up to 536 bytes its
    /// task has 640: two sockets have 48 of them as they are shipped, and more in a debug build or with
    /// features of tokio that tests ask for.
    #[test]
    fn an_idle_session_is_small() {
        let size = size_of::<Relay>() - 2 * size_of::<tokio::net::TcpStream>();
        assert!(size <= 536 - 48, "{size} bytes");
    }
}
