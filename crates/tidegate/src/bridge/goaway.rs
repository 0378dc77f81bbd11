//! Clients that are told to go before their session has to end, so that nothing is lost with it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::call::Caller;
use super::post::Cut;
use super::problem::Problem;
use super::session::{Over, Session, Underway};
use crate::session::Cause;
use crate::session::clock::notice_of_age;

/// How long what a client sent before it was told is waited for, at most.
const LINGERS: Duration = Duration::from_secs(1);

/// How long a call gets longer than its session, so that it ends by its own time first.
const LAST: Duration = Duration::from_secs(1);

/// When the session ends, over how long clients are to come back, and how long calls may take.
struct Terms {
    deadline: Duration,
    window: Duration,
    calls: Duration,
}

impl Caller {
    fn terms(&self, cause: Cause) -> Terms {
        if cause == Cause::Drain {
            let drain = &self.worker.drain;
            let (window, deadline) = drain.rest().unwrap_or_default();
            return Terms {
                deadline,
                window,
                calls: deadline.saturating_sub(drain.last_words() * 2),
            };
        }
        let age = self.bridge.plan.websocket.max_age;
        let deadline = age.map_or(Duration::ZERO, notice_of_age);
        let calls = self.bridge.plan.timeout.saturating_add(LAST);
        Terms {
            deadline,
            window: deadline / 2,
            calls: deadline.saturating_add(calls),
        }
    }
}

impl Session<'_> {
    /// Tells the client that the session has to end, and until when. One of the old protocol would not
    /// understand that; its calls have as long.
    pub(super) async fn told_to_go(&mut self, cause: Cause) -> Result<(), Over> {
        let terms = self.caller.terms(cause);
        let Terms {
            deadline, window, ..
        } = terms;
        let cut = Instant::now().checked_add(terms.calls);
        self.post.cut = cut.map_or(Cut::Never, Cut::At);
        if !self.caller.version_1 {
            return Ok(());
        }
        if cause == Cause::Drain {
            self.handle.set_busy(true);
            self.post.lingers = Some(Instant::now() + LINGERS.min(deadline / 4));
        }
        let goaway = json!({
            "op": "goaway",
            "cause": cause.label(),
            "deadline": milliseconds(deadline),
            "reconnect": { "after": [0, milliseconds(window)] },
        });
        self.send(goaway.to_string()).await
    }

    /// Calls have no more time: each that is under way has its last frame now.
    pub(super) fn cut(&mut self) {
        self.post.cut = Cut::Done;
        if let Some(underway) = &mut self.underway {
            underway.cut();
        }
    }

    /// Whether calls still have time.
    pub(super) fn check_time(&self) -> Result<(), Problem> {
        match self.post.cut {
            Cut::Done => Err(gone()),
            Cut::Never | Cut::At(_) => Ok(()),
        }
    }
}

impl Underway<'_> {
    fn cut(&mut self) {
        for open in self.open.values_mut() {
            if let Some(cancel) = open.cancel.take() {
                // It may be over.
                let _ = cancel.send(gone());
            }
        }
        if let Some(nameless) = &self.nameless {
            nameless.cancel();
        }
    }
}

/// A call that its session did not wait for.
pub(super) fn gone() -> Problem {
    Problem::session_ended("the session ended before the answer was there")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
