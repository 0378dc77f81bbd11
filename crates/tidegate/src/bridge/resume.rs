//! Clients that come back: what `welcome` tells them to come back with, and `hello` when they do.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::Caller;
use super::members::Members;
use super::session::Session;
use crate::push::resume::Asked;

/// What a client says of the session that it comes back to.
#[derive(Deserialize)]
struct Resume {
    session: String,
    token: String,
    #[serde(default)]
    seq: u64,
}

/// Nothing in it is longer.
const LONGEST: usize = 1024;

/// The `resume` of a `hello`, where it has one; what it means is not said yet.
pub(super) fn asked<'m>(members: &'m Members<'_>) -> Option<&'m RawValue> {
    let resume = members.value("resume")?;
    (resume.get() != "null").then_some(resume)
}

impl Caller {
    /// What a session can be resumed with, where it can; `resumed`: whether nothing is lost of the one
    /// that is resumed in it.
    pub(super) fn resumable(&self, resumed: Option<bool>) -> Option<Value> {
        let mailbox = self.recipient.mailbox();
        let token = mailbox.new_token()?;
        Some(json!({
            "token": token,
            "ttl": self.bridge.plan.resume.unwrap_or_default().as_secs(),
            "recovered": resumed == Some(true),
            "continued": resumed.is_some(),
            "seq": mailbox.seq(),
            "epoch": self.recipient.epoch(),
        }))
    }
}

impl Session<'_> {
    /// Goes on with the session that the client comes back to, if it may; see [`Caller::resumable`].
    fn resume(&mut self, asked: &RawValue) -> Option<bool> {
        let asked = Some(asked.get()).filter(|text| text.len() <= LONGEST);
        let resume: Option<Resume> = asked.and_then(|text| serde_json::from_str(text).ok());
        let resume = resume.unwrap_or_else(Resume::of_nobody);
        let resumed = self.caller.recipient.resume(&Asked {
            session: &resume.session,
            token: &resume.token,
            seq: resume.seq,
        });
        self.post.mailbox = self.caller.recipient.mailbox();
        resumed
    }

    /// The `welcome` of a session whose client has said who it is, or comes back.
    pub(super) fn welcome(&mut self, members: &Members<'_>) -> String {
        let resumed = asked(members).and_then(|asked| self.resume(asked));
        self.caller.welcome(self.socket.id(), &self.who, resumed)
    }
}

impl Resume {
    /// What cannot be read resumes nothing.
    const fn of_nobody() -> Self {
        Self {
            session: String::new(),
            token: String::new(),
            seq: 0,
        }
    }
}
