//! The open sessions of all workers, for what concerns a session wherever it runs.

use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use super::handle::Handle;
use super::id::SessionId;
use super::registry::Registry;
use crate::auth::Revoked;

/// A worker's sessions, and its clock.
type Place = (Arc<Registry>, Arc<Clock>);

/// The registries of all workers.
#[derive(Debug, Default)]
pub(crate) struct Everywhere(Mutex<Vec<Place>>);

impl Everywhere {
    /// There is one more worker.
    pub(crate) fn add(&self, sessions: &Arc<Registry>, clock: &Arc<Clock>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.push((Arc::clone(sessions), Arc::clone(clock)));
    }

    fn places(&self) -> Vec<Place> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.clone()
    }

    /// The open session of that id, and the clock of its worker.
    pub(crate) fn find(&self, id: SessionId) -> Option<(Arc<Handle>, Arc<Clock>)> {
        let mut places = self.places().into_iter();
        places.find_map(|(sessions, clock)| Some((sessions.find(id)?, clock)))
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        let mut all = Vec::new();
        for (sessions, _) in self.places() {
            let mut place = Some(0);
            while let Some(from) = place {
                let (handles, next) = sessions.slice(from);
                all.extend(handles);
                place = next;
            }
        }
        all
    }

    /// Ends those that go on by what is revoked; how many there were.
    pub(crate) async fn end_revoked(&self, what: &Revoked) -> usize {
        let mut ended = 0;
        for (sessions, _) in self.places() {
            ended += sessions.end_revoked(|one| what.takes(one)).await;
        }
        ended
    }
}
