//! The one consumer: every record of every topic that somebody here subscribes to, from the end on that the
//! topic had when the first of them did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientConfig, Message};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::context::Context;
use super::looking::{Looked, looked};
use super::lost::Measured;
use super::positions::Positions;
use super::troubles::About;
use super::watchdog::{ASKED_EACH, Ends, Watchdog};

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
    pub(super) shared: Arc<Shared>,
    pub(super) consumer: Arc<StreamConsumer<Context>>,
    config: ClientConfig,
    pub(super) positions: Positions,
    /// Topics that are wanted and were not there when we looked, with the time.
    pub(super) absent: HashMap<Arc<str>, i64>,
    /// Topics of which it is not known where to begin.
    pub(super) wanted: Vec<Arc<str>>,
    pub(super) looking: Option<JoinHandle<Looked>>,
    /// Something that comes next is not there any more.
    is_lost: bool,
    measuring: Option<JoinHandle<Option<Measured>>>,
    pub(super) watchdog: Watchdog,
    /// This client has to be replaced.
    pub(super) must_renew: bool,
    asking: Option<JoinHandle<Option<Ends>>>,
    /// What the brokers call each topic, with the cluster's name.
    pub(super) identities: HashMap<Arc<str>, Vec<u8>>,
}

impl Reading {
    pub(super) fn new(
        shared: Arc<Shared>,
        consumer: StreamConsumer<Context>,
        config: ClientConfig,
    ) -> Self {
        Self {
            shared,
            consumer: Arc::new(consumer),
            config,
            positions: Positions::default(),
            absent: HashMap::new(),
            wanted: Vec::new(),
            looking: None,
            is_lost: false,
            measuring: None,
            watchdog: Watchdog::default(),
            must_renew: false,
            asking: None,
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
        let periods = [refresh, ASK_AGAIN, AGAIN, ASK_AGAIN, ASKED_EACH];
        let [mut refresh, mut ask, mut again, mut renew, mut watch] = periods.map(|period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        loop {
            // Here nobody else of this task has the old one, which ends elsewhere.
            if self.must_renew {
                self.renew();
            }
            let consumer = Arc::clone(&self.consumer);
            let is_stuck = !self.positions.stuck().is_empty();
            let may_look = self.looking.is_none();
            let is_away = self.shared.troubles.has(&About::Brokers);
            let must_ask =
                may_look && (is_away || !(self.wanted.is_empty() && self.absent.is_empty()));
            let must_measure = self.is_lost && self.measuring.is_none();
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                Some(topic) = wishes.recv() => self.want(topic),
                found = looked(&mut self.looking) => self.found(found),
                _ = refresh.tick(), if may_look => self.look(true),
                measured = looked(&mut self.measuring) => {
                    if let Some(measured) = measured {
                        self.is_lost = false;
                        self.go_on(measured);
                    }
                }
                _ = ask.tick(), if must_ask || must_measure => {
                    if must_measure {
                        self.measuring = Some(self.measure());
                    }
                    if must_ask {
                        self.look(is_away);
                    }
                }
                ends = looked(&mut self.asking) => self.has_ends(ends),
                _ = watch.tick(), if self.asking.is_none() => self.asking = Some(self.ask_for_ends()),
                _ = renew.tick(), if consumer.context().is_stale() => self.must_renew = true,
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

    /// What was said to be lost need not be any more.
    pub(super) fn forget_losses(&mut self) {
        self.is_lost = false;
        self.measuring = None;
    }

    /// Has everything read from where it is now.
    pub(super) fn assign(&self) {
        if let Err(error) = self.consumer.assign(&self.positions.list()) {
            tracing::error!(%error, "the partitions cannot be read");
        }
        for (topic, number) in self.positions.stuck() {
            self.pause(&topic, number, true);
        }
    }

    /// Has a new client read on.
    fn renew(&mut self) {
        self.must_renew = false;
        if renew(&self.config, &mut self.consumer) {
            self.watchdog.is_renewed(Instant::now());
            self.assign();
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
        self.watchdog.arrived(topic, number);
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
            let identity = self.identities.get(topic).map(|id| &id[..]);
            letters.leave(message, identity, what);
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
}

/// Puts a new client in place of this one, which ends elsewhere once nobody has it any more; whether there is one.
pub(super) fn renew(config: &ClientConfig, client: &mut Arc<StreamConsumer<Context>>) -> bool {
    let new: KafkaResult<StreamConsumer<Context>> =
        config.create_with_context(client.context().next());
    let new = match new {
        Ok(new) => Arc::new(new),
        Err(error) => {
            tracing::error!(%error, "there is no new consumer");
            return false;
        }
    };
    tracing::info!("a new client reads on");
    let old = std::mem::replace(client, new);
    old.context().is_replaced();
    // It waits for what is under way.
    spawn_blocking(move || drop(old));
    true
}
