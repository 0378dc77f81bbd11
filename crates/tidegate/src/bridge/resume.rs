//! Clients that come back: what `welcome` tells them to come back with, and `hello` when they do.
//!
//! Whoever shows what its session left on this node goes on with that. Where there is nothing of it, a
//! cursor says what its user has had last, wherever that was, and the bus what came behind.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::call::Caller;
use super::members::Members;
use super::session::{Over, Session};
use super::token::Who;
use crate::bus::{Bounds, Payload, Position, Replay};
use crate::metrics::Resumed;
use crate::push::parcel::Parcel;
use crate::push::resume::Asked;

/// What a client says of the session that it comes back to.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Resume {
    session: String,
    token: String,
    seq: u64,
    cursor: Option<String>,
}

/// Nothing in it is longer.
const LONGEST: usize = 1024;
/// How long the bus may take to say what was missed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a session goes on.
#[derive(Debug)]
pub(super) enum CameBack {
    /// It has just begun.
    Anew,
    /// As another one, with what was left for it; whether nothing is lost, and what its user had last.
    Continued(bool, Option<Position>),
    /// It has just begun, and all comes again that its user has missed behind that.
    Replayed(Position),
}

/// What a client has missed, while that is asked for; `None`: that cannot be said. In a thin box, because
/// few sessions ever have one.
pub(super) type Replaying<'a> = Box<Pin<Box<dyn Future<Output = Option<Missed>> + Send + 'a>>>;

/// What a client has missed.
#[derive(Debug)]
pub(super) struct Missed {
    after: Position,
    parcels: Vec<Arc<Parcel>>,
    /// Where the last of it stands.
    end: Position,
}

/// The `resume` of a `hello`, where it has one; what it means is not said yet.
pub(super) fn asked<'m>(members: &'m Members<'_>) -> Option<&'m RawValue> {
    let resume = members.value("resume")?;
    (resume.get() != "null").then_some(resume)
}

impl Caller {
    /// What a session can be resumed with, where it can.
    pub(super) fn resumable(&self, who: &Who, came: &CameBack) -> Option<Value> {
        let mailbox = self.recipient.mailbox();
        let token = mailbox.new_token()?;
        let mut resume = json!({
            "token": token,
            "ttl": self.bridge.plan.resume.unwrap_or_default().as_secs(),
            "recovered": matches!(came, CameBack::Continued(true, _) | CameBack::Replayed(_)),
            "continued": matches!(came, CameBack::Continued(..)),
            "seq": mailbox.seq(),
            "epoch": self.recipient.epoch(),
        });
        let place = match came {
            CameBack::Anew => who.user().and_then(|user| self.place_now(user)),
            // What was left may not have come to it yet.
            CameBack::Continued(_, place) => place.clone(),
            CameBack::Replayed(after) => Some(after.clone()),
        };
        let cursors = self.bridge.cursors.as_ref();
        if let (Some(place), Some(user), Some(cursors)) = (place, who.user(), cursors)
            && let Some(cursor) = cursors.write(user, &place)
        {
            resume["cursor"] = cursor.into();
        }
        Some(resume)
    }

    /// Behind which all comes to the sessions of this user that are here now.
    fn place_now(&self, user: &str) -> Option<Position> {
        let teller = self.worker.directory().teller();
        let end = teller.bus().end(&teller.topics().push, user)?;
        self.worker.push().routed.up_to(end)
    }

    /// What that cursor of this user stands for, if it is one.
    fn read(&self, who: &Who, cursor: Option<&str>) -> Option<Position> {
        let cursors = self.bridge.cursors.as_ref()?;
        cursors.read(who.user()?, cursor?)
    }

