//! What filters see of the frames between a client and a handler. A leg whose frames nobody watches has
//! none of this.
//!
//! Bytes pass through a buffer of their own here, because a frame is judged before anything of it passes.
//! Behind a frame that was refused only a close frame passes, in either direction, so that the session can
//! end in order.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tidegate_ws::frame::{FrameHeader, OpCode};

use super::watch::Watch;
use crate::pipeline::{Direction, FrameFacts, FrameFilters};

/// The watched frames of one session.
pub(super) struct Filtered {
    filters: FrameFilters,
    watch: Arc<Watch>,
    pub(super) inward: Flow,
    pub(super) outward: Flow,
}

/// One direction: what may pass, and where it is within a frame.
#[derive(Debug)]
pub(super) struct Flow {
    direction: Direction,
    /// What may pass, and has not.
    pub(super) passing: BytesMut,
    /// The beginning of a header.
    held: BytesMut,
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    /// Whether they pass.
    passes: bool,
    /// What comes is no frame: whoever reads it says so.
    is_blind: bool,
}

impl Filtered {
    pub(super) fn new(filters: FrameFilters, watch: Arc<Watch>) -> Self {
        Self {
            filters,
            watch,
            inward: Flow::new(Direction::ToUpstream),
            outward: Flow::new(Direction::ToDownstream),
        }
    }

    /// What came behind the request: as much of it as passes.
    pub(super) fn take_early(&mut self, bytes: &[u8]) -> Bytes {
        self.take_in(bytes);
        self.inward.passing.split().freeze()
    }

    /// Bytes came from the client.
    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        self.inward.follow(bytes, &mut self.filters, &self.watch);
    }

    /// The session says these bytes.
    pub(super) fn take_out(&mut self, bytes: &[u8]) {
        self.outward.follow(bytes, &mut self.filters, &self.watch);
    }
}

impl Flow {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            passing: BytesMut::new(),
            held: BytesMut::new(),
            remaining: 0,
            passes: true,
            is_blind: false,
        }
    }

    fn follow(&mut self, mut bytes: &[u8], filters: &mut FrameFilters, watch: &Watch) {
        while !bytes.is_empty() {
            if self.is_blind {
                return self.passing.extend_from_slice(bytes);
            }
            if self.remaining > 0 {
                let all = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let (payload, rest) = bytes.split_at(all.min(bytes.len()));
                if self.passes {
                    self.passing.extend_from_slice(payload);
                }
                self.remaining -= payload.len() as u64;
                bytes = rest;
                continue;
            }
            let held = self.held.len();
            let most = bytes.len().min(tidegate_ws::frame::MAX_HEADER);
            self.held.extend_from_slice(&bytes[..most]);
            match FrameHeader::parse(&self.held) {
                Ok(None) => bytes.advance(most),
                Ok(Some((header, size))) => {
                    bytes.advance(size - held);
                    self.held.truncate(size);
                    self.begin(&header, filters, watch);
                }
                Err(_violation) => {
                    self.is_blind = true;
                    self.passing.extend_from_slice(&self.held);
                    bytes.advance(most);
                }
            }
        }
    }

    /// A frame begins, whose header is held.
    fn begin(&mut self, header: &FrameHeader, filters: &mut FrameFilters, watch: &Watch) {
        let facts = FrameFacts {
            opcode: header.opcode as u8,
            fin: header.fin,
            length: header.length,
        };
        self.passes = match watch.is_refused() {
            true => header.opcode == OpCode::Close,
            false => match filters.on_frame(self.direction, &facts) {
                Ok(()) => true,
                Err(refusal) => {
                    watch.refuse(refusal);
                    false
                }
            },
        };
        if self.passes {
            self.passing.extend_from_slice(&self.held);
        }
        self.held.clear();
        self.remaining = header.length;
    }
}

impl std::fmt::Debug for Filtered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filtered({:?})", self.filters)
    }
}
