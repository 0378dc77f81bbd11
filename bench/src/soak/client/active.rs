//! Sessions that talk: every message must come back, whole, unchanged and in order.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_tests::frame::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT};
use tokio::time::{Instant, sleep_until};

use super::session::{Leaving, Session, is_end_by_cut, shown};
use super::{Ended, Load, Place};
use crate::soak::payload;
use crate::soak::talk::Fault;
use crate::soak::wire::{PATIENCE, Role};

/// The time between two bursts of a session, in the mean.
const RHYTHM: Duration = Duration::from_millis(1_500);
/// Messages in one burst, at most.
const BURST: usize = 3;
/// Messages that may be on their way at one time; a slow machine is not given more.
const ON_THEIR_WAY: usize = 6;

pub(crate) async fn run(load: &Load, place: Place) -> Result<Ended, Fault> {
    let mut departure = load.departure();
    let opening = load.opening.hold();
    let opened = Session::open(load, place, "/echo").await;
    drop(opening);
    let mut session = match opened {
        Ok(session) => session,
        Err(fault) => return load.excuse(place, Err(fault)),
    };
    let _open = (load.active.open.hold(), load.hold_shaky(place));
    let mut talk = Talk::default();
    let mut next = later();
    let mut leaving = false;
    loop {
        if leaving && talk.sent.is_empty() {
            let left = session.leave(Leaving::of(place)).await;
            return left.map(|()| Ended::AsMeant);
        }
        let frame = tokio::select! {
            frame = session.wire.frame() => frame,
            () = sleep_until(next) => {
                talk.is_in_time()?;
                next = later();
                if !leaving {
                    talk.burst(&mut session);
                }
                continue;
            }
            _ = departure.changed(), if !leaving => {
                leaving = true;
                continue;
            }
        };
        match frame {
            Ok(frame) if frame.opcode == PING => {
                let pong = Frame::new(PONG, frame.payload);
                session.wire.queue(&Role::Client.frame(pong));
            }
            Ok(frame) if frame.opcode == PONG => {}
            next if load.was_cut(place) && is_end_by_cut(&next) => return Ok(Ended::ByCut),
            Ok(frame) => talk.hear(load, &frame)?,
            Err(end) => return Err(format!("{end:?} of an active session")),
        }
    }
}

fn later() -> Instant {
    Instant::now() + RHYTHM.mul_f64(0.5 + fastrand::f64())
}

/// What was said and has not come back.
#[derive(Debug, Default)]
struct Talk {
    sent: VecDeque<Message>,
    /// Of the message that is coming back: its opcode and what came of it.
    coming: Option<(u8, Vec<u8>)>,
}

#[derive(Debug)]
struct Message {
    opcode: u8,
    payload: Vec<u8>,
    at: Instant,
}

impl Talk {
    fn burst(&mut self, session: &mut Session) {
        for _ in 0..fastrand::usize(1..=BURST) {
            if self.sent.len() >= ON_THEIR_WAY {
                return;
            }
            let message = Message::any();
            for frame in message.frames() {
                session.wire.queue(&Role::Client.frame(frame));
            }
            self.sent.push_back(message);
        }
    }

    fn hear(&mut self, load: &Load, frame: &Frame) -> Result<(), Fault> {
        let (opcode, mut payload) = match (self.coming.take(), frame.opcode) {
            (Some(coming), CONTINUATION) => coming,
            (None, TEXT | BINARY) => (frame.opcode, Vec::new()),
            _ => return Err(format!("{} out of order", shown(frame))),
        };
        payload.extend_from_slice(&frame.payload);
        if !frame.fin {
            self.coming = Some((opcode, payload));
            return Ok(());
        }
        let Some(message) = self.sent.pop_front() else {
            return Err(format!("{} that nobody said", shown(frame)));
        };
        if message.opcode != opcode || message.payload != payload {
            let (sent, got) = (message.payload.len(), payload.len());
            return Err(format!(
                "a message of {sent} bytes came back as another, of {got}"
            ));
        }
        load.messages.add(1);
        load.bytes.add(payload.len() as u64);
        Ok(())
    }

    fn is_in_time(&self) -> Result<(), Fault> {
        match self.sent.front() {
            Some(oldest) if oldest.at.elapsed() > PATIENCE => {
                Err(format!("a message has not come back within {PATIENCE:?}"))
            }
            _ => Ok(()),
        }
    }
}

impl Message {
    fn any() -> Self {
        let (seed, size) = (fastrand::u64(..), payload::size());
        let (opcode, payload) = if fastrand::bool() {
            (TEXT, payload::letters(seed, size))
        } else {
            (BINARY, payload::bytes(seed, size))
        };
        let at = Instant::now();
        Self {
            opcode,
            payload,
            at,
        }
    }

    /// One frame, or, of one message in four, several with a ping between.
    fn frames(&self) -> Vec<Frame> {
        let pieces = if fastrand::u8(..4) == 0 { 3 } else { 1 };
        let size = self.payload.len().div_ceil(pieces);
        let chunks: Vec<&[u8]> = self.payload.chunks(size).collect();
        let mut frames = Vec::new();
        for (place, chunk) in chunks.iter().enumerate() {
            let opcode = if place == 0 {
                self.opcode
            } else {
                CONTINUATION
            };
            let frame = Frame::new(opcode, chunk);
            if place + 1 < chunks.len() {
                frames.extend([frame.unfinished(), Frame::new(PING, "between")]);
            } else {
                frames.push(frame);
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn load() -> Load {
        Load::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }

    fn talk(said: &[&str]) -> Talk {
        let message = |text: &&str| Message {
            opcode: TEXT,
            payload: text.as_bytes().to_vec(),
            at: Instant::now(),
        };
        Talk {
            sent: said.iter().map(message).collect(),
            coming: None,
        }
    }

    #[test]
    fn a_message_may_come_back_in_pieces() {
        let (load, mut talk) = (load(), talk(&["abc", "d"]));
        let pieces = [
            Frame::text("a").unfinished(),
            Frame::new(CONTINUATION, "bc"),
        ];
        for frame in pieces {
            talk.hear(&load, &frame).unwrap();
        }
        talk.hear(&load, &Frame::text("d")).unwrap();
        assert_eq!((load.messages.get(), load.bytes.get()), (2, 4));
    }

    #[test]
    fn a_wrong_byte_opcode_order_or_number_of_messages_is_a_fault() {
        let wrong = [
            Frame::text("abd"),
            Frame::new(BINARY, "abc"),
            Frame::text("d"),
            Frame::new(CONTINUATION, "abc"),
        ];
        for frame in wrong {
            assert!(talk(&["abc", "d"]).hear(&load(), &frame).is_err());
        }
        assert!(talk(&[]).hear(&load(), &Frame::text("abc")).is_err());
    }
}
