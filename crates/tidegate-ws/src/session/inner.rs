//! The state of one session, and what happens in it.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;

use super::config::{Observer, Opening, SessionConfig};
use super::ending::{Cause, Ending, Initiator};
use super::outbox::Outbox;
use super::reading::Unread;
use super::shared::Io;
use super::timers::{Due, State, Timers};
use super::waiting::{Calls, Spent, Waiting};
use crate::codec::{Decoder, Encoder, Event, Randomness, Role};
use crate::error::SessionError;
use crate::frame::{OpCode, Violation};
use crate::message::{Close, Message};

/// As long as fewer bytes wait, each ping is answered at once.
const LITTLE: usize = 1 << 10;

pub(super) struct Inner {
    /// `None` once the session is over.
    pub(super) io: Option<Box<dyn Io>>,
    pub(super) role: Role,
    pub(super) config: Arc<SessionConfig>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) unread: Unread,
    /// A message that waits to be received.
    pub(super) ready: Option<Message>,
    /// What the receiver is still to be told.
    pub(super) failure: Option<Box<SessionError>>,
    pub(super) outbox: Outbox,
    /// The payload of the latest ping that is still to be answered.
    pub(super) pong: Option<Box<Bytes>>,
    /// Our close frame was put into the outbox.
    pub(super) close_sent: bool,
    /// The peer will say nothing more that counts: it closed, it is gone, or it broke a rule.
    pub(super) peer_done: bool,
    /// The peer ended its stream without a close frame; it may still read.
    pub(super) half_closed: bool,
    /// Nothing can be written any more, and why; the peer is still heard.
    pub(super) broken: Option<Box<std::io::Error>>,
    /// We have told the connection that we write nothing more.
    pub(super) shut: bool,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) waiting: Waiting,
    /// Who is to be woken behind the lock.
    pub(super) calls: Calls,
    /// Somebody waits for room.
    pub(super) wants_room: bool,
    /// So many sinks were told that there is room, and have not used it.
    pub(super) turns: u8,
    pub(super) driver: Option<Waker>,
    /// There is a driver, which looks after what is left undone.
    pub(super) is_driven: bool,
    /// `receive` found nothing, in this turn of the driver.
    pub(super) received: bool,
    /// The embedder says that a time has come.
    pub(super) look: bool,
    pub(super) timers: Timers,
}

impl Inner {
    pub(super) fn new(io: Box<dyn Io>, opening: &Opening, config: Arc<SessionConfig>) -> Self {
        let mut decoder = Decoder::new(opening.role, &config.limits);
        let mut encoder = Encoder::new(opening.role);
        if let Some(agreed) = &opening.deflate {
            let wanted = config.deflate.clone().unwrap_or_default();
            decoder = decoder.with_deflate(agreed);
            encoder = encoder.with_deflate(agreed, &wanted);
        }
        Self {
            io: Some(io),
            role: opening.role,
            decoder,
            encoder,
            config,
            observer: opening.observer.clone(),
            unread: Unread::new(&opening.leftover),
            ready: None,
            failure: None,
            outbox: Outbox::default(),
            pong: None,
            close_sent: false,
            peer_done: false,
            half_closed: false,
            broken: None,
            shut: false,
            ending: None,
            waiting: Waiting::default(),
            calls: Calls::default(),
            wants_room: false,
            turns: 0,
            driver: None,
            is_driven: false,
            received: false,
            look: false,
            timers: Timers::default(),
        }
    }

    pub(super) const fn begin_to_be_driven(&mut self) {
        self.is_driven = true;
        self.timers.stale();
    }

    /// Nobody drives it any more.
    pub(super) fn dropped(&mut self) {
        if self.broken.is_some() {
            return self.lost(None);
        }
        self.peer_done = true;
        self.end_as(|| Ending::new(1006, Cow::Borrowed(""), Initiator::Embedder, Cause::Dropped));
        self.over();
    }

