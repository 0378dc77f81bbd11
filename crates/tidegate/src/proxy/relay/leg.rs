//! One leg of a relayed session: its stream, and what it has not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tidegate_ws::frame::ControlFrame;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::transport::{Transport, is_reset};

/// So many bytes of a side may be read for nothing behind the end: what it had on the way.
const MAX_WASTED: usize = 1 << 20;

/// A leg. Unwritten bytes are kept only while it does not take them.
#[derive(Debug)]
pub(super) struct Leg {
    /// `None` once it is dropped or reset.
    transport: Option<Transport>,
    /// None while idle.
    backlog: Option<Box<Backlog>>,
    /// It has ended its side of the stream.
    ended: bool,
    /// It takes nothing any more; what it sent before is still there to be read.
    deaf: bool,
    /// A write told that it is gone, without having said that it would go.
    reset: bool,
    /// We have ended ours.
    finished: bool,
    progressed: bool,
}

/// What there is besides of a leg that something waits for.
#[derive(Debug, Default)]
struct Backlog {
    /// What came behind its handshake, before the session began.
    early: BytesMut,
    /// What it has not taken yet, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// How much the kernel at its end had taken when it was asked last.
    taken: u64,
    /// How much of it was read for nothing.
    wasted: usize,
}

impl Leg {
    pub(super) fn new((transport, early): (Transport, BytesMut)) -> Self {
        let backlog = (!early.is_empty()).then(|| {
            Box::new(Backlog {
                early,
                ..Backlog::default()
            })
        });
        Self {
            transport: Some(transport),
            backlog,
            ended: false,
            deaf: false,
            reset: false,
            finished: false,
            progressed: false,
        }
    }

    pub(super) fn take_early(&mut self) -> Option<BytesMut> {
        let early = std::mem::take(&mut self.backlog.as_mut()?.early);
        self.forget();
        (!early.is_empty()).then_some(early)
    }

    /// Whether nothing will be read from it any more.
    pub(super) const fn is_ended(&self) -> bool {
        self.ended || self.transport.is_none()
    }

    /// Whether it takes nothing any more.
    pub(super) const fn is_deaf(&self) -> bool {
        self.deaf || self.transport.is_none()
    }

    /// Whether it keeps us waiting with bytes for it.
    pub(super) fn is_waiting(&self) -> bool {
        let backlog = self.backlog.as_ref();
        backlog.is_some_and(|backlog| !backlog.out.is_empty()) || self.holds_unsent()
    }

    /// Whether the transport kept of what it was given.
    fn holds_unsent(&self) -> bool {
        self.transport.as_ref().is_some_and(Transport::holds_unsent)
    }

    /// How many bytes it has not taken.
    pub(super) fn queued(&self) -> usize {
        let backlog = self.backlog.as_ref();
        let kept = backlog.map_or(0, |backlog| {
            backlog.out.len().saturating_sub(backlog.written)
        });
        kept.saturating_add(self.transport.as_ref().map_or(0, Transport::unsent))
    }

    /// Whether it took anything since this was asked last.
    pub(super) fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Asks the kernel whether the other end has taken something since it was asked last.
    pub(super) fn look(&mut self) -> bool {
        if self.holds_unsent() {
            self.backlog.get_or_insert_default();
        }
        let Some(backlog) = &mut self.backlog else {
            return false;
        };
        let delivery = self.transport.as_ref().and_then(Transport::delivery);
        let taken = delivery.map_or(backlog.taken, |delivery| delivery.taken);
        std::mem::replace(&mut backlog.taken, taken) != taken
    }

