//! The one consumer: every record of every topic that somebody here subscribes to, from the end on that the
//! topic had when the first of them did.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apache_avro::Schema;
use futures_util::FutureExt as _;
use rdkafka::Message;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::Timeout;
use tidegate::bus::{Event, Payload, PushClass, PushTarget, Standing};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::avro::{Kind, Record};
use super::context::Context;
use super::history::SKEW;
use super::lookup::{self, Failure, Found, Known};
use super::positions::Positions;
use super::registry::{Asked, NoSchema};
use super::troubles::About;
use super::{framing, record};

/// How soon what could not be passed on is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// How soon brokers that did not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a record came to.
enum Outcome {
    /// It is where it belongs.
    Done,
    /// Nobody has room, or its schema is not known yet.
    Wait,
}

/// The consumer's task.
pub(super) struct Reading {
    shared: Arc<Shared>,
    consumer: Arc<StreamConsumer<Context>>,
    positions: Positions,
    /// Topics that are wanted and were not there when we looked, with the time.
    absent: HashMap<Arc<str>, i64>,
    /// Topics of which it is not known where to begin.
    wanted: Vec<Arc<str>>,
    looking: Option<JoinHandle<Looked>>,
    /// Something that comes next is not there any more.
    is_lost: bool,
    /// What the brokers call each topic, with the cluster's name.
    identities: HashMap<Arc<str>, Vec<u8>>,
}

/// What was found of each topic: what it is, and its partitions.
type Looked = Vec<(Arc<str>, Option<Vec<u8>>, Result<Found, Failure>)>;

impl Reading {
    pub(super) fn new(shared: Arc<Shared>, consumer: StreamConsumer<Context>) -> Self {
        Self {
            shared,
            consumer: Arc::new(consumer),
            positions: Positions::default(),
            absent: HashMap::new(),
            wanted: Vec::new(),
            looking: None,
            is_lost: false,
            identities: HashMap::new(),
        }
    }

    /// Reads until the end; `wishes` are topics that somebody subscribes to.
    pub(super) async fn run(
        mut self,
        mut wishes: mpsc::Receiver<Arc<str>>,
        end: CancellationToken,
        refresh: Duration,
    ) {
        // None begins anew with each record: whoever waits for one has its turn however much comes.
        let [mut refresh, mut ask, mut again] = [refresh, ASK_AGAIN, AGAIN].map(|period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let consumer = Arc::clone(&self.consumer);
        loop {
            let is_stuck = !self.positions.stuck().is_empty();
            let may_look = self.looking.is_none();
            let is_away = self.shared.troubles.has(&About::Brokers);
            let must_ask =
                may_look && (is_away || !(self.wanted.is_empty() && self.absent.is_empty()));
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                Some(topic) = wishes.recv() => self.want(topic),
                found = looked(&mut self.looking) => self.found(found),
                _ = refresh.tick(), if may_look => self.look(true),
                _ = ask.tick(), if must_ask || self.is_lost => {
                    if self.is_lost {
                        self.find_lost();
                    }
                    if must_ask {
                        self.look(is_away);
                    }
                }
                _ = again.tick(), if is_stuck => self.try_held().await,
                received = consumer.recv() => {
                    match received {
                        Ok(message) => self.arrived(&message).await,
                        Err(error) => self.failed(&error),
                    }
                    // Whatever waits in librdkafka is ready at once.
                    yield_now().await;
                }
            }
        }
    }

    /// Finds out where to begin with a topic.
    fn want(&mut self, topic: Arc<str>) {
        if !self.positions.knows(&topic) && !self.wanted.contains(&topic) {
            self.wanted.push(topic);
            if self.looking.is_none() {
                self.look(false);
            }
        }
    }

