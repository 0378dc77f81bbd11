//! What a session waits for, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::config::SessionConfig;

/// Stamps are lazy: what happens sets a mark, and the clock is looked at when a deadline comes.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) heard: bool,
    pub(super) moved: bool,
    pub(super) wrote: bool,
    pub(super) writes_wait: bool,
    pub(super) closing: bool,
    /// The ping of ours that is not answered.
    pub(super) own_ping: Option<[u8; 8]>,
    control_since: Option<Instant>,
    control: u32,
}

impl Timers {
    pub(super) const fn heard(&mut self) {
        self.heard = true;
    }

    pub(super) const fn moved(&mut self) {
        self.moved = true;
    }

    pub(super) const fn wrote(&mut self) {
        self.wrote = true;
    }

    pub(super) const fn write_done(&mut self) {
        self.writes_wait = false;
    }

    /// Whether this is news.
    pub(super) const fn write_waits(&mut self) -> bool {
        let is_news = !self.writes_wait;
        self.writes_wait = true;
        is_news
    }

    pub(super) const fn close_begins(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_own_pong(&mut self, payload: &[u8]) -> bool {
        let is_own = self.own_ping.is_some_and(|own| own == payload);
        if is_own {
            self.own_ping = None;
        }
        is_own
    }

    /// Counts a ping or pong; whether there are too many.
    pub(super) fn count_control(&mut self, config: &SessionConfig) -> bool {
        let now = Instant::now();
        let is_same = self
            .control_since
            .is_some_and(|since| now.duration_since(since) < Duration::from_secs(1));
        if !is_same {
            self.control_since = Some(now);
            self.control = 0;
        }
        self.control += 1;
        self.control > config.limits.max_control_per_second
    }
}