    /// Asks what `user` has missed behind `after`. Dropped before it is ready, nothing has happened.
    async fn missed(&self, user: Box<str>, after: Position) -> Option<Missed> {
        let teller = self.worker.directory().teller();
        let plan = &self.bridge.plan.replay;
        let most = Bounds {
            events: plan.messages,
            bytes: usize::try_from(plan.bytes).unwrap_or(usize::MAX),
        };
        let bus = teller.bus();
        let replay = bus.replay(&teller.topics().push, &user, &after, most);
        let missed = match timeout(PATIENCE, replay).await {
            Ok(Ok(replay)) => Missed::of(&replay, &user, (after, most)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "what a client has missed cannot be said");
                None
            }
            Err(_) => {
                tracing::warn!("what a client has missed is not said in time");
                None
            }
        };
        self.recipient.note(match &missed {
            Some(_) => Resumed::Replayed,
            None => Resumed::Unknown,
        });
        missed
    }
}

impl Missed {
    /// `None`: that may not be all, or is too much.
    fn of(replay: &Replay, user: &str, (after, most): (Position, Bounds)) -> Option<Self> {
        let bytes = replay.events.iter().map(|event| event.size());
        let is_within = replay.events.len() <= most.events && bytes.sum::<usize>() <= most.bytes;
        if !replay.is_complete || !is_within {
            return None;
        }
        let end = replay.events.last();
        let end = end.map_or_else(|| Some(after.clone()), |last| last.position.clone())?;
        // What its publisher had to ask for again may stand there twice.
        let mut known = HashSet::new();
        let events = replay.events.iter();
        let parcels =
            events
                .filter(|event| known.insert(event.id))
                .filter_map(|event| match &event.payload {
                    Payload::Push(push) => Some(Arc::new(Parcel::again(event, push, user))),
                    _ => None,
                });
        Some(Self {
            parcels: parcels.collect(),
            after,
            end,
        })
    }
}

impl Session<'_> {
    /// Goes on with what the client comes back to, if it may. It is told now, or once it is known what
    /// it has missed.
    pub(super) async fn come_back(&mut self, asked: &RawValue) -> Result<(), Over> {
        if self.post.replaying.take().is_some() {
            // Each has an answer, and this one counts no more.
            self.welcome(&CameBack::Anew).await?;
        }
        let caller = self.caller;
        let resume = Resume::parse(asked);
        let resumed = caller.recipient.resume(&Asked {
            session: &resume.session,
            token: &resume.token,
            seq: resume.seq,
        });
        self.post.mailbox = caller.recipient.mailbox();
        let place = caller.read(&self.who, resume.cursor.as_deref());
        if let Some(has_all) = resumed {
            let all_or_not = [Resumed::Lost, Resumed::Recovered];
            caller.recipient.note(all_or_not[usize::from(has_all)]);
            // It may go on by another token than it was a member by.
            let left = caller.judge_rooms(&self.who);
            self.welcome(&CameBack::Continued(has_all, place)).await?;
            return self.tell_left(&left).await;
        }
        if let (Some(after), Some(user)) = (place, self.who.user()) {
            let missed = caller.missed(user.into(), after);
            self.post.replaying = Some(Box::new(Box::pin(missed)));
            return Ok(());
        }
        caller.recipient.note(Resumed::Refused);
        self.welcome(&CameBack::Anew).await
    }

    /// It is known what the client has missed.
    pub(super) async fn replay(&mut self, missed: Option<Missed>) -> Result<(), Over> {
        let Some(Missed {
            after,
            parcels,
            end,
        }) = missed
        else {
            return self.welcome(&CameBack::Anew).await;
        };
        self.post.mailbox.replay(&parcels, end);
        self.welcome(&CameBack::Replayed(after)).await
    }

    /// Tells the client how the session goes on.
    pub(super) async fn welcome(&mut self, came: &CameBack) -> Result<(), Over> {
        let welcome = self.caller.welcome(self.socket.id(), &self.who, came);
        self.send(welcome).await
    }
}

impl Resume {
    /// What cannot be read resumes nothing.
    fn parse(asked: &RawValue) -> Self {
        let asked = Some(asked.get()).filter(|text| text.len() <= LONGEST);
        let resume = asked.and_then(|text| serde_json::from_str(text).ok());
        resume.unwrap_or_default()
    }
}
