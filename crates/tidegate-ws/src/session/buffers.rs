//! Buffers that a thread's sessions share: one that has nothing under way holds none.

use std::cell::Cell;

use bytes::BytesMut;

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
        READS.set(Some(buffer));
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