    /// Looks for topics that are wanted, and with `all` for new partitions of those that are read.
    fn look(&mut self, all: bool) {
        let gone: Vec<Arc<str>> = self.positions.topics().cloned().collect();
        let gone = gone
            .into_iter()
            .filter(|topic| !self.shared.is_wanted(topic));
        for topic in gone.collect::<Vec<_>>() {
            self.absent.remove(&topic);
            if self.positions.remove(&topic) {
                self.shared.forget(&topic);
                self.assign();
            }
        }
        if all {
            self.shared.learn_keys();
        }
        let shared = &self.shared;
        self.wanted.retain(|topic| {
            let is_wanted = shared.is_wanted(topic);
            if !is_wanted {
                shared.forget(topic);
            }
            is_wanted
        });
        let mut questions: Vec<(Arc<str>, Known)> = Vec::new();
        for topic in &self.wanted {
            questions.push((Arc::clone(topic), Known::Nothing));
        }
        for topic in self.positions.topics() {
            if let Some(since) = self.absent.get(topic) {
                questions.push((Arc::clone(topic), Known::Absent(*since)));
            } else if all {
                let known = self.positions.of(topic).map(|(number, _)| number);
                let known = Known::Partitions(known.collect());
                questions.push((Arc::clone(topic), known));
            }
        }
        if questions.is_empty() {
            return;
        }
        // What is not fetched has no end that librdkafka knows of.
        let stuck = all.then(|| self.positions.stuck());
        let (consumer, shared) = (Arc::clone(&self.consumer), Arc::clone(&self.shared));
        self.looking = Some(spawn_blocking(move || {
            let mut found = Vec::with_capacity(questions.len());
            for (topic, known) in questions {
                let answer = lookup::look(&consumer, &topic, &known);
                let is_over = matches!(answer, Err(Failure::Brokers(_)));
                let identity = match answer {
                    Ok(Some(_)) => shared.identity(&consumer, &topic),
                    _ => None,
                };
                found.push((topic, identity, answer));
                if is_over {
                    return found; // the others would fail as well, one after the other
                }
            }
            if let Some(stuck) = stuck {
                shared.context.saw(lookup::ends(&consumer, stuck));
            }
            found
        }));
    }

    fn found(&mut self, found: Looked) {
        let mut is_changed = false;
        for (topic, identity, found) in found {
            if !matches!(found, Err(Failure::Brokers(_))) {
                self.shared.context.has_answered();
            }
            if let Some(identity) = identity
                && self.is_another(&topic, identity)
            {
                is_changed = true;
                continue;
            }
            match found {
                Ok(Some(partitions)) => {
                    self.shared.is_well(&topic);
                    let count = partitions.len();
                    if self.positions.add(&topic, partitions) {
                        is_changed = true;
                        tracing::info!(topic = &*topic, partitions = count, "reading");
                    }
                    self.absent.remove(&topic);
                }
                Ok(None) => {
                    self.shared.is_missing(&topic);
                    if self.positions.of(&topic).next().is_none() {
                        self.positions.add(&topic, []);
                        self.absent
                            .entry(Arc::clone(&topic))
                            .or_insert_with(skewed_now);
                    }
                }
                Err(Failure::Brokers(error)) => {
                    self.shared.context.is_away(&error.to_string());
                    continue;
                }
                Err(Failure::Topic(error)) => {
                    self.shared.is_refused(&topic, &error);
                    continue;
                }
            }
            self.wanted.retain(|one| *one != topic);
        }
        if is_changed {
            self.assign();
        }
        for topic in self.positions.topics() {
            let partitions = self.positions.of(topic);
            let partitions = partitions.map(|(number, partition)| (number, partition.next));
            let identity = self.identities.get(topic).map(|id| &id[..]);
            self.shared.history().begin(topic, identity, partitions);
            self.shared.is_read(topic);
        }
    }

    /// Whether a topic of that name is not the one that was read. Then it is read as one that was not there.
    fn is_another(&mut self, topic: &Arc<str>, identity: Vec<u8>) -> bool {
        let known = self.identities.entry(Arc::clone(topic)).or_default();
        let before = std::mem::replace(known, identity);
        if before.is_empty() || before == *known {
            return false;
        }
        tracing::error!(topic = &**topic, "the topic was made anew");
        self.positions.remove(topic);
        self.shared.history().forget(topic);
        self.positions.add(topic, []);
        self.absent.insert(Arc::clone(topic), skewed_now());
        true
    }

    /// Has everything read from where it is now.
    fn assign(&self) {
        if let Err(error) = self.consumer.assign(&self.positions.list()) {
            tracing::error!(%error, "the partitions cannot be read");
        }
        for (topic, number) in self.positions.stuck() {
            self.pause(&topic, number, true);
        }
    }

