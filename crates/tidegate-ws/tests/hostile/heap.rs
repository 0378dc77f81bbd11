//! The heap, counted by the allocator; cases that count it run one after another.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe")]
// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The time of one case, in which nobody else allocates.
pub(crate) struct Heap {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Heap {
    /// Waits until the other cases are over.
    pub(crate) fn alone() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            before: 0,
            _alone: alone,
        }
    }

    /// From now on counts what is held besides what is held now.
    pub(crate) fn mark(&mut self) {
        self.before = HELD.load(Ordering::Relaxed);
        PEAK.store(self.before, Ordering::Relaxed);
    }

    /// Fails where more than so many bytes were held at any moment since.
    pub(crate) fn was_at_most(&self, bytes: usize) {
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(peak <= bytes, "{peak} bytes were held, not at most {bytes}");
    }

    /// Fails where more than so many bytes are held.
    pub(crate) fn is_at_most(&self, bytes: usize) {
        let held = HELD.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(held <= bytes, "{held} bytes are held, not at most {bytes}");
    }
}
