//! What a session waits for, and when.
//!
//! What happens often sets a mark and does not look at the clock; when the one deadline of the
//! session comes, the marks tell what is due, or when to look again.

use std::time::Duration;

use tokio::time::Instant;

use super::config::SessionConfig;

/// Idle time is looked at so many times while it runs.
const LOOKS: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Bytes came since the last look.
    heard: bool,
    /// A message came or went since the last look.
    moved: bool,
    /// Something that matters to a deadline has happened: it is to be reckoned anew.
    is_stale: bool,
    /// The ping of ours that is not answered.
    own_ping: Option<[u8; 8]>,
    /// When idle time is looked at next.
    idle_look: Option<Instant>,
    /// While it is open: when it has been idle for too long. Then when the closing has, or the
    /// handler's grace.
    end_by: Option<Instant>,
    /// When a ping is due, or its answer.
    life_by: Option<Instant>,
    /// The phase that `end_by` is of.
    phase: Phase,
    /// A ping is not answered.
    is_asked: bool,
    /// When a write that waits last got on, or began to wait.
    waits_since: Option<Instant>,
    control_since: Option<Instant>,
    control: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    Broken,
    Closing,
    Over,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The peer did not end its part of the closing.
    Close,
    /// The handler outlived its session.
    Grace,
    Idle,
    /// What a peer said to which nothing can be written was not received in time, or one that says
    /// nothing more was not answered.
    Lost,
    /// A ping is to be sent.
    Ping,
    /// The peer gave no sign of life.
    Pong,
    Write,
}

/// What a look at the clock must know of the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct State<'a> {
    pub(super) config: &'a SessionConfig,
    /// Nothing is read, because nobody receives.
    pub(super) is_paused: bool,
    /// Something waits to be written.
    pub(super) has_queue: bool,
    pub(super) is_closing: bool,
    /// One direction is closed: nothing can be written any more, or nothing more will be heard.
    pub(super) is_broken: bool,
    /// It is that nothing more will be heard.
    pub(super) is_half_closed: bool,
    pub(super) is_over: bool,
}

impl Timers {
    pub(super) const fn heard(&mut self) {
        self.heard = true;
    }

    pub(super) const fn moved(&mut self) {
        self.moved = true;
    }

    /// The deadline does not fit any more.
    pub(super) const fn stale(&mut self) {
        self.is_stale = true;
    }

    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub(super) const fn take_stale(&mut self) -> bool {
        std::mem::replace(&mut self.is_stale, false)
    }

    pub(super) fn wrote(&mut self) {
        if self.waits_since.is_some() {
            self.waits_since = Some(Instant::now());
        }
    }

    pub(super) const fn write_done(&mut self) {
        self.waits_since = None;
    }

    /// A write must wait.
    pub(super) fn write_waits(&mut self) {
        if self.waits_since.is_none() {
            self.waits_since = Some(Instant::now());
            self.is_stale = true;
        }
    }

    pub(super) const fn pinged(&mut self, payload: [u8; 8]) {
        self.own_ping = Some(payload);
    }

    pub(super) fn is_own_pong(&mut self, payload: &[u8]) -> bool {
        let is_own = self.own_ping.is_some_and(|own| own == payload);
        if is_own {
            self.own_ping = None;
            // The time to the next ping runs from here.
            self.is_stale = true;
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

    /// What is due now, one thing at a time.
    pub(super) fn review(&mut self, now: Instant, state: State<'_>) -> Option<Due> {
        if state.is_over {
            // A handler that was told of the end of the peer's stream has had its time since.
            if !state.is_half_closed || self.phase != Phase::Broken {
                self.enter(Phase::Over);
            }
            let by = *self
                .end_by
                .get_or_insert_with(|| after(now, state.config.handler_grace));
            return (now >= by).then_some(Due::Grace);
        }
        if self.is_stalled(now, state) {
            return Some(Due::Write);
        }
        if state.is_closing {
            return self.review_close(now, state);
        }
        if state.is_broken {
            self.enter(Phase::Broken);
            let by = *self
                .end_by
                .get_or_insert_with(|| after(now, state.config.handler_grace));
            return (now >= by).then_some(Due::Lost);
        }
        if self.is_idle(now, state) {
            return Some(Due::Idle);
        }
        self.review_life(now, state)
    }

    /// When to look again, as the last review left it.
    pub(super) fn next(&self, state: State<'_>) -> Option<Instant> {
        if state.is_over || state.is_broken && !state.is_closing {
            return self.end_by;
        }
        let write_by = self.write_by(state);
        if state.is_closing {
            return earliest([write_by, self.end_by]);
        }
        earliest([write_by, self.idle_look, self.life_by])
    }

    fn write_by(&self, state: State<'_>) -> Option<Instant> {
        self.waits_since
            .map(|since| after(since, state.config.write_timeout))
    }

    fn is_stalled(&self, now: Instant, state: State<'_>) -> bool {
        self.write_by(state).is_some_and(|by| now >= by)
    }

    fn review_close(&mut self, now: Instant, state: State<'_>) -> Option<Due> {
        self.enter(Phase::Closing);
        let by = *self.end_by.get_or_insert_with(|| {
            let wait = state.config.close_timeout;
            if state.has_queue {
                after(now, wait.saturating_add(state.config.write_timeout))
            } else {
                after(now, wait)
            }
        });
        (now >= by).then_some(Due::Close)
    }

    /// Whether nothing has moved for too long. What moved is taken to have moved when it is looked
    /// at, so that the end comes up to an eighth late, never early.
    fn is_idle(&mut self, now: Instant, state: State<'_>) -> bool {
        let Some(timeout) = state.config.idle_timeout else {
            return false;
        };
        let moved = std::mem::replace(&mut self.moved, false) || state.is_paused;
        let by = match self.end_by {
            Some(by) if !moved => by,
            _ => after(now, timeout),
        };
        self.end_by = Some(by);
        self.idle_look = Some(by.min(after(now, timeout / LOOKS)));
        now >= by
    }

    fn review_life(&mut self, now: Instant, state: State<'_>) -> Option<Due> {
        let keep_alive = state.config.keep_alive?;
        let Some(by) = self.life_by else {
            self.life_by = Some(after(now, keep_alive.every));
            return None;
        };
        if self.is_asked {
            if self.heard {
                (self.is_asked, self.heard) = (false, false);
                self.life_by = Some(after(now, keep_alive.every));
            } else if now >= by && (state.is_paused || state.has_queue) {
                // What nobody reads cannot be heard, and what waits to be written asks nobody.
                self.life_by = Some(after(now, keep_alive.wait));
            } else if now >= by {
                return Some(Due::Pong);
            }
            return None;
        }
        if now < by {
            return None;
        }
        if std::mem::replace(&mut self.heard, false) || state.is_paused {
            self.life_by = Some(after(now, keep_alive.every));
            return None;
        }
        self.is_asked = true;
        self.life_by = Some(after(now, keep_alive.wait));
        Some(Due::Ping)
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.end_by = None;
        }
    }
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

fn after(now: Instant, wait: Duration) -> Instant {
    // What is too far away to be told never comes, nearly.
    now.checked_add(wait)
        .unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 86_400))
}
