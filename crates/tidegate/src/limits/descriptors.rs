//! The descriptors of this process: how many there are, and how many connections they are enough for.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that no connection of a client or an upstream ever takes: what is left for an admin
/// listener, logs, files and look-ups of names. Where a process may have few, a quarter of those.
pub const RESERVED: usize = 32;

/// Refused connections that each worker may be answering at a time.
pub(crate) const REFUSALS: usize = 64;

/// What the process holds besides connections: its streams, signals, the acceptor.
const OWN: usize = 16;
/// What each worker's runtime holds.
const PER_WORKER: usize = 6;
/// Above this, memory is what is short.
const MOST_CONNECTIONS: usize = 500_000;

/// The first descriptor of the reserve, kept because each accept and each dial asks.
static FIRST_RESERVED: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = usize::MAX;

/// Raises the number of descriptors that this process may have (`RLIMIT_NOFILE`) to what the system
/// allows it. Call it before a gateway starts.
///
/// # Errors
/// When the system refuses; the limit is as it was.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        FIRST_RESERVED.store(UNKNOWN, Ordering::Relaxed);
    }
    Ok(())
}

/// How many descriptors this process may have.
#[must_use]
pub fn allowed() -> usize {
    // Where it cannot be told, what POSIX grants everybody is not too much.
    getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(20, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// How many connections of clients the descriptors of this process are enough for, each with one of
/// its own to an upstream.
#[must_use]
pub fn connections(workers: usize, listeners: usize) -> usize {
    enough_for(allowed(), workers, listeners)
}

/// Whether so many are in use that what was just opened belongs to the reserve: the system gives the
/// lowest number that is free.
pub(crate) fn is_reserved(descriptor: RawFd) -> bool {
    let first = match FIRST_RESERVED.load(Ordering::Relaxed) {
        UNKNOWN => {
            let allowed = allowed();
            let first = allowed - reserve(allowed);
            FIRST_RESERVED.store(first, Ordering::Relaxed);
            first
        }
        first => first,
    };
    usize::try_from(descriptor).is_ok_and(|descriptor| descriptor >= first)
}

fn reserve(allowed: usize) -> usize {
    RESERVED.min(allowed / 4)
}

fn enough_for(allowed: usize, workers: usize, listeners: usize) -> usize {
    let own = OWN + PER_WORKER * workers + listeners;
    let refusals = (REFUSALS * workers).min(allowed / 16);
    let free = allowed.saturating_sub(reserve(allowed) + own + refusals);
    (free / 2).clamp(1, MOST_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_two() {
        assert_eq!(enough_for(20_000, 2, 1), 9905);
        assert_eq!(enough_for(1024, 2, 2), 449);
        assert_eq!(enough_for(64, 1, 1), 10);
        assert_eq!(enough_for(3, 64, 9), 1);
        assert_eq!(enough_for(usize::MAX, 64, 9), MOST_CONNECTIONS);
    }
}
