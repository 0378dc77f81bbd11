//! Tasks: spawned in one place, so that they can be counted and so that a panic ends one task only.

use std::future::Future;

/// Runs `future` as a task of the runtime that this thread is in. A panic ends the task and is
/// logged by the hook of the process; nothing else ends with it.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    drop(tokio::spawn(future));
}
