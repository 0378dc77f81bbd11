//! What became of pushes, counted where they are left in mailboxes.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::{Counter, Histogram, REQUEST_BOUNDS};
use super::text::Page;
use crate::push::mailbox::Offered;

/// How a push came to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushSource {
    /// By the admin API.
    Api,
    /// By another, or by code of an embedder.
    Bus,
    /// By a client, into a room.
    Client,
    /// By `POST /kafka`.
    Kafka,
}

/// What became of a session that was to be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// It goes on, and nothing is lost.
    Recovered,
    /// It goes on, and something is lost.
    Lost,
    /// There was none, or not for who asked.
    Refused,
    /// It begins anew, with all that its user has missed.
    Replayed,
    /// It begins anew, and what its user has missed cannot be said.
    Unknown,
}

const RESUMED: [&str; 5] = ["recovered", "lost", "refused", "replayed", "unknown"];
const SOURCES: [&str; 4] = ["api", "bus", "client", "kafka"];
const RESULTS: [&str; 7] = [
    "queued",
    "replaced",
    "dropped_oldest",
    "overflowed",
    "closing",
    "kept",
    "unmatched",
];
const UNMATCHED: usize = RESULTS.len() - 1;

/// Pushes by source, and by what became of each for each session that was meant.
#[derive(Debug, Default)]
pub(crate) struct PushMeters {
    pushes: [[Counter; RESULTS.len()]; SOURCES.len()],
    resumed: [Counter; RESUMED.len()],
    suspended: AtomicUsize,
}

impl PushMeters {
    /// One was left for one session.
    pub(crate) fn offered(&self, source: PushSource, offered: Offered) {
        let place = match offered {
            Offered::Queued => 0,
            Offered::Replaced => 1,
            Offered::DroppedOldest => 2,
            Offered::Overflowed => 3,
            Offered::Closing => 4,
            Offered::Kept => 5,
        };
        self.pushes[source as usize][place].add(1);
    }

    /// One was for nobody who is here.
    pub(crate) fn unmatched(&self, source: PushSource) {
        self.pushes[source as usize][UNMATCHED].add(1);
    }

    /// Somebody wanted a session to go on.
    pub(crate) fn resumed(&self, resumed: Resumed) {
        self.resumed[resumed as usize].add(1);
    }

    /// Sessions that are kept for clients that are not there.
    pub(crate) fn set_suspended(&self, count: usize) {
        self.suspended.store(count, Ordering::Relaxed);
    }

    pub(super) fn write<'a>(&self, page: &mut Page, latency: impl Iterator<Item = &'a Histogram>) {
        let name = "tidegate_push_messages_total";
        page.family(
            name,
            "counter",
            "Pushes by how they came, and by what became of each for each session that was meant.",
        );
        for (source, counts) in SOURCES.into_iter().zip(&self.pushes) {
            for (result, count) in RESULTS.into_iter().zip(counts) {
                page.sample(
                    name,
                    &[("source", source), ("result", result)],
                    count.value(),
                );
            }
        }
        let name = "tidegate_sessions_resumed_total";
        page.family(
            name,
            "counter",
            "Bridge sessions that were to be resumed, by what became of that.",
        );
        for (result, count) in RESUMED.into_iter().zip(&self.resumed) {
            page.sample(name, &[("result", result)], count.value());
        }
        let name = "tidegate_sessions_suspended";
        page.family(
            name,
            "gauge",
            "Bridge sessions that are kept for clients that may come back.",
        );
        page.sample(name, &[], self.suspended.load(Ordering::Relaxed) as u64);
        let name = "tidegate_push_latency_seconds";
        page.family(
            name,
            "histogram",
            "From when a push was taken to when its frame was given to a session's socket.",
        );
        page.histogram(name, &[], REQUEST_BOUNDS, latency);
    }
}

/// How many rooms there are, and how many members of all.
pub(super) fn rooms(page: &mut Page, [open, members]: [usize; 2]) {
    for (name, help, value) in [
        (
            "tidegate_rooms",
            "Rooms that somebody is in, or of which something is kept.",
            open,
        ),
        (
            "tidegate_room_members",
            "Members of all rooms: a session counts in each that it is in.",
            members,
        ),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
    }
}

/// Bytes of pushes that are held for clients that may come back.
pub(super) fn suspended_bytes(page: &mut Page, bytes: usize) {
    let name = "tidegate_suspended_bytes";
    let help = "Bytes of pushes that are held for clients that may come back.";
    page.family(name, "gauge", help);
    page.sample(name, &[], bytes);
}
