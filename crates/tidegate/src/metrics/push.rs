//! What became of pushes, counted where they are left in mailboxes.

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

const SOURCES: [&str; 4] = ["api", "bus", "client", "kafka"];
const RESULTS: [&str; 6] = [
    "queued",
    "replaced",
    "dropped_oldest",
    "overflowed",
    "closing",
    "unmatched",
];
const UNMATCHED: usize = RESULTS.len() - 1;

/// Pushes by source, and by what became of each for each session that was meant.
#[derive(Debug, Default)]
pub(crate) struct PushMeters([[Counter; RESULTS.len()]; SOURCES.len()]);

impl PushMeters {
    /// One was left for one session.
    pub(crate) fn offered(&self, source: PushSource, offered: Offered) {
        let place = match offered {
            Offered::Queued => 0,
            Offered::Replaced => 1,
            Offered::DroppedOldest => 2,
            Offered::Overflowed => 3,
            Offered::Closing => 4,
        };
        self.0[source as usize][place].add(1);
    }

    /// One was for nobody who is here.
    pub(crate) fn unmatched(&self, source: PushSource) {
        self.0[source as usize][UNMATCHED].add(1);
    }

    pub(super) fn write<'a>(&self, page: &mut Page, latency: impl Iterator<Item = &'a Histogram>) {
        let name = "tidegate_push_messages_total";
        page.family(
            name,
            "counter",
            "Pushes by how they came, and by what became of each for each session that was meant.",
        );
        for (source, counts) in SOURCES.into_iter().zip(&self.0) {
            for (result, count) in RESULTS.into_iter().zip(counts) {
                page.sample(
                    name,
                    &[("source", source), ("result", result)],
                    count.value(),
                );
            }
        }
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
