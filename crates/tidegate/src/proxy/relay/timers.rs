//! What a session waits for, and what happens when its time has come.
//!
//! A session has one deadline at its worker (`session/registry.rs`), and it is lazy: what moves a
//! time onwards is a plain stamp here, and when the deadline comes the stamps tell what is due, or
//! when to look again. Times are whole seconds of the worker's coarse clock. A stamp may be up to a
//! second older than it says, so what is due `n` seconds behind a stamp is due when the clock shows
//! more than `n` seconds.

use super::pulse::Beat;
use super::watch::mask;
use super::{Relay, SIDES, Side, microseconds, other};
use crate::config::plan::{KeepAlive, WebSocketPlan};
use crate::session::clock::{after, end_of_age, whole_seconds};
use crate::session::handle::NEVER;
use crate::session::{Cause, Ending};
use std::task::Context;

/// How long the clock of the end begins anew for a receiver that still takes what was said before,
/// in seconds.
const LAST_WORDS: u32 = 60;

/// The stamps of one session.
#[derive(Debug)]
pub(super) struct Timers {
    /// When the last frame passed that is not ours, or the last bytes of one.
    moved: u32,
    /// When a leg was last heard, by [`Side`].
    heard: [u32; 2],
    /// When a leg was asked for a sign of life, or was to be; later while bytes before the question
    /// are still on their way to it. [`NEVER`] since it was heard.
    asked: [u32; 2],
    /// When a leg that keeps us waiting last took something, or began to; [`NEVER`] for one that
    /// does not.
    took: [u32; 2],
    /// When the session is too old.
    ends: u32,
    /// When the clock of the end began to run.
    closing_since: u32,
    /// When that clock has run down; [`NEVER`] while it does not run.
    close_by: u32,
    /// The deadline that the registry knows.
    armed: u32,
    /// The deadline is not the one that fits any more.
    is_stale: bool,
}

impl Timers {
    pub(super) fn new(plan: &WebSocketPlan, now: u32) -> Self {
        Self {
            moved: now,
            heard: [now; 2],
            asked: [NEVER; 2],
            took: [NEVER; 2],
            ends: end_of_age(plan.max_age, now),
            closing_since: now,
            close_by: NEVER,
            armed: NEVER,
            is_stale: true,
        }
    }

    /// Frames of the peers pass.
    pub(super) const fn moved(&mut self, now: u32) {
        self.moved = now;
    }

    /// When frames of the peers passed last.
    pub(super) const fn last_moved(&self) -> u32 {
        self.moved
    }

    /// Bytes came from a leg, which need not be asked any more, whether it was or was to be.
    pub(super) const fn heard(&mut self, side: Side, now: u32, was_due: bool) {
        let side = side as usize;
        self.is_stale |= was_due || self.asked[side] != NEVER;
        self.heard[side] = now;
        self.asked[side] = NEVER;
    }

    /// A leg has been asked for a sign of life.
    const fn asked(&mut self, side: Side, now: u32) {
        self.asked[side as usize] = now;
        self.is_stale = true;
    }
}

impl Relay {
    /// The deadline has come: does what is due. What came meanwhile was read before.
    pub(super) fn overdue(&mut self) {
        let now = self.worker.clock.now();
        self.timers.armed = NEVER;
        self.timers.is_stale = true;
        if now >= self.timers.close_by {
            return self.give_up();
        }
        self.sample_queues();
        for side in SIDES {
            self.overdue_writes(side, now);
        }
        if self.ended.is_some() {
            return;
        }
        let idle = self.plan.idle_timeout;
        if now >= self.timers.ends {
            return self.end(Ending::of(Cause::MaxAge));
        }
        if idle.is_some_and(|idle| now >= after(self.timers.moved, idle)) {
            return self.end(Ending::of(Cause::IdleTimeout));
        }
        for side in SIDES {
            self.overdue_life(side, now);
        }
    }

    /// Counts what has not been taken. While anything waits the deadline comes every second, so
    /// nothing is done for it besides.
    fn sample_queues(&self) {
        for (side, leg) in SIDES.into_iter().zip([&self.client, &self.upstream]) {
            if leg.is_waiting() {
                self.meter.queued(side as usize, leg.queued());
            }
        }
    }

    /// A leg may take nothing for a while and no longer. Its sender is not read meanwhile, so
    /// whether that one is still there must be asked.
    fn overdue_writes(&mut self, side: Side, now: u32) {
        let (_, leg, _) = self.direction(other(side));
        if !leg.is_waiting() {
            return;
        }
        if leg.look() {
            leg.note_progress();
            self.timers.took[side as usize] = now;
        }
        let took = self.timers.took[side as usize];
        let (sender, _, toward) = self.direction(other(side));
        let says_more = !toward.is_closed() && !toward.is_over();
        // A leg that still takes gets the sender's last words first.
        if now > took.saturating_add(1) && says_more && sender.was_reset() {
            self.gone(other(side));
        } else if now >= after(took, self.plan.write_timeout) && !self.forced {
            self.end(Ending::of(Cause::SlowConsumer));
        }
    }

    /// A leg that says nothing is asked, and one that does not answer is gone.
    fn overdue_life(&mut self, side: Side, now: u32) {
        let Some(keep_alive) = self.keep_alive(side) else {
            return;
        };
        let (_, receiver, _) = self.direction(side);
        if receiver.is_waiting() {
            // It is not read, so it cannot be heard.
            return self.timers.heard(side, now, false);
        }
        let asked = self.timers.asked[side as usize];
        if asked != NEVER {
            // Its ping may still wait for the end of a frame that does not go on.
            if now >= after(asked, keep_alive.timeout) && self.ended.is_none() {
                self.end(Ending::of(Cause::PingTimeout));
            }
        } else if now >= after(self.timers.heard[side as usize], keep_alive.interval) {
            self.timers.asked(side, now);
            let pulse = &mut self.pulses[side as usize];
            if !pulse.is_unanswered() {
                pulse.set_due();
            }
        }
    }

