//! Pushes of one session: from its mailbox to its socket, and what its client says that it has.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Sink as _;
use tidegate_ws::SendHalf;

use super::call::Caller;
use super::members::Members;
use super::problem::Problem;

/// Frames that are sent before others of the session have their turn.
const AT_ONCE: usize = 64;

/// The socket takes nothing any more.
pub(super) struct Closed;

impl Caller {
    /// Sends what waits in the mailbox, as far as the socket takes it. Ready once something was sent.
    pub(super) fn poll_push(
        &self,
        sender: &mut SendHalf,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        let mailbox = self.recipient.mailbox();
        ready!(mailbox.poll_waiting(cx));
        for sent in 0..AT_ONCE {
            match Pin::new(&mut *sender).poll_ready(cx) {
                Poll::Pending if sent == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(room) => room.map_err(|_gone| Closed)?,
            }
            let Some(taken) = mailbox.take() else { break };
            let given = Pin::new(&mut *sender).start_send(taken.frame);
            given.map_err(|_gone| Closed)?;
            if let Some(begun) = taken.begun {
                self.worker.meters.pushed(begun.elapsed());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The client says up to where it has everything.
    pub(super) fn ack(&self, members: &Members<'_>) -> Result<(), Problem> {
        let seq = members.value("seq");
        let seq = seq.and_then(|value| serde_json::from_str(value.get()).ok());
        let seq = seq.ok_or_else(|| Problem::malformed("ack has seq, the number of a push"))?;
        self.recipient.mailbox().ack(seq);
        Ok(())
    }
}