    fn pause(&self, topic: &str, number: i32, pauses: bool) {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, number);
        let done = match pauses {
            true => self.consumer.pause(&list),
            false => self.consumer.resume(&list),
        };
        if let Err(error) = done {
            tracing::warn!(%error, topic, number, "a partition is neither held up nor read on");
        }
    }

    async fn arrived(&mut self, message: &BorrowedMessage<'_>) {
        self.consumer.context().is_back();
        let (topic, number) = (message.topic(), message.partition());
        let Some(partition) = self.positions.get(topic, number) else {
            return;
        };
        // It came before the partition was assigned anew.
        if message.offset() < partition.next {
            return;
        }
        partition.next = message.offset() + 1;
        if !partition.held.is_empty() {
            partition.held.push_back(message.detach());
            return;
        }
        if let Outcome::Wait = self.pass_on(message).await {
            if let Some(partition) = self.positions.get(topic, number) {
                partition.held.push_back(message.detach());
            }
            self.pause(topic, number, true);
        }
    }

    /// Tries what is held once more, partition by partition.
    async fn try_held(&mut self) {
        for (topic, number) in self.positions.stuck() {
            while let Some(partition) = self.positions.get(&topic, number) {
                let Some(message) = partition.held.pop_front() else {
                    self.pause(&topic, number, false);
                    break;
                };
                if let Outcome::Wait = self.pass_on(&message).await {
                    if let Some(partition) = self.positions.get(&topic, number) {
                        partition.held.push_front(message);
                    }
                    break;
                }
            }
        }
    }

    /// Leaves a record with all who subscribe, if they all have room.
    async fn pass_on(&self, message: &impl Message) -> Outcome {
        let (topic, number, offset) = (message.topic(), message.partition(), message.offset());
        let payload = match self.shared.decode(message) {
            Ok(Some(payload)) => payload,
            Ok(None) => return Outcome::Wait,
            Err(what) => {
                self.bury(message, &what);
                self.shared.history().given(topic, number, offset, None);
                return Outcome::Done;
            }
        };
        let event = Arc::new(self.shared.event(message, payload));
        // Whoever is given it finds it in the history, and nobody before.
        let mut history = self.shared.history();
        if let Err(_full) = self.shared.local.relay(&event) {
            return Outcome::Wait;
        }
        let kept = event.position.is_some().then_some(event);
        history.given(topic, number, offset, kept);
        drop(history);
        Outcome::Done
    }

    /// Counts what is no event, says so, and leaves it where somebody may look at it.
    fn bury(&self, message: &impl Message, what: &str) {
        let (topic, number, offset) = (message.topic(), message.partition(), message.offset());
        self.shared.count_undecodable(topic);
        tracing::warn!(
            topic,
            partition = number,
            offset,
            what,
            "a record is no event"
        );
        if let Some(letters) = &self.shared.dead_letters {
            letters.leave(message, what);
        }
    }

    /// An error in place of a record.
    fn failed(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
            // Which partition it is, it does not say.
            tracing::warn!(%error, "records that were not read yet are gone");
            self.is_lost = true;
        } else if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            // It is said once for each partition, and not of which topic.
            tracing::error!(%error, "the brokers do not let us read what is subscribed to");
        } else {
            tracing::debug!(%error, "the consumer");
        }
    }

    /// Looks which partitions do not have any more what comes next, and goes on where they begin.
    fn find_lost(&mut self) {
        let all = self.positions.topics().flat_map(|topic| {
            let partitions = self.positions.of(topic);
            partitions.map(move |(number, partition)| (Arc::clone(topic), number, partition.next))
        });
        let all: Vec<_> = all.collect();
        for (topic, number, next) in all {
            let ends = self
                .consumer
                .fetch_watermarks(&topic, number, Timeout::After(ASK_AGAIN));
            let Ok((low, high)) = ends else {
                return; // it is asked again
            };
            if (low..=high).contains(&next) {
                continue;
            }
            // Of a topic that was made anew nothing has been read yet.
            tracing::error!(
                topic = &*topic,
                partition = number,
                from = next,
                to = low,
                "a gap"
            );
            if let Some(partition) = self.positions.get(&topic, number) {
                partition.next = low;
            }
            self.shared.history().jump(&topic, number, low);
        }
        self.is_lost = false;
        self.assign();
    }
}

/// What was found, once somebody looked.
async fn looked(looking: &mut Option<JoinHandle<Looked>>) -> Looked {
    let Some(handle) = looking else {
        return std::future::pending().await;
    };
    let found = Pin::new(handle).await;
    *looking = None;
    found.unwrap_or_default()
}

fn skewed_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_millis());
    // A topic that was not there is read from before we looked.
    now.unwrap_or_default().saturating_sub(SKEW)
}

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
