//! Pushes: what services tell users through their bridge sessions.
//!
//! `request` reads what a publisher writes, and the bus carries it as an event. `router` sees each event
//! once, makes a `parcel` of it, which is encoded once, and leaves that in the `mailbox` of each session
//! that is meant; the `directory` knows them. The session's own task takes it from there
//! (`bridge/push.rs`), so that nobody here ever waits for a client. Who is in which of the `rooms` is known
//! there, and what was told to each of them lately. What became of an event is told to
//! whoever waits for it by `outcome`.

pub(crate) mod cursor;
pub(crate) mod directory;
mod kept;
pub(crate) mod keys;
pub(crate) mod mailbox;
pub(crate) mod outcome;
pub(crate) mod parcel;
pub(crate) mod request;
pub(crate) mod resume;
pub(crate) mod rooms;
mod routed;
mod router;
mod seen;
#[cfg(test)]
mod tests;

use self::directory::Directory;
use self::kept::Kept;
use self::keys::Keys;
use self::outcome::Outcomes;
use self::resume::Epoch;
use self::rooms::Rooms;
use self::routed::Routed;
pub(crate) use self::router::Router;
use crate::config::plan::RoomsPlan;
use crate::metrics::PushMeters;

/// What all of the gateway shares of it.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// Who can be reached.
    pub(crate) directory: Directory,
    /// Who waits to hear what became of an event.
    pub(crate) outcomes: Outcomes,
    /// Who is told what is pushed to a room.
    pub(crate) rooms: Rooms,
    /// What was asked for under a key.
    pub(crate) keys: Keys,
    /// The same of what sessions have published to rooms, who cannot push the others out.
    pub(crate) published: Keys,
    pub(crate) meters: PushMeters,
    /// Mailboxes of clients that may come back.
    kept: Kept,
    /// What numbers of pushes belong to: they begin anew with each process.
    epoch: Epoch,
    /// Up to where events have been left for whom they are.
    pub(crate) routed: Routed,
}

impl Push {
    /// With what holds for rooms, and the most bytes that are held for clients that may come back.
    pub(crate) fn new(rooms: &RoomsPlan, resume_memory: u64) -> Self {
        Self {
            rooms: Rooms::new(rooms.clone()),
            kept: Kept::new(resume_memory),
            ..Self::default()
        }
    }

    /// Pushes may not have come here that should have: numbers are left out for them, and whoever comes
    /// back behind a place before those is told.
    pub(crate) fn miss(&self) {
        self.directory.all(&mut |mailbox| mailbox.miss());
        self.rooms.miss();
    }
}
