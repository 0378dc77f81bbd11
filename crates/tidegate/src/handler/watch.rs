//! What a session with a handler tells while it goes on, and where that is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use tidegate_ws::BoxError;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Observer;

use crate::metrics::RouteMeters;
use crate::session::handle::{Handle, NEVER};
use crate::worker::Worker;

/// Told by the session, from whatever thread uses it, while that is locked.
#[derive(Debug)]
pub(super) struct Watch {
    handle: Arc<Handle>,
    route: Arc<RouteMeters>,
    worker: Arc<Worker>,
    /// When the session itself wants to be woken, by the worker's clock.
    wants: AtomicU32,
    /// A close frame came or went.
    is_closing: AtomicBool,
}

impl Watch {
    pub(super) const fn new(
        handle: Arc<Handle>,
        route: Arc<RouteMeters>,
        worker: Arc<Worker>,
    ) -> Self {
        Self {
            handle,
            route,
            worker,
            wants: AtomicU32::new(NEVER),
            is_closing: AtomicBool::new(false),
        }
    }

    /// When the session itself wants to be woken.
    pub(super) fn wants(&self) -> u32 {
        self.wants.load(Ordering::Relaxed)
    }

    /// Whether a close frame came or went.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    fn passed(&self, side: usize, opcode: OpCode, bytes: usize) {
        match opcode {
            OpCode::Text | OpCode::Binary => {
                let is_binary = opcode == OpCode::Binary;
                self.handle
                    .passed(side, bytes as u64, self.worker.clock.now());
                self.route.message_passed(side, is_binary, bytes as u64);
            }
            OpCode::Close => self.is_closing.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Observer for Watch {
    fn received(&self, opcode: OpCode, bytes: usize) {
        self.passed(0, opcode, bytes);
    }

    fn sent(&self, opcode: OpCode, bytes: usize) {
        self.passed(1, opcode, bytes);
    }

    fn keeps_time(&self) -> bool {
        true
    }

    /// Only ever brings the deadline forward: what it is besides, the session's task knows, and looks
    /// when it comes.
    fn deadline(&self, at: Option<Instant>) {
        let at = at.map_or(NEVER, |at| self.worker.clock.second_of(at.into()));
        self.wants.store(at, Ordering::Relaxed);
        self.handle.bring_forward(at);
    }
}
