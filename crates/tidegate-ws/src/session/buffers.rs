//! Buffers that a thread's sessions share: one that has nothing under way holds none.

use std::cell::Cell;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The most bytes of one read.
pub(super) const READ: usize = 32 << 10;

/// What an outbox begins with.
pub(super) const WRITE: usize = 16 << 10;

thread_local! {
    static READS: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static WRITES: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// A buffer to read into, with anything in it.
pub(super) fn take_read() -> Box<[u8]> {
    READS
        .take()
        .unwrap_or_else(|| vec![0; READ].into_boxed_slice())
}

pub(super) fn give_read(buffer: Box<[u8]>) {
    if buffer.len() == READ {
        // It is let go of where the thread is about to end.
        let _ = READS.try_with(|reads| reads.set(Some(buffer)));
    }
}

/// The bytes of `range` where they are. The buffer goes back when they are let go of.
pub(super) fn lend_read(buffer: Box<[u8]>, range: Range<usize>) -> Bytes {
    Bytes::from_owner(Lent { buffer, range })
}

struct Lent {
    buffer: Box<[u8]>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_read(std::mem::take(&mut self.buffer));
    }
}

/// An empty buffer to write frames into.
pub(super) fn take_write() -> BytesMut {
    WRITES
        .take()
        .unwrap_or_else(|| BytesMut::with_capacity(WRITE))
}

pub(super) fn give_write(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() >= WRITE && buffer.capacity() <= 4 * WRITE {
        WRITES.set(Some(buffer));
    }
}
