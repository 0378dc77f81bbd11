//! A proxied session after its 101: two legs, two directions, bytes as they came.
//!
//! One hand-written future owns everything. Nothing is buffered while nothing moves: bytes are read
//! into one scratch buffer per thread, judged by the direction's `pump`, and written on at once;
//! only what the receiver does not take is kept, and while it is kept its sender is not read.
//!
//! How it ends is told in `end.rs`.

mod end;
mod leg;
mod pump;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tidegate_ws::scan::{Rules, Sender};
use tokio::time::Sleep;

use self::end::Timer;
use self::leg::Leg;
pub(crate) use self::pump::Tally;
use self::pump::{HEADROOM, Pump, PumpEnd};
use crate::metrics::SessionMeter;
use crate::pipeline::{Direction, FrameFilters};
use crate::session::registry::Registered;
use crate::session::{Cause, Ending, Initiator};
use crate::transport::Transport;
use crate::upstream::Lease;
use crate::worker::{Present, Worker};

/// One read. At 64 KiB a message of 64 KiB and its header need two.
const SCRATCH: usize = 128 * 1024;
/// Bytes that one direction may move before the other sessions of the thread have a turn.
const BUDGET: usize = 512 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEADROOM + SCRATCH].into());
}

/// What a session starts with.
pub(crate) struct Opening {
    /// The client's leg, with what it sent behind its request.
    pub(crate) downstream: (Transport, BytesMut),
    /// The upstream's leg, with what it sent behind its 101.
    pub(crate) upstream: (Transport, BytesMut),
    /// Reserved bits that negotiated extensions use.
    pub(crate) reserved: u8,
    /// Limits in bytes, on the declared length.
    pub(crate) max_frame: u64,
    /// Likewise for whole messages.
    pub(crate) max_message: u64,
    /// What filters watch the session.
    pub(crate) filters: FrameFilters,
    /// The right to use the endpoint, held as long as the session lives.
    pub(crate) lease: Lease,
    /// The session's place in the registry.
    pub(crate) registered: Registered,
    /// The session in its worker's load.
    pub(crate) present: Present,
    /// Where it runs.
    pub(crate) worker: Arc<Worker>,
    /// Where it is counted.
    pub(crate) meter: SessionMeter,
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
    ended: Option<Ending>,
    /// The end does not wait for the peers' close frames any more.
    forced: bool,
    timer: Timer,
    /// When the clock of the end began to run.
    closing_since: u32,
    /// Runs while an offender is still sent answers.
    parting: Option<Pin<Box<Sleep>>>,
    registered: Registered,
    worker: Arc<Worker>,
    meter: SessionMeter,
    /// Held for their drop.
    _held: (Lease, Present),
}

/// Which leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

impl Relay {
    pub(crate) fn new(opening: Opening) -> Self {
        let rules = |sender| Rules {
            sender,
            reserved: opening.reserved,
            max_frame: opening.max_frame,
            max_message: opening.max_message,
        };
        Self {
            client: Leg::new(opening.downstream),
            upstream: Leg::new(opening.upstream),
            up: Pump::new(Direction::ToUpstream, rules(Sender::Client)),
            down: Pump::new(Direction::ToDownstream, rules(Sender::Server)),
            filters: opening.filters,
            tallies: [Tally::default(), Tally::default()],
            ended: None,
            forced: false,
            timer: Timer::None,
            closing_since: 0,
            parting: None,
            registered: opening.registered,
            worker: opening.worker,
            meter: opening.meter,
            _held: (opening.lease, opening.present),
        }
    }

    fn direction(&mut self, from: Side) -> (&mut Leg, &mut Leg, &mut Pump) {
        match from {
            Side::Client => (&mut self.client, &mut self.upstream, &mut self.up),
            Side::Upstream => (&mut self.upstream, &mut self.client, &mut self.down),
        }
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
        let (sender, _, pump) = self.direction(from);
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
        let start = pump.put_held(buffer);
        self.pass(from, &mut buffer[start..HEADROOM + size], cx);
        Poll::Ready(Some(size))
    }

    /// Judges what one side sent and gives the other what may go on.
    fn pass(&mut self, from: Side, bytes: &mut [u8], cx: &mut Context<'_>) {
        let mut filters = std::mem::take(&mut self.filters);
        let before = self.tallies[from as usize];
        let mut tally = before;
        let (_, receiver, pump) = self.direction(from);
        let passed = pump.absorb(bytes, &mut filters, &mut tally);
        receiver.send(&bytes[..passed.pass], cx);
        if let Some(ours) = passed.ours {
            receiver.send(ours.as_bytes(), cx);
        }
        self.filters = filters;
        self.meter.passed(from as usize, &before, &tally);
        self.tallies[from as usize] = tally;
        if passed.pass > 0 {
            self.registered.handle().touch(&self.worker.clock);
        }
        match passed.end {
            None => {}
            Some(PumpEnd::Closed) => self.closed(from),
            Some(PumpEnd::Refused(refusal)) => {
                self.part(from, Ending::of(Cause::Policy), refusal.reason());
            }
            Some(PumpEnd::Violation(violation)) => {
                let ending = Ending::violation(violation, initiator(from));
                self.part(from, ending, ending.cause.label());
            }
        }
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

/// Dropped before its end, it does not leave a peer with half a frame behind a clean end.
impl Drop for Relay {
    fn drop(&mut self) {
        self.client.give_up(self.down.at_boundary());
        self.upstream.give_up(self.up.at_boundary());
    }
}

impl Future for Relay {
    type Output = (Ending, [Tally; 2]);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.registered.handle().register(cx.waker());
        while let Some(order) = this.registered.handle().take_order() {
            this.obey(order);
        }
        BUFFER.with_borrow_mut(|buffer| {
            this.poll_direction(Side::Client, buffer, cx);
            this.poll_direction(Side::Upstream, buffer, cx);
        });
        if this
            .parting
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        {
            this.stop_parting();
        }
        this.arm();
        let Some(ended) = this.ended else {
            return Poll::Pending;
        };
        // Each leg is finished when its direction is over and all is out; the session when both are.
        let client = this.client.poll_finish(this.down.is_over(), cx);
        let upstream = this.upstream.poll_finish(this.up.is_over(), cx);
        if client.is_ready() && upstream.is_ready() {
            this.meter
                .ended(ended, this.tallies.map(|tally| tally.close));
            Poll::Ready((ended, std::mem::take(&mut this.tallies)))
        } else {
            Poll::Pending
        }
    }
}
