//! Frames with an `op`: what a client of version 1 says besides its calls.

use std::sync::Arc;

use super::answer::string;
use super::call::Caller;
use super::envelope::Id;
use super::members::Members;
use super::problem::Problem;
use super::rooms;
use super::session::{Open, Over, Session};
use super::token;

impl Session<'_> {
    pub(super) async fn op(&mut self, name: &str, members: &Members<'_>) -> Result<(), Over> {
        match name {
            "hello" => self.hello(members).await,
            "auth" => self.auth(members).await,
            _ if self.hello_by().is_some() => self.tell(&token::unauthenticated(), members).await,
            "cancel" => {
                if let Some(open) = self.addressed(members)
                    && let Some(cancel) = open.cancel.take()
                {
                    let _ = cancel.send(Problem::cancelled());
                }
                Ok(())
            }
            "credit" => {
                let bytes = members.value("n");
                let bytes = bytes.and_then(|value| serde_json::from_str(value.get()).ok());
                match (bytes, self.addressed(members)) {
                    (Some(bytes), Some(open)) => open.window.grant(bytes),
                    (None, _) => {
                        let problem = Problem::malformed("credit has n, a number of bytes");
                        return self.malformed(problem).await;
                    }
                    // Its answer is over.
                    (Some(_), None) => {}
                }
                Ok(())
            }
            "ping" => {
                let mut pong = b"{\"op\":\"pong\"".to_vec();
                if let Some(time) = members.value("t").filter(|time| time.get().len() <= 32) {
                    pong.extend_from_slice(b",\"t\":");
                    pong.extend_from_slice(time.get().as_bytes());
                }
                pong.push(b'}');
                self.caller.life.set_sign(true);
                let sent = self.send(String::from_utf8(pong).unwrap_or_default());
                let sent = sent.await;
                self.caller.life.set_sign(false);
                sent
            }
            "ack" => match Caller::ack(&self.post.mailbox, members) {
                Ok(()) => Ok(()),
                Err(problem) => self.malformed(problem).await,
            },
            op if rooms::is_asked(op) => self.in_room(op, members).await,
            // Nothing waits for it; it is told only so that nobody takes it for unknown.
            "pong" => Ok(()),
            _ => {
                let mut detail = Vec::new();
                string(&name.chars().take(32).collect::<String>(), &mut detail);
                let detail = String::from_utf8(detail).unwrap_or_default();
                let problem = Problem::malformed(format!("unknown op {detail}"));
                self.tell(&problem, members).await
            }
        }
    }

    /// Does what is asked for in a room, and answers it.
    async fn in_room(&mut self, op: &str, members: &Members<'_>) -> Result<(), Over> {
        let id = members.value("id").map(Id::parse);
        let id = match id.unwrap_or_else(|| Err(Problem::malformed(format!("{op} has an id")))) {
            Ok(id) => id,
            Err(problem) => return self.malformed(problem).await,
        };
        let told = match self.is_open(&id) {
            true => Err(Problem::duplicate_id("a request with this id is under way")),
            false => match self.who.check() {
                Ok(()) => {
                    let whose = (&self.who, self.socket.id());
                    self.caller.in_room(op, members, whose).await
                }
                Err(problem) => Err(problem),
            },
        };
        self.send(rooms::answer(&id, told)).await
    }

    /// Tells that the session is in these rooms no more.
    pub(super) async fn tell_left(&mut self, rooms: &[Arc<str>]) -> Result<(), Over> {
        for room in rooms {
            self.send(rooms::removed(room)).await?;
        }
        Ok(())
    }

    pub(super) fn addressed(&mut self, members: &Members<'_>) -> Option<&mut Open> {
        let id = members
            .value("id")
            .and_then(|value| Id::parse(value).ok())?;
        self.underway.as_mut()?.open.get_mut(&id)
    }
}
