//! Clients that are told to go before their session has to end, so that nothing is lost with it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::call::Caller;
use super::session::{Over, Session};
use crate::session::Cause;
use crate::session::clock::notice_of_age;

/// How long what a client sent before it was told is waited for, at most.
const LINGERS: Duration = Duration::from_secs(1);

/// When the session ends, and over how long clients are to come back.
struct Terms {
    deadline: Duration,
    window: Duration,
}

impl Caller {
    fn terms(&self, cause: Cause) -> Terms {
        if cause == Cause::Drain {
            let (window, deadline) = self.worker.drain.rest().unwrap_or_default();
            return Terms { deadline, window };
        }
        let age = self.bridge.plan.websocket.max_age;
        let deadline = age.map_or(Duration::ZERO, notice_of_age);
        Terms {
            deadline,
            window: deadline / 2,
        }
    }
}

impl Session<'_> {
    /// Tells the client that the session has to end, and until when.
    pub(super) async fn told_to_go(&mut self, cause: Cause) -> Result<(), Over> {
        let Terms { deadline, window } = self.caller.terms(cause);
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
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
