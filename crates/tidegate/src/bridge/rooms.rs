//! Rooms, as a session of version 1 speaks of them: `sub`, `unsub` and `pub`, each with one answer.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::string;
use super::call::Caller;
use super::envelope::Id;
use super::members::{Members, text};
use super::problem::Problem;
use super::token::Who;
use crate::auth::{Principal, RoomAct, is_room};
use crate::bus::{BusError, Event, Payload, PushEvent, PushTarget};
use crate::push::keys::{Claim, Use};
use crate::push::rooms::{Since, Subscribing};

/// The most bytes of an event's name, and of a key.
const LONGEST_NAME: usize = 256;
/// The most bytes of what is told.
const LONGEST_DATA: usize = 1024 * 1024;

/// Whether it asks for something that has an answer.
pub(super) fn is_asked(op: &str) -> bool {
    matches!(op, "sub" | "unsub" | "pub")
}

/// The answer to one of these, with the id that it has.
pub(super) fn answer(id: &Id, told: Result<Value, Problem>) -> String {
    let mut out = b"{\"id\":".to_vec();
    id.write(&mut out);
    match told {
        Ok(body) => out.extend_from_slice(format!(",\"status\":200,\"body\":{body}").as_bytes()),
        Err(problem) => {
            let status = problem.status.as_u16();
            out.extend_from_slice(format!(",\"status\":{status},\"error\":").as_bytes());
            problem.write(None, &mut out);
            out.extend_from_slice(b",\"body\":null");
        }
    }
    out.push(b'}');
    // All of it came from strings.
    String::from_utf8(out).unwrap_or_default()
}

/// A session is no member of that room any more, and did not say so itself.
pub(super) fn removed(room: &str) -> String {
    let mut out = b"{\"op\":\"unsub\",\"room\":".to_vec();
    string(room, &mut out);
    out.extend_from_slice(b",\"error\":");
    let detail = "the token that the session goes on by does not grant this room";
    Problem::forbidden(detail).write(None, &mut out);
    out.push(b'}');
    // All of it came from strings.
    String::from_utf8(out).unwrap_or_default()
}

