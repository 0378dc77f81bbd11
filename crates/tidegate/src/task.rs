//! Tasks: spawned in one place. A panic ends the one task that it happens in, or only the work on one
//! request, and is counted and logged; whatever they held is dropped, and sockets are reset
//! (`transport`).

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;

#[cfg(all(panic = "abort", not(fuzzing)))]
compile_error!("a panic must end one task, not the gateway: build with `panic = \"unwind\"`");

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A connection of the admin listener.
    Admin,
    /// What this node is to its cluster.
    Cluster,
    /// A client's connection.
    Connection,
    /// What is told on the bus of sessions and users.
    Events,
    /// The work on one request, within a connection's task.
    Exchange,
    /// The look-up of a name.
    LookUp,
    /// The way of a push to those whom it is for.
    Push,
    /// An open WebSocket.
    Session,
}

/// How many panics there were.
#[derive(Debug, Default)]
pub(crate) struct Panics(AtomicU64);

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Cluster => "cluster",
            Self::Events => "events",
            Self::Connection => "connection",
            Self::Exchange => "exchange",
            Self::LookUp => "look_up",
            Self::Push => "push",
            Self::Session => "session",
        }
    }
}

impl Panics {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One has happened. What it panicked with stays with the hook of the process: it may hold what a user sent.
    pub(crate) fn note(&self, kind: Kind) {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::error!(task = kind.label(), "a panic ended it; please report this");
    }
}

/// Runs `future` as a task of the runtime that this thread is in. A panic ends nothing else.
pub(crate) fn spawn(
    kind: Kind,
    panics: &Arc<Panics>,
    future: impl Future<Output = ()> + Send + 'static,
) {
    let panics = Arc::clone(panics);
    // Combinators, because an async block would hold the future twice.
    let task = AssertUnwindSafe(future).catch_unwind();
    let task = task.map(move |ended| {
        if ended.is_err() {
            panics.note(kind);
        }
    });
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    drop(tokio::spawn(task));
}

/// What comes of `future`; `None` where it panicked. Nothing that it worked on may be used then.
pub(crate) fn survive<T>(
    kind: Kind,
    panics: &Panics,
    future: impl Future<Output = T>,
) -> impl Future<Output = Option<T>> {
    // Combinators here too.
    let task = AssertUnwindSafe(future).catch_unwind();
    task.map(move |ended| ended.inspect_err(|_panic| panics.note(kind)).ok())
}
