//! What a session with a handler tells while it goes on, and where that is counted.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Observer;

use super::life::Life;
use crate::metrics::RouteMeters;
use crate::pipeline::FrameRefusal;
use crate::session::Cause;
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
    /// Why a filter will not have a frame.
    refusal: OnceLock<Box<FrameRefusal>>,
    /// Where code of ours says which messages count.
    life: Option<Arc<Life>>,
}

impl Watch {
    pub(super) const fn new(
        handle: Arc<Handle>,
        route: Arc<RouteMeters>,
        worker: Arc<Worker>,
        life: Option<Arc<Life>>,
    ) -> Self {
        Self {
            handle,
            route,
            worker,
            wants: AtomicU32::new(NEVER),
            is_closing: AtomicBool::new(false),
            refusal: OnceLock::new(),
            life,
        }
    }

    /// A filter will not have a frame: the session is to end.
    pub(super) fn refuse(&self, refusal: FrameRefusal) {
        let _first = self.refusal.set(Box::new(refusal));
        self.handle.order(Cause::Policy);
    }

    /// Whether that has happened.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.get().is_some()
    }

    /// What the filter said.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(|refusal| refusal.reason())
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
        let is_message = !opcode.is_control();
        self.handle
            .passed(side, u64::from(is_message), bytes as u64);
        let kind = is_message.then_some(opcode == OpCode::Binary);
        self.route.frame_passed(side, kind, bytes as u64);
        if is_message {
            let counts = match &self.life {
                Some(life) => side == 1 && !life.is_sign(),
                None => true,
            };
            if counts {
                self.handle.note_moved(self.worker.clock.now());
            }
        } else if opcode == OpCode::Close {
            self.is_closing.store(true, Ordering::Relaxed);
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
