//! Waiting for conditions, with deadlines.

use std::time::{Duration, Instant};

/// How long anything may take that is promised without a time of its own: far above what a loaded
/// machine needs, so that only a thing that never comes is missed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What a loaded machine may add to a time that the gateway promises.
pub const SLACK: Duration = Duration::from_secs(2);

/// How long silence must last to be believed. A correct gateway stays silent for ever, so this is
/// no race: it only bounds how late a wrong one may be and still be caught.
pub const GRACE: Duration = Duration::from_millis(100);

/// Awaits `future`, and panics with `what` when it does not come within [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_limit(DEADLINE, what, future).await
}

/// As [`within`], for what is promised later than that.
pub async fn within_limit<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("waited {limit:?} for {what}"),
    }
}

/// Waits until `condition` holds, and panics with `what` when it does not within [`DEADLINE`].
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(DEADLINE, what, condition).await;
}

/// As [`eventually`], for what takes longer than that by itself.
pub async fn eventually_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "waited {limit:?} until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// As [`eventually`], where finding out takes a while itself.
pub async fn eventually_does(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_does_within(DEADLINE, what, condition).await;
}

/// The same, for what takes longer than that by itself.
pub async fn eventually_does_within(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < limit, "waited {limit:?} until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
