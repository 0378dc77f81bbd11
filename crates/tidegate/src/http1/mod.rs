//! HTTP/1 on the wire (RFC 9112): strict in what it accepts, in both directions.
//!
//! One reader decides where each message begins and ends, and it refuses what two readers could
//! see differently; nothing is repaired and nothing raw is passed on (ADR 0002). `head` and `chunk`
//! are pure; `server` drives a downstream connection, `client` one call on an upstream connection.

pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod client;
pub(crate) mod end;
mod fields;
pub(crate) mod head;
pub(crate) mod pace;
pub(crate) mod server;
mod stall;
pub(crate) mod write;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) use head::{HeadError, Limits};

/// How many bytes one read may bring while a body streams.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// Where the first bytes of a message are read to, so that a connection that waits for them
    /// holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads once and appends to `input`; `Ok(0)` is the end of the stream. Allocates only when bytes
/// are there.
pub(crate) fn poll_fill<T: AsyncRead + Unpin>(
    transport: &mut T,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
        input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}
