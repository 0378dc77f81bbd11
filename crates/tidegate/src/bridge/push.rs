//! Pushes of one session: from its mailbox to its socket, and what its client says that it has.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Sink as _;
use tidegate_ws::WebSocketSession;

use super::call::Caller;
use super::members::Members;
use super::problem::Problem;
use crate::push::mailbox::{Mailbox, Turn};
use crate::session::id::SessionId;

/// Frames that are sent before others of the session have their turn.
const AT_ONCE: usize = 64;

/// The socket takes nothing any more.
pub(super) struct Closed;

impl Caller {
    /// Sends what waits in the mailbox for session `seat`, as far as the socket takes it. Ready once
    /// something was sent, or nothing will ever be.
    pub(super) fn poll_push(
        &self,
        (mailbox, seat): (&Mailbox, SessionId),
        socket: &mut WebSocketSession,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Turn, Closed>> {
        if ready!(mailbox.poll_turn(seat, cx)) == Turn::TakenOver {
            return Poll::Ready(Ok(Turn::TakenOver));
        }
        for sent in 0..AT_ONCE {
            match Pin::new(&mut *socket).poll_ready(cx) {
                Poll::Pending if sent == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(room) => room.map_err(|_gone| Closed)?,
            }
            let Some(taken) = mailbox.take(seat, self.bridge.cursors.as_ref()) else {
                break;
            };
            let given = Pin::new(&mut *socket).start_send(taken.frame);
            given.map_err(|_gone| Closed)?;
            if let Some(begun) = taken.begun {
                self.worker.meters.pushed(begun.elapsed());
            }
        }
        Poll::Ready(Ok(Turn::Send))
    }

    /// The client says up to where it has everything.
    pub(super) fn ack(mailbox: &Mailbox, members: &Members<'_>) -> Result<(), Problem> {
        let seq = members.value("seq");
        let seq = seq.and_then(|value| serde_json::from_str(value.get()).ok());
        let seq = seq.ok_or_else(|| Problem::malformed("ack has seq, the number of a push"))?;
        mailbox.ack(seq);
        Ok(())
    }
}
