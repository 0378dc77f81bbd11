//! What an idle session holds on the heap, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::libraries::Library;
use crate::wire::Batch;

const SESSIONS: usize = 1_000;

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
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

/// The table: bytes a session, with the future of its task, after one echo and before any.
pub fn measure() -> String {
    let mut table = "| heap of an idle session |".to_owned();
    let libraries = &Library::ALL[..5];
    for library in libraries {
        let _ = write!(table, " {} |", library.name());
    }
    table.push_str("\n|---|");
    table.push_str(&"---:|".repeat(libraries.len()));
    for (name, bytes) in [
        ("fresh", 0),
        ("after an echo of 32 B", 32),
        ("after an echo of 16 KiB", 16 << 10),
    ] {
        let _ = write!(table, "\n| {name} |");
        for library in libraries {
            let _ = write!(table, " {} |", session(*library, bytes));
        }
    }
    table.push('\n');
    table
}

/// Bytes that a session holds once it has echoed a message of so many bytes, if any.
fn session(library: Library, bytes: usize) -> usize {
    let batch = Batch::new(&"x".repeat(bytes), 1, false);
    let frames: &'static [u8] = if bytes == 0 {
        &[]
    } else {
        Vec::leak(batch.frames().to_vec())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut tasks = Vec::with_capacity(SESSIONS + 1);
        // What is shared is there once.
        open(library, frames, &mut tasks).await;
        let before = HELD.load(Ordering::Relaxed);
        for _ in 0..SESSIONS {
            open(library, frames, &mut tasks).await;
        }
        let held = HELD.load(Ordering::Relaxed) - before;
        assert!(
            tasks.iter().all(|task| !task.is_finished()),
            "{library:?} is not idle"
        );
        for task in tasks {
            task.abort();
        }
        held / SESSIONS
    })
}

async fn open(
    library: Library,
    frames: &'static [u8],
    tasks: &mut Vec<tokio::task::JoinHandle<()>>,
) {
    tasks.push(library.spawn_echo(Quiet(frames), false));
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// A connection that brings some bytes, then nothing, and swallows what is written; it holds no heap.
struct Quiet(&'static [u8]);

impl AsyncRead for Quiet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.0.split_at(self.0.len().min(into.remaining()));
        into.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
