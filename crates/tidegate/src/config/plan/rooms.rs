//! Rooms: what is kept of them, and how many a session may be in.

use std::time::Duration;

use super::super::defaults;

/// What holds for all rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomsPlan {
    /// Rooms that one session may be a member of; 100.
    pub max_per_session: usize,
    /// How long a member whose client was lost is still seen by the others; 10 seconds.
    pub presence_grace: Duration,
    /// What is kept of pushes to rooms; `None` (the default): nothing.
    pub history: Option<RoomHistory>,
}

/// How much is kept of what was pushed to rooms; beyond it the oldest is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomHistory {
    /// Pushes of one room; 100.
    pub messages: usize,
    /// How long ago they were pushed; 5 minutes.
    pub age: Duration,
    /// Bytes of all rooms; 64 MiB.
    pub memory: u64,
}

impl Default for RoomsPlan {
    fn default() -> Self {
        Self {
            max_per_session: defaults::ROOMS_PER_SESSION,
            presence_grace: defaults::ROOM_PRESENCE_GRACE,
            history: None,
        }
    }
}

impl Default for RoomHistory {
    fn default() -> Self {
        Self {
            messages: defaults::ROOM_HISTORY_MESSAGES,
            age: defaults::ROOM_HISTORY_AGE,
            memory: defaults::ROOM_HISTORY_MEMORY,
        }
    }
}
