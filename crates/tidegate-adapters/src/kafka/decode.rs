//! What records say, and where they stand in the histories of users.

use apache_avro::Schema;
use futures_util::FutureExt as _;
use rdkafka::Message;
use tidegate::bus::{Event, Payload, PushClass, PushTarget, Standing};

use super::avro::{Kind, Record};
use super::registry::{Asked, NoSchema};
use super::{Shared, framing, record};

impl Shared {
    /// What a record says; `None` while its schema is not known.
    pub(super) fn decode(&self, message: &impl Message) -> Result<Option<Payload>, String> {
        let kind = record::kind_of(message.topic(), &self.topics);
        let value = message.payload().ok_or("it has no value")?;
        let Some((id, datum)) = framing::split(value) else {
            return record::from_json(message, kind, value).map(Some);
        };
        if kind == Kind::Text {
            return Err("it is Avro, and this topic's records are JSON".to_owned());
        }
        let Some(registry) = &self.registry else {
            return Err("it is Avro, and there is no registry of schemas".to_owned());
        };
        match registry.schema(id).now_or_never() {
            None | Some(Err(NoSchema::Away(_))) => Ok(None),
            Some(Err(NoSchema::Missing(why))) => Err(format!("its schema {id}: {why}")),
            Some(Ok(schema)) => {
                let record = Record::read(kind, &schema, datum)?;
                record::from_avro(message, record).map(Some)
            }
        }
    }

    /// The schema that is asked for so that a record can be read.
    pub(super) fn schema_of(&self, message: &impl Message) -> Option<Asked<Schema>> {
        let (id, _datum) = framing::split(message.payload()?)?;
        Some(self.registry.as_ref()?.schema(id))
    }

    /// How a record stands to copies. What is for several users may have some, also where it does not say
    /// where they are.
    fn standing(&self, message: &impl Message, payload: &Payload) -> Standing {
        let Payload::Push(push) = payload else {
            return Standing::Alone;
        };
        if record::is_copy(message, push) {
            return Standing::Copy;
        }
        if push.targets.len() < 2 || push.class != PushClass::Resumable {
            return Standing::Alone;
        }
        let places = record::copies(message).unwrap_or_default();
        let history = self.history();
        let users = push.kept_for().enumerate();
        let others = users.filter(|(number, _)| {
            let place = places.get(*number);
            !place.is_some_and(|place| history.comes(message.topic(), *place))
        });
        Standing::Copied(others.map(|(_, user)| user.into()).collect())
    }

    /// The event around what a record says, and where it stands in its user's history.
    pub(super) fn event(&self, message: &impl Message, payload: Payload) -> Event {
        let mut event = record::event(message, self.topic(message.topic()), payload);
        event.standing = self.standing(message, &event.payload);
        if let (Payload::Push(push), Some(key)) = (&mut event.payload, message.key()) {
            let user = match &*push.targets {
                [PushTarget::User(user)] if push.class == PushClass::Resumable => Some(user),
                _ => None,
            };
            let Some(user) = user else { return event };
            if record::key_text(key) == Some(user) {
                let topic = message.topic();
                let place = (message.partition(), message.offset());
                let time = message.timestamp().to_millis().unwrap_or(i64::MAX);
                // Where ours are, wherever a key that is written in another way would be.
                let ours = self.key_bytes(topic, user);
                let key = ours.as_deref().unwrap_or(key);
                event.position = self.history().place(topic, (user, key), place, time);
            } else {
                // Whose key is no user's, stands in no user's order, and cannot be asked for.
                push.class = PushClass::Live;
            }
        }
        event
    }
}