    /// Something was read for nothing.
    pub(super) fn waste(&mut self, size: usize) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.wasted = backlog.wasted.saturating_add(size);
    }

    /// Whether so much was read for nothing that it is no wonder any more.
    pub(super) fn is_flooding(&self) -> bool {
        let backlog = self.backlog.as_ref();
        backlog.is_some_and(|backlog| backlog.wasted > MAX_WASTED)
    }

    /// Whether it has taken all that was sent to it, as far as the kernel tells.
    pub(super) fn has_all(&self) -> bool {
        let delivery = self.transport.as_ref().and_then(Transport::delivery);
        !self.is_waiting() && delivery.is_none_or(|delivery| delivery.is_all)
    }

    /// It has taken something that no write told of.
    pub(super) const fn note_progress(&mut self) {
        self.progressed = true;
    }

    /// Reads once; `Ok(0)` is the end.
    pub(super) fn poll_read(&mut self, into: &mut [u8], cx: &mut Context<'_>) -> Poll<usize> {
        let Some(transport) = &mut self.transport else {
            return Poll::Ready(0);
        };
        let mut buffer = ReadBuf::new(into);
        let result = ready!(Pin::new(transport).poll_read(cx, &mut buffer));
        let size = if result.is_ok() {
            buffer.filled().len()
        } else {
            0
        };
        self.ended |= size == 0;
        if result.is_err() {
            self.drop_transport();
        }
        Poll::Ready(size)
    }

    /// Writes what it takes of `bytes` and keeps the rest.
    pub(super) fn send(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) {
        while !bytes.is_empty() && !self.is_waiting() {
            let Some(transport) = &mut self.transport else {
                return;
            };
            match Pin::new(transport).poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.progressed = true;
                    bytes = &bytes[written..];
                }
                Poll::Ready(failed) => return self.go_deaf(failed.err().as_ref()),
                Poll::Pending => break,
            }
        }
        self.queue(bytes);
    }

    /// Keeps `bytes` for the next write.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && !self.is_deaf() {
            let backlog = self.backlog.get_or_insert_default();
            backlog.out.extend_from_slice(bytes);
        }
    }

    /// Keeps a close frame of ours for the next write, if it is time for it.
    pub(super) fn queue_frame(&mut self, ours: Option<Box<ControlFrame>>) {
        if let Some(ours) = ours {
            self.queue(ours.as_bytes());
        }
    }

    /// Writes what was kept; `false` when the leg takes nothing any more.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Some(rest) = self.backlog.as_mut().and_then(|backlog| backlog.rest()) {
            let Some(transport) = &mut self.transport else {
                return Poll::Ready(false);
            };
            match ready!(Pin::new(transport).poll_write(cx, rest)) {
                Ok(written) if written > 0 => {
                    self.progressed = true;
                    if let Some(backlog) = &mut self.backlog {
                        backlog.written += written;
                    }
                }
                failed => {
                    self.go_deaf(failed.err().as_ref());
                    return Poll::Ready(false);
                }
            }
        }
        // Before the backlog is forgotten, which knows how much the kernel had taken.
        ready!(self.poll_flush(cx));
        self.drop_out();
        Poll::Ready(!self.is_deaf())
    }

    /// Writes what the transport kept of what it was given.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(transport) = self.transport.as_mut().filter(|one| one.holds_unsent()) {
            match ready!(Pin::new(transport).poll_flush(cx)) {
                Ok(()) => self.progressed = true,
                Err(error) => self.go_deaf(Some(&error)),
            }
        }
        Poll::Ready(())
    }

    /// Ends our side once `over` says that nothing more comes, and waits for the other's end.
    pub(super) fn poll_finish(&mut self, over: bool, cx: &mut Context<'_>) -> Poll<()> {
        if self.transport.is_none() {
            return Poll::Ready(());
        }
        if !over {
            return Poll::Pending;
        }
        if ready!(self.poll_out(cx))
            && !self.finished
            && let Some(transport) = &mut self.transport
        {
            self.ended |= ready!(Pin::new(transport).poll_shutdown(cx)).is_err();
            self.finished = true;
        }
        if self.ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Resets it: what it got is not the whole.
    pub(super) fn abort(&mut self) {
        if let Some(transport) = self.transport.take() {
            transport.abort();
        }
        self.drop_out();
    }

    /// Drops it, with a reset when something for it is left over.
    pub(super) fn give_up(&mut self, at_boundary: bool) {
        if self.is_waiting() || !at_boundary {
            self.abort();
        } else {
            self.drop_transport();
        }
    }

    fn go_deaf(&mut self, error: Option<&io::Error>) {
        self.deaf = true;
        self.reset |= error.is_some_and(is_reset);
        self.drop_out();
    }

    /// Whether it was reset, which a leg that is not read tells no other way. A mere end is none:
    /// what was said before it is still to be read.
    pub(super) fn was_reset(&mut self) -> bool {
        let Some(transport) = &self.transport else {
            return false;
        };
        self.reset |= transport.was_reset();
        self.reset
    }

    pub(super) fn drop_transport(&mut self) {
        self.transport = None;
        self.drop_out();
    }

    /// Nothing is left that it should take, or it will not have it.
    fn drop_out(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            (backlog.out, backlog.written) = (Vec::new(), 0);
            self.forget();
        }
    }

    /// Gives the backlog back once there is nothing in it. How much the kernel had taken need not be
    /// known: whoever begins to wait asks first.
    fn forget(&mut self) {
        if self.holds_unsent() {
            return; // it waits, and how much was taken is known
        }
        let is_idle = |backlog: &mut Box<Backlog>| {
            backlog.out.is_empty() && backlog.early.is_empty() && backlog.wasted == 0
        };
        self.backlog.take_if(is_idle);
    }
}

impl Backlog {
    fn rest(&self) -> Option<&[u8]> {
        self.out.get(self.written..).filter(|rest| !rest.is_empty())
    }
}
