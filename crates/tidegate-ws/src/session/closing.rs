//! The end of a session: what waits is written, the peer's close is awaited, the connection shut.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::buffers::{give_read, take_read};
use super::ending::{Cause, Ending};
use super::inner::Inner;
use super::shared::Shared;
use crate::codec::Role;

/// So many reads are thrown away before others get their turn.
const READS: usize = 8;

impl Shared {
    /// Closes, and waits for the end: where nobody else does, not for longer than a driver would.
    pub(super) async fn close(&self, code: u16, reason: &str) -> Ending {
        self.begin_close(code, reason);
        let end = self.end();
        let Some(most) = self.undriven_close_timeout() else {
            return end.await;
        };
        // Boxed: a driven handler's future needs no room for a timer.
        match Box::pin(tokio::time::timeout(most, end)).await {
            Ok(ending) => ending,
            Err(_elapsed) => self.locked(|inner| {
                inner.over();
                inner.final_ending()
            }),
        }
    }

    fn undriven_close_timeout(&self) -> Option<Duration> {
        self.locked(|inner| (!inner.is_driven).then_some(inner.config.close_timeout))
    }
}

impl Inner {
    /// Goes on with an end that has begun; ready once it is over.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = self.poll_flush(cx);
        while !self.peer_done {
            ready!(self.poll_event(cx));
            self.ready = None;
        }
        ready!(flushed);
        if self.broken.is_some() || self.is_over() {
            // There is nobody to be told.
            self.over();
            return Poll::Ready(());
        }
        ready!(self.poll_shut(cx));
        // A server goes first (RFC 6455 section 7.1.1). A peer that broke a rule may still be
        // sending: to close now would destroy what it is told.
        let is_awaited = self.role == Role::Client
            || self
                .ending
                .as_ref()
                .is_some_and(|ending| matches!(ending.cause, Cause::Violation(_)));
        if is_awaited {
            ready!(self.poll_discard(cx));
        }
        self.over();
        Poll::Ready(())
    }

    fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(io) = &mut self.io
            && !self.shut
        {
            // Whether it went well changes nothing.
            let _ = ready!(Pin::new(io).poll_shutdown(cx));
            self.shut = true;
        }
        Poll::Ready(())
    }

    /// Reads until the peer is gone.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = take_read();
        let mut polled = Poll::Pending;
        for read in 0..=READS {
            let Some(io) = &mut self.io else { break };
            if read == READS {
                self.calls.all();
                break;
            }
            let mut into = ReadBuf::new(&mut buffer);
            match Pin::new(io).poll_read(cx, &mut into) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                Poll::Ready(_) => {
                    polled = Poll::Ready(());
                    break;
                }
            }
        }
        give_read(buffer);
        polled
    }
}
