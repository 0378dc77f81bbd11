//! `ws.stats` and `ws.close`: how a session goes on, and how it ended.

use std::time::Duration;

use super::AccessLog;
use crate::config::plan::AccessLogFormat;
use crate::metrics::SessionMeter;
use crate::session::clock::Clock;
use crate::session::handle::{Counts, Handle};
use crate::session::registry::Registry;

/// How a session ended, in the words of the metrics.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) code: u16,
    pub(crate) cause: &'static str,
    pub(crate) initiator: &'static str,
    /// What the close frame said; nothing, where there was none.
    pub(crate) reason: &'a str,
    pub(crate) lasted: Duration,
    /// What the client and the upstream sent.
    pub(crate) counts: [Counts; 2],
}

impl<'a> Ended<'a> {
    /// The end that `meter` has been told.
    pub(crate) fn of(meter: &SessionMeter, reason: &'a str, counts: [Counts; 2]) -> Self {
        let (code, cause, initiator, lasted) = meter.end();
        Self {
            code,
            cause: cause.label(),
            initiator: initiator.label(),
            reason,
            lasted,
            counts,
        }
    }
}

impl AccessLog {
    /// Writes the line of a session that has ended.
    pub(crate) fn closed(&self, session: &Handle, ended: &Ended<'_>) {
        // One request, one line: in the combined format that is written when the session begins.
        if self.format == AccessLogFormat::Combined {
            return;
        }
        let [(msgs_in, bytes_in), (msgs_out, bytes_out)] = ended.counts;
        self.line("ws.close", |line| {
            line.word("conn", session.id.connection())
                .word("session", session.id)
                .label("route", session.facts.route())
                .seconds("duration_s", ended.lasted)
                .number("code", ended.code.into())
                .text("reason", ended.reason.as_bytes())
                .label("initiator", ended.initiator)
                .label("cause", ended.cause)
                .number("msgs_in", msgs_in)
                .number("msgs_out", msgs_out)
                .number("bytes_in", bytes_in)
                .number("bytes_out", bytes_out);
        });
    }

    /// Writes a line for each session whose turn has come in this second or, up to a period back,
    /// since `last`, and on which something has passed since its turn before. Turns go by places in
    /// the registry, so that as many come in one second as in another, and nobody is woken.
    pub(crate) fn stats(&self, sessions: &Registry, clock: &Clock, last: u32) {
        let Some(period) = self
            .stats
            .filter(|_| self.format != AccessLogFormat::Combined)
        else {
            return;
        };
        let now = clock.now();
        for second in now.saturating_sub(period).max(last)..now {
            let mut place = Some(((second + 1) % period) as usize);
            while let Some(from) = place {
                let (handles, next) = sessions.turn(from, period as usize);
                for session in handles {
                    self.stat(&session, clock, period);
                }
                place = next;
            }
        }
    }

    fn stat(&self, session: &Handle, clock: &Clock, period: u32) {
        let (age, idle) = session.ages(clock);
        let [(msgs_in, bytes_in), (msgs_out, bytes_out)] = session.counts();
        // Something may have passed in the second of the line before, behind it.
        if idle > period || bytes_in == 0 && bytes_out == 0 && msgs_in == 0 && msgs_out == 0 {
            return;
        }
        // The clock has moved on just now: what was within the second before is no second ago.
        let (age, idle) = (age.saturating_sub(1), idle.saturating_sub(1));
        self.line("ws.stats", |line| {
            line.word("conn", session.id.connection())
                .word("session", session.id)
                .label("route", session.facts.route())
                .seconds("duration_s", Duration::from_secs(age.into()))
                .seconds("idle_s", Duration::from_secs(idle.into()))
                .number("msgs_in", msgs_in)
                .number("msgs_out", msgs_out)
                .number("bytes_in", bytes_in)
                .number("bytes_out", bytes_out);
        });
    }
}