impl Caller {
    /// What works on this bridge, beside what does on all.
    pub(super) fn room_features(&self) -> impl Iterator<Item = &'static str> {
        let rules = &self.bridge.plan.rooms;
        let rooms = (!rules.is_empty()).then_some("rooms");
        let has_presence = rules.iter().any(|rule| rule.has_presence());
        rooms.into_iter().chain(has_presence.then_some("presence"))
    }

    /// Does what is asked for in a room.
    pub(super) async fn in_room(
        &self,
        op: &str,
        members: &Members<'_>,
        (who, session): (&Who, &str),
    ) -> Result<Value, Problem> {
        let room = members.value("room").and_then(text);
        let room = room.ok_or_else(|| Problem::malformed("room is missing, or no string"))?;
        if !is_room(&room) {
            let detail = "a room has a name of 1 to 128 bytes, without control characters";
            return Err(Problem::malformed(detail));
        }
        match op {
            "unsub" => Ok(json!({ "left": self.recipient.unsubscribe(&room) })),
            "pub" => self.publish(&room, members, (who, session)).await,
            _ => self.subscribe(&room, members, who),
        }
    }

    pub(super) fn may(&self, act: RoomAct, room: &str, user: Option<&Principal>) -> bool {
        let mut rules = self.bridge.plan.rooms.iter();
        rules.any(|rule| rule.grants(act, room, user))
    }

    /// Leaves the rooms in which `who` may not be any more; which these are.
    pub(super) fn judge_rooms(&self, who: &Who) -> Vec<Arc<str>> {
        let user = who.principal.as_deref();
        let judge = |room: &str| {
            let may = |act| self.may(act, room, user);
            may(RoomAct::Subscribe).then(|| may(RoomAct::See))
        };
        self.recipient.judge_rooms(&judge)
    }

    fn need(&self, act: RoomAct, room: &str, who: &Who) -> Result<(), Problem> {
        match self.may(act, room, who.principal.as_deref()) {
            true => Ok(()),
            false => Err(Problem::forbidden("that is not granted in this room")),
        }
    }

    fn subscribe(&self, room: &str, members: &Members<'_>, who: &Who) -> Result<Value, Problem> {
        self.need(RoomAct::Subscribe, room, who)?;
        let since = members.value("since").map(since).transpose()?;
        let user = who.principal.as_deref();
        let is_shown = self
            .bridge
            .plan
            .rooms
            .iter()
            .any(|rule| rule.shows(room, user));
        let wish = Subscribing {
            shown: user.filter(|_| is_shown).map(|user| user.identity()),
            sees: self.may(RoomAct::See, room, user),
            since,
        };
        let subscribed = self.recipient.subscribe(room, &wish).map_err(|most| {
            let detail = format!("a session is in {} rooms at most", most.0);
            Problem::too_many_rooms(detail)
        })?;
        Ok(json!({
            "epoch": subscribed.epoch.to_string(),
            "seq": subscribed.seq,
            "recovered": subscribed.recovered,
            "members": subscribed.members,
        }))
    }

    async fn publish(
        &self,
        room: &str,
        members: &Members<'_>,
        (who, session): (&Who, &str),
    ) -> Result<Value, Problem> {
        self.need(RoomAct::Publish, room, who)?;
        let event = name(members, "event")?;
        let event = event.ok_or_else(|| Problem::malformed("pub has event, a name"))?;
        let data = members.value("data").unwrap_or(RawValue::NULL);
        if data.get().len() > LONGEST_DATA {
            return Err(Problem::message_too_big("data is longer than 1 MiB"));
        }
        let user = who.principal.as_ref().map(|user| user.user());
        let claim = match name(members, "key")? {
            Some(key) => Some(self.claim(room, &key, user, session)?),
            None => None,
        };
        let claim = match claim {
            Some(Claimed::Before(answer)) => return Ok(answer),
            Some(Claimed::Now(claim)) => Some(claim),
            None => None,
        };
        let push = PushEvent {
            from: user.map(Box::from),
            ..PushEvent::new([PushTarget::Room(room.into())], event, data.to_owned())
        };
        let teller = self.worker.directory().teller();
        let topic = Arc::clone(&teller.topics().push);
        let event = Event::now(topic, Some(room.into()), Payload::Push(Box::new(push)));
        let told = json!({ "event_id": event.id.to_string() });
        teller.bus().publish(event).await.map_err(refused)?;
        if let Some(claim) = claim {
            claim.answered(&told.to_string().into());
        }
        Ok(told)
    }

    /// Uses a key, which is good for one push to one room by one user.
    fn claim(
        &self,
        room: &str,
        key: &str,
        user: Option<&str>,
        session: &str,
    ) -> Result<Claimed<'_>, Problem> {
        let path = match user {
            Some(user) => format!("user\n{user}\n{room}"),
            None => format!("session\n{session}\n{room}"),
        };
        match self.worker.push().published.claim(&path, key, b"") {
            Use::First(claim) => Ok(Claimed::Now(claim)),
            // It was written here.
            Use::Again(answer) => serde_json::from_str(&answer)
                .map(Claimed::Before)
                .map_err(|_other| Problem::internal("an answer is no JSON")),
            Use::UnderWay | Use::Other => {
                let detail = "a push with this key is under way";
                Err(Problem::key_in_use(detail).retry())
            }
        }
    }
}

/// What stands behind a key.
enum Claimed<'k> {
    Now(Claim<'k>),
    Before(Value),
}

/// A text of 1 to 256 bytes; `None`: there is none.
fn name(members: &Members<'_>, member: &'static str) -> Result<Option<Box<str>>, Problem> {
    let Some(value) = members.value(member) else {
        return Ok(None);
    };
    let name = text(value).filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
    let name = name.map(|name| Some(name.into()));
    name.ok_or_else(|| Problem::malformed(format!("{member} is a string of 1 to 256 bytes")))
}

fn since(value: &RawValue) -> Result<Since, Problem> {
    #[derive(Deserialize)]
    struct Written {
        epoch: String,
        seq: u64,
    }
    let written = serde_json::from_str(value.get());
    let Written { epoch, seq } = written
        .map_err(|_other| Problem::malformed("since has epoch, a string, and seq, a number"))?;
    Ok(Since {
        epoch: epoch.parse().ok(),
        seq,
    })
}

fn refused(error: BusError) -> Problem {
    let problem = match error {
        BusError::Full => Problem::bus_full("there is no room for more pushes"),
        _ => Problem::bus_unreachable("pushes cannot be passed on"),
    };
    problem.retry()
}
