//! A WebSocket as a client has it.

use tidegate_tests::frame::{CLOSE, Frame};
use tidegate_tests::{Request, accept_for, request::KEY};

use super::{Load, Place};
use crate::soak::talk::Fault;
use crate::soak::wire::{End, Head, Role, Wire, within};

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// With a close frame, and waits for its answer.
    Close,
    /// With a FIN.
    Fin,
    /// With a reset.
    Reset,
}

impl Leaving {
    /// One after another, each way.
    pub(crate) const fn of(place: Place) -> Self {
        match place.number / 2 % 3 {
            0 => Self::Close,
            1 => Self::Fin,
            _ => Self::Reset,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) wire: Wire,
}

impl Session {
    /// Asks for `path` of the place's service and wants a 101.
    pub(crate) async fn open(load: &Load, place: Place, path: &str) -> Result<Self, Fault> {
        let mut wire = Wire::connect(place.source, load.gateway).await?;
        wire.send(&handshake(place, path)).await?;
        Self::opened(wire).await
    }

    /// Wants the 101 that is due.
    pub(crate) async fn opened(mut wire: Wire) -> Result<Self, Fault> {
        let head = answer(&mut wire).await?;
        if head.status() != 101 {
            let body = wire.body(&head).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("{} instead of a 101: {body}", head.status()));
        }
        if head.field("sec-websocket-accept") != Some(&accept_for(KEY)) {
            return Err("a wrong accept".to_owned());
        }
        Ok(Self { wire })
    }

    pub(crate) async fn send(&mut self, frame: Frame) -> Result<(), Fault> {
        self.wire.send(&Role::Client.frame(frame)).await
    }

    /// Sends one message of an upstream's echo, and wants it back.
    pub(crate) async fn say(&mut self, load: &Load, frame: Frame) -> Result<(), Fault> {
        let said = frame.payload.clone();
        self.send(frame).await?;
        let frame = within("echo", self.wire.telling_frame(Role::Client)).await?;
        match frame {
            Ok(frame) if frame.payload == said => {
                load.messages.add(1);
                load.bytes.add(said.len() as u64);
                Ok(())
            }
            Ok(frame) => Err(format!("not the echo: {}", shown(&frame))),
            Err(end) => Err(format!("{end:?} instead of an echo")),
        }
    }

    /// Wants a close frame with `code` next.
    pub(crate) async fn expect_close(&mut self, code: u16) -> Result<(), Fault> {
        let what = format!("close frame of {code}");
        let frame = within(&what, self.wire.telling_frame(Role::Client)).await?;
        match frame {
            Ok(frame) if is_close(&frame, code) => Ok(()),
            Ok(frame) => Err(format!("{} instead of a {what}", shown(&frame))),
            Err(end) => Err(format!("{end:?} instead of a {what}")),
        }
    }

    /// Wants the connection to end: nothing more comes, and it comes in time.
    pub(crate) async fn expect_end(&mut self) -> Result<(), Fault> {
        let (rest, _end) = within("end of the connection", self.wire.rest()).await?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes behind the close frame", rest.len()))
        }
    }

    /// Answers a close frame with `code`, and wants the connection to end.
    pub(crate) async fn follow(&mut self, code: u16) -> Result<(), Fault> {
        // Whoever ended the session may have ended the connection too.
        self.send(Frame::close(code, "")).await.ok();
        self.expect_end().await
    }

    /// Leaves; whoever waits for the end wants it in time.
    pub(crate) async fn leave(mut self, how: Leaving) -> Result<(), Fault> {
        match how {
            Leaving::Close => {
                self.send(Frame::close(1000, "bye")).await?;
                self.expect_close(1000).await?;
                self.expect_end().await
            }
            Leaving::Fin => {
                self.wire.finish().await;
                within("end of the connection", self.wire.rest()).await?;
                Ok(())
            }
            Leaving::Reset => {
                self.wire.reset();
                Ok(())
            }
        }
    }
}

/// A handshake for `path` of the place's service.
pub(crate) fn handshake(place: Place, path: &str) -> Vec<u8> {
    Request::handshake(&format!("{}{path}", place.prefix())).bytes()
}

/// Reads the head of an answer.
pub(crate) async fn answer(wire: &mut Wire) -> Result<Head, Fault> {
    let head = within("answer", wire.head()).await?;
    head.map_err(|end: End| format!("{end:?} instead of an answer"))
}

pub(crate) fn is_close(frame: &Frame, code: u16) -> bool {
    frame.opcode == CLOSE && frame.payload.get(..2) == Some(&code.to_be_bytes())
}

/// A frame in few words.
pub(crate) fn shown(frame: &Frame) -> String {
    let start: String = frame.payload.iter().take(40).map(|b| *b as char).collect();
    let (opcode, length) = (frame.opcode, frame.payload.len());
    format!("a frame of opcode {opcode} and {length} bytes ({start})")
}

/// How a session of a service that was cut may end: with the gateway's word for it, or, where half
/// a frame had gone on, with a reset.
pub(crate) fn is_end_by_cut(next: &Result<Frame, End>) -> bool {
    match next {
        Ok(frame) => is_close(frame, 1011),
        Err(end) => *end == End::Reset,
    }
}