    /// None under an extension that we do not know: a ping of ours might mean something there.
    fn keep_alive(&self, side: Side) -> Option<KeepAlive> {
        let keep_alive = &self.plan.keep_alive;
        let leg = match side {
            Side::Client => keep_alive.client,
            Side::Upstream => keep_alive.upstream,
        };
        leg.filter(|_| !self.is_foreign())
    }

    /// Sends the pings and pongs of ours that have waited for a boundary.
    pub(super) fn beat(&mut self, cx: &mut Context<'_>) {
        for side in SIDES {
            if !self.pulses[side as usize].has_beat() {
                continue;
            }
            if self.ended.is_some() {
                self.pulses[side as usize].rest();
                continue;
            }
            let (leg, _, _) = self.direction(side);
            let is_free = !leg.is_waiting();
            let (_, _, toward) = self.direction(other(side));
            if is_free && toward.takes_beat() {
                self.send_beats(side, cx);
            }
        }
    }

    /// Sends a leg that stands at a boundary what waited for one.
    pub(super) fn send_beats(&mut self, side: Side, cx: &mut Context<'_>) {
        let mask = match side {
            Side::Client => None,
            Side::Upstream => Some(mask()),
        };
        let now = self.worker.clock.now();
        while self.pulses[side as usize].has_beat() {
            let was_due = self.pulses[side as usize].is_due();
            let beat = self.pulses[side as usize].take_beat(mask, microseconds());
            let (leg, _, _) = self.direction(side);
            if let Some(beat) = &beat {
                leg.send(beat.as_bytes(), cx);
            }
            // An unanswered ping that was forwarded is as good as ours.
            if was_due && !matches!(beat, Some(Beat::Pong(_))) {
                self.timers.asked(side, now);
            }
        }
    }

    /// Keeps the stamps of what is waited for, and the deadline where it must come sooner.
    pub(super) fn arm(&mut self) {
        let now = self.worker.clock.now();
        let (mut waiting, mut progressed) = (false, false);
        for (side, leg) in SIDES
            .into_iter()
            .zip([&mut self.client, &mut self.upstream])
        {
            let (is_waiting, took) = (leg.is_waiting(), leg.progressed());
            let stamp = &mut self.timers.took[side as usize];
            let asked = &mut self.timers.asked[side as usize];
            let was_waiting = *stamp != NEVER;
            let is_due = self.pulses[side as usize].is_due();
            // How long it may take nothing is for `write_timeout` to say. Into a buffer with room
            // bytes go though nobody takes them, so they are no life once it was asked.
            if *asked != NEVER && (is_waiting || was_waiting || (took && is_due)) {
                *asked = now;
            }
            if !is_waiting {
                *stamp = NEVER;
            } else if took || *stamp == NEVER {
                if *stamp == NEVER {
                    leg.look();
                }
                *stamp = now;
            }
            waiting |= is_waiting;
            progressed |= took;
        }
        self.run_close_clock(now, waiting, progressed);
        // The clock moves by a second, so nothing is missed when the deadline is the next one.
        let timers = &self.timers;
        let is_near = timers.armed <= now.saturating_add(1);
        let may_be_nearer = waiting || timers.close_by != NEVER;
        if !timers.is_stale && (is_near || !may_be_nearer) {
            return;
        }
        let deadline = self.next_deadline(now, waiting);
        if timers.is_stale || deadline < timers.armed {
            self.timers.is_stale = false;
            self.timers.armed = deadline;
            self.registered.handle().set_deadline(deadline);
        }
    }

    /// The clock of the end runs once the session is ended and nobody is waited for who still
    /// takes what was said before; or once it was ended for its peers, who still have a little.
    fn run_close_clock(&mut self, now: u32, waiting: bool, progressed: bool) {
        let timers = &mut self.timers;
        let is_closing = self.forced || (self.ended.is_some() && !waiting);
        if !is_closing {
            timers.close_by = NEVER;
            return;
        }
        let begins = timers.close_by == NEVER;
        let is_early = now.saturating_sub(timers.closing_since) < LAST_WORDS;
        if begins {
            timers.closing_since = now;
        }
        if begins || (progressed && waiting && is_early) {
            // Not `after`: this is the time within which all is to be over.
            let seconds = whole_seconds(self.plan.close_timeout).max(2);
            timers.close_by = now.saturating_add(seconds);
        }
    }

    /// When something may be due next.
    fn next_deadline(&self, now: u32, waiting: bool) -> u32 {
        let timers = &self.timers;
        let mut next = timers.close_by;
        if waiting {
            next = next.min(now.saturating_add(1));
        }
        if self.ended.is_some() {
            return next;
        }
        next = next.min(timers.ends);
        if let Some(idle) = self.plan.idle_timeout {
            next = next.min(after(timers.moved, idle));
        }
        for side in SIDES {
            let (heard, asked) = (timers.heard[side as usize], timers.asked[side as usize]);
            let Some(keep_alive) = self.keep_alive(side) else {
                continue;
            };
            if asked != NEVER {
                next = next.min(after(asked, keep_alive.timeout));
            } else {
                next = next.min(after(heard, keep_alive.interval));
            }
        }
        next
    }
}
