//! Requests that wait for something long: they have a bound of their own, and take nobody else's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::reserve::Reserve;

/// So many at one time.
const MOST: usize = 1024;
/// The most bytes of a request that is taken before it is refused.
const MOST_ASKED: usize = 64 * 1024;

/// How far a connection is.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

const SILENT: u8 = 0;
const HEARD: u8 = 1;
const WAITING: u8 = 2;

impl Stage {
    /// Its request's head has come.
    pub(super) fn set_heard(&self) {
        self.0.store(HEARD, Ordering::Relaxed);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SILENT
    }

    /// Its answer waits for others.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITING
    }
}

/// Who may wait; one of it stands in the extensions of each request.
#[derive(Clone)]
pub(super) struct Waits {
    room: Arc<Semaphore>,
    reserve: Reserve,
    /// That of its connection.
    stage: Arc<Stage>,
}

/// One waits. Dropped, it does no more.
#[derive(Debug)]
pub(super) struct Waiting {
    stage: Arc<Stage>,
    _permit: OwnedSemaphorePermit,
}

impl Waits {
    pub(super) fn new(reserve: Reserve) -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST)),
            reserve,
            stage: Arc::default(),
        }
    }

    /// The same for a connection.
    pub(super) fn of(&self, stage: &Arc<Stage>) -> Self {
        Self {
            stage: Arc::clone(stage),
            ..self.clone()
        }
    }

    /// One more waits.
    ///
    /// # Errors
    /// When there are as many as may, or descriptors are short.
    pub(super) fn begin(&self) -> Result<Waiting, Problem> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        match permit {
            Ok(permit) if self.reserve.is_full() => {
                self.stage.0.store(WAITING, Ordering::Relaxed);
                Ok(Waiting {
                    stage: Arc::clone(&self.stage),
                    _permit: permit,
                })
            }
            _ => Err(busy("as many requests wait as may")),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stage.set_heard();
    }
}

/// What callers find for whom there is no room.
pub(super) fn refusing() -> Router {
    Router::new().fallback(async |body: Body| {
        // What is not read would cut the answer short.
        let _read = to_bytes(body, MOST_ASKED).await;
        busy("as many callers are answered as may be")
    })
}

fn busy(detail: &'static str) -> Problem {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "admin_full", detail);
    problem.with(header::RETRY_AFTER, "1")
}