    /// How it ended, or is ending.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.as_deref().cloned()
    }

    /// How it ended, now that it has.
    pub(super) fn final_ending(&self) -> Ending {
        self.ending().unwrap_or_else(Ending::lost)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.io.is_none()
    }

    /// Something came from the peer.
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Close(close) => self.on_close(&close),
            Event::Message(message) => self.on_message(message),
        }
    }

    fn on_message(&mut self, message: Message) {
        match &message {
            Message::Pong(payload) if self.timers.is_own_pong(payload) => return,
            Message::Ping(payload) | Message::Pong(payload) => {
                if self.timers.count_control(&self.config) {
                    let most = self.config.limits.max_control_per_second;
                    return self.violated(Violation::ControlFlood(most));
                }
                if matches!(message, Message::Ping(_)) && !self.close_sent {
                    self.pong = Some(Box::new(payload.clone()));
                    // In its order, and each: only where much waits is the latest enough.
                    if self.outbox.len() < LITTLE {
                        self.stage_pong();
                    }
                }
            }
            _ => {}
        }
        self.on_data(&message);
        if message.is_control() && !self.config.deliver_control {
            return;
        }
        // Behind our close frame nothing is received any more.
        if !self.close_sent {
            self.ready = Some(message);
        }
    }

    /// Text, bytes, or a ping or pong of the peer's own.
    #[inline]
    pub(super) fn on_data(&mut self, message: &Message) {
        if !message.is_control() {
            self.timers.moved();
        }
        if let Some(observer) = &self.observer {
            observer.received(opcode_of(message), message.payload().len());
        }
    }

    fn on_close(&mut self, close: &Close) {
        if let Some(observer) = &self.observer {
            let length = close.code.map_or(0, |_| 2 + close.reason.len());
            observer.received(OpCode::Close, length);
        }
        self.peer_done = true;
        self.end_as(|| {
            Ending::new(
                close.code.unwrap_or(1005),
                close.reason.clone(),
                Initiator::Peer,
                Cause::PeerClosed,
            )
        });
        // The answer has the peer's code (RFC 6455 section 5.5.1), or none.
        self.say_close(&Close {
            code: close.code,
            reason: Cow::Borrowed(""),
        });
    }

    /// The peer broke a rule: it is told, and nothing more of it counts.
    pub(super) fn violated(&mut self, violation: Violation) {
        let code = violation.close_code();
        self.peer_done = true;
        self.unread.clear();
        self.failure = Some(Box::new(violation.into()));
        self.end_as(|| {
            let reason = reason_of(violation);
            Ending::new(
                code,
                reason.into(),
                Initiator::Session,
                Cause::Violation(violation),
            )
        });
        self.say_close(&Close::new(code, reason_of(violation)));
    }

    /// The connection takes nothing more. What the peer has said is still there, and may tell how
    /// it ended.
    pub(super) fn write_failed(&mut self, error: std::io::Error) {
        if self.peer_done || self.close_sent {
            return self.lost(Some(error));
        }
        self.broken = Some(Box::new(error));
        self.outbox = Outbox::default();
        self.pong = None;
        self.timers.write_done();
        self.timers.stale();
        self.calls.all();
    }

    /// The peer says nothing more, and has not closed. What is sent to it is still written: it may
    /// have asked before, and read on (a TCP connection that is closed by half). No close frame is,
    /// as there is no closing handshake to be done (RFC 6455 section 7.1.7).
    pub(super) fn left(&mut self) {
        if self.broken.is_some() || self.close_sent {
            return self.lost(None);
        }
        self.half_closed = true;
        self.peer_done = true;
        self.failure = Some(Box::new(SessionError::Lost));
        self.pong = None;
        self.end_as(Ending::lost);
        self.timers.stale();
        self.calls.all();
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, error: Option<std::io::Error>) {
        let error = self.broken.take().map(|error| *error).or(error);
        if !self.peer_done {
            let error = error.map_or(SessionError::Lost, SessionError::Io);
            self.failure = Some(Box::new(error));
        }
        self.peer_done = true;
        self.end_as(Ending::lost);
        self.over();
    }

    /// Nothing more can be done.
    pub(super) fn over(&mut self) {
        self.io = None;
        self.outbox = Outbox::default();
        self.unread.clear();
        self.pong = None;
        self.timers.stale();
        self.calls.all();
    }

    /// Closes from our side, behind what waits to be written.
    pub(super) fn close(&mut self, close: Close, initiator: Initiator, cause: Cause) {
        if self.is_over() || self.close_sent {
            return;
        }
        let close = close.on_wire();
        let code = close.code.unwrap_or(1005);
        // One that is broken ended by that, or by what the peer said before.
        if self.broken.is_none() {
            self.end_as(|| Ending::new(code, close.reason.clone(), initiator, cause));
        }
        self.say_close(&close);
        self.calls.all();
    }

    fn say_close(&mut self, close: &Close) {
        if self.close_sent || self.is_over() {
            return;
        }
        self.stage_pong();
        self.close_sent = true;
        self.timers.stale();
        if self.broken.is_none() && !self.half_closed {
            self.encoder.close(close, self.outbox.tail());
            if let Some(observer) = &self.observer {
                let length = close.code.map_or(0, |_| 2 + close.reason.len());
                observer.sent(OpCode::Close, length);
            }
        }
        self.call_for_room();
    }

    /// Puts the answer to the latest ping behind what waits.
    pub(super) fn stage_pong(&mut self) {
        if let Some(payload) = self.pong.take()
            && !self.close_sent
            && self.broken.is_none()
        {
            // A ping's payload fits a pong.
            let _ = self
                .encoder
                .encode(&Message::Pong(*payload), self.outbox.tail());
        }
    }

    fn end_as(&mut self, ending: impl FnOnce() -> Ending) {
        if self.ending.is_none() {
            self.ending = Some(Box::new(ending()));
        }
    }

    /// Whether a driver whose receiver waits has nothing to do.
    pub(super) const fn is_quiet(&self) -> bool {
        !(self.close_sent || self.peer_done || self.look || self.timers.is_stale())
    }

    /// What a look at the clock must know.
    pub(super) fn state<'a>(&self, config: &'a SessionConfig) -> State<'a> {
        State {
            config,
            is_paused: self.ready.is_some(),
            has_queue: !self.outbox.is_empty(),
            is_closing: self.close_sent,
            is_broken: self.broken.is_some() || self.half_closed,
            is_half_closed: self.half_closed,
            is_over: self.is_over(),
        }
    }

    /// Does what is due. That the handler is to be dropped is up to its owner.
    pub(super) fn overdue(&mut self, due: Due) {
        match due {
            Due::Grace => {}
            Due::Close => self.over(),
            Due::Lost => self.lost(None),
            Due::Idle => self.end_by_itself(1001, "idle_timeout", Cause::IdleTimeout),
            Due::Pong => self.end_by_itself(1001, "ping_timeout", Cause::PingTimeout),
            Due::Ping => {
                let payload = Randomness::next().to_ne_bytes();
                self.timers.pinged(payload);
                let ping = Message::Ping(Bytes::copy_from_slice(&payload));
                // Eight bytes fit a ping.
                let _ = self.encoder.encode(&ping, self.outbox.tail());
            }
            Due::Write => {
                // It would not take a close frame either.
                let reason = Cow::Borrowed("slow_consumer");
                let by = Initiator::Session;
                self.end_as(|| Ending::new(1013, reason, by, Cause::WriteStall));
                self.peer_done = true;
                self.over();
            }
        }
    }

    fn end_by_itself(&mut self, code: u16, reason: &'static str, cause: Cause) {
        self.close(Close::new(code, reason), Initiator::Session, cause);
    }

    /// Those who wait for room are to look again.
    pub(super) const fn call_for_room(&mut self) {
        if self.wants_room {
            self.wants_room = false;
            self.calls.all();
        }
    }

    /// Whether it is the driver's task that polls.
    #[inline]
    pub(super) fn is_driver(&self, cx: &Context<'_>) -> bool {
        self.driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
    }

    /// The wakers of those who are to be woken.
    pub(super) fn called(&mut self) -> [Spent; 2] {
        self.calls.take(&self.waiting, self.driver.as_ref())
    }
}

fn reason_of(violation: Violation) -> &'static str {
    match violation.close_code() {
        1008 => "rate_limited",
        1009 => "message_too_big",
        _ => "protocol_error",
    }
}

pub(super) const fn opcode_of(message: &Message) -> OpCode {
    match message {
        Message::Text(_) => OpCode::Text,
        Message::Binary(_) => OpCode::Binary,
        Message::Ping(_) => OpCode::Ping,
        Message::Pong(_) => OpCode::Pong,
    }
}
