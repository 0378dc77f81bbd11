//! Events over Apache Kafka: [`KafkaBus`] carries them between processes, and to whoever else reads and
//! writes the same topics (rows B-030 to B-036).
//!
//! What is published goes to the brokers and comes back from there, to this process as to all others. One
//! producer sends; one consumer reads every partition of each topic that somebody here subscribes to
//! (`docs/adr/0016`), and leaves what it reads with the subscribers. Both live on one thread of their own,
//! and no request and no session waits for them.

mod avro;
mod backfill;
mod bounded;
mod consumer;
mod context;
mod dead_letters;
mod decode;
mod examine;
mod framing;
mod history;
mod http;
mod looking;
mod lookup;
mod lost;
mod murmur;
mod positions;
mod producer;
mod publish;
mod record;
mod registry;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod topic_id;
mod troubles;
mod watchdog;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tidegate::bus::{
    Bounds, BusError, BusState, Event, EventBus, MemoryBus, Position, Replay, Subscription, Topics,
};
use tidegate::config::plan::{BusFormat, BusPlan, KafkaBusPlan};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::consumer::Reading;
use self::context::Context;
use self::dead_letters::DeadLetters;
use self::history::{Answer, History};
use self::http::Client;
use self::producer::Producer;
use self::publish::Room;
use self::registry::Registry;
use self::state::Seen;
use self::topic_id::Identity;
use self::troubles::Troubles;

/// Topics that may be wished for at one time; there are four.
const WISHES: usize = 64;
/// How long the brokers have to say which cluster they are.
const CLUSTER: Duration = Duration::from_secs(5);

/// Why there is no bus. That the brokers are away is no reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaBusError {
    /// Nothing in the plan says which brokers, or which registry.
    #[error("the plan has no `bus.kafka` with a registry of schemas")]
    NoPlan,
    /// A file of TLS is of no use, or there is no thread.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// librdkafka refuses the settings.
    #[error("librdkafka: {0}")]
    Client(#[from] KafkaError),
}

/// A bus over the brokers of one cluster. Dropped, it sends what is left, for two seconds at most.
#[derive(Debug)]
pub struct KafkaBus {
    shared: Arc<Shared>,
    wishes: mpsc::Sender<Arc<str>>,
    missed: mpsc::Sender<backfill::Asked>,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What both ends of it know.
struct Shared {
    plan: Arc<KafkaBusPlan>,
    node: Arc<str>,
    topics: Topics,
    dead_letters: Option<DeadLetters>,
    producer: Producer,
    /// For the copies of what is for several.
    room: Room,
    /// There where Avro is read or written.
    registry: Option<Registry>,
    /// Who subscribes in this process.
    local: MemoryBus,
    seen: Mutex<Seen>,
    troubles: Troubles,
    history: Mutex<History>,
    /// What the consumer is told.
    context: Context,
    /// A topic is read that was not before.
    reads_more: Notify,
    /// Whether all that is wanted has been read once.
    is_ready: AtomicBool,
    cluster: OnceLock<Box<str>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("brokers", &self.plan.brokers)
            .finish_non_exhaustive()
    }
}

impl KafkaBus {
    /// Starts the bus that the plan means. It does not wait for the brokers.
    ///
    /// # Errors
    /// When the plan means none, a file of TLS is of no use, or librdkafka refuses the settings.
    pub fn start(bus: &BusPlan) -> Result<Self, KafkaBusError> {
        let plan = bus.kafka.as_ref().ok_or(KafkaBusError::NoPlan)?;
        if plan.format == BusFormat::Avro && plan.registry.is_none() {
            return Err(KafkaBusError::NoPlan);
        }
        let client = plan.registry.as_ref().map(Client::new).transpose()?;
        let registers = plan.registry.as_ref().is_some_and(|plan| plan.register);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("tidegate-kafka-ask")
            .build()?;
        let troubles = Troubles::default();
        let registry = client.map(|client| {
            let handle = runtime.handle().clone();
            Registry::new(client, registers, handle, troubles.clone())
        });
        let letters = plan.dead_letter_topic.clone().map(DeadLetters::new);
        let (dead_letters, writing) = letters.unzip();
        let shared = Arc::new(Shared {
            plan: Arc::clone(plan),
            node: Arc::clone(&bus.node),
            topics: bus.topics.clone(),
            dead_letters,
            producer: Producer::new(settings::producer(bus, plan), troubles.clone())?,
            room: Room::new(plan),
            registry,
            local: MemoryBus::new(None),
            seen: Mutex::default(),
            context: Context::new(troubles.clone()),
            troubles,
            history: Mutex::new(History::new(plan.history_memory)),
            reads_more: Notify::new(),
            is_ready: AtomicBool::new(!plan.wait_at_start),
            cluster: OnceLock::new(),
        });
        let entered = runtime.enter();
        let configs = (settings::consumer(bus, plan), settings::history(bus, plan));
        let consumer: StreamConsumer<Context> =
            configs.0.create_with_context(shared.context.next())?;
        let again: StreamConsumer<Context> = configs.1.create_with_context(Context::default())?;
        drop(entered);
        let (wishes, wished) = mpsc::channel(WISHES);
        let end = CancellationToken::new();
        let reading = Reading::new(Arc::clone(&shared), consumer, configs.0);
        let (ended, refresh) = (end.clone(), plan.topic_refresh);
        let (missed, asked) = mpsc::channel(backfill::MOST_WAITING);
        let again = (Arc::new(again), configs.1);
        let again = backfill::run(Arc::clone(&shared), again, asked, end.clone());
        let (letters_of, letters_end) = (Arc::clone(&shared), end.clone());
        let thread = thread::Builder::new().name("tidegate-kafka".into());
        let thread = thread.spawn(move || {
            let reading = reading.run(wished, ended, refresh);
            let letters = async {
                if let Some(writing) = writing {
                    writing.run(&letters_of.producer, letters_end).await;
                }
            };
            let all = async { tokio::join!(reading, again, letters) };
            runtime.block_on(letters_of.survive(all));
            runtime.shutdown_background(); // a broker that does not answer holds up nobody
        })?;
        Ok(Self {
            shared,
            wishes,
            missed,
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for KafkaBus {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to do.
            let _ = thread.join();
        }
        self.shared.producer.flush();
    }
}

impl EventBus for KafkaBus {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move { self.shared.publish(&event).await })
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        let subscription = self.shared.local.subscribe_to(topics);
        for topic in topics {
            let topic = self.shared.topic(topic);
            self.shared.is_awaited(&topic);
            if self.wishes.try_send(Arc::clone(&topic)).is_err() {
                tracing::error!(topic = &*topic, "too many topics are wished for at once");
            }
        }
        subscription
    }

    fn replay(
        &self,
        topic: &str,
        key: &str,
        after: &Position,
        most: Bounds,
    ) -> BoxFuture<'_, Result<Replay, BusError>> {
        let answer = self.shared.history().replay(topic, key, after, most);
        let (sender, answered) = oneshot::channel();
        let asked = backfill::Asked {
            topic: self.shared.topic(topic),
            user: key.into(),
            after: after.clone(),
            most,
            answer: sender,
        };
        Box::pin(async move {
            match answer {
                Answer::Replay(replay) => Ok(replay),
                Answer::Examine { .. } | Answer::Read { .. } => {
                    backfill::ask(&self.missed, asked, answered).await
                }
            }
        })
    }

    fn end(&self, topic: &str, key: &str) -> Option<Position> {
        let key = self.shared.key_bytes(topic, key)?;
        self.shared.history().end(topic, &key)
    }

    fn state(&self) -> BusState {
        self.shared.state()
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key as this process writes it; `None` while that is not known.
    fn key_bytes(&self, topic: &str, key: &str) -> Option<Vec<u8>> {
        if self.plan.format != BusFormat::Avro {
            return Some(key.as_bytes().to_vec());
        }
        let subject = format!("{topic}-key");
        let writer = self
            .registry
            .as_ref()?
            .known_writer(&subject, avro::Kind::Text)?;
        let datum = avro::Record::Text(key.to_owned())
            .write(&writer.schema)
            .ok()?;
        Some(framing::frame(writer.id, &datum))
    }

    /// Asks how keys of pushes are written, so that it is known where each user's are before one is published.
    fn learn_keys(&self) {
        let is_open = self.key_bytes(&self.topics.push, "").is_none();
        if let Some(registry) = self.registry.as_ref().filter(|_| is_open) {
            let subject = format!("{}-key", self.topics.push);
            // Once it is answered it is known.
            let _asked = registry.writer(&subject, avro::Kind::Text);
        }
    }

    /// The name of a topic, shared where it is one of ours.
    fn topic(&self, name: &str) -> Arc<str> {
        let ours = self
            .topics
            .all()
            .into_iter()
            .find(|topic| ***topic == *name);
        ours.map_or_else(|| name.into(), Arc::clone)
    }

    /// What tells a topic from all others, of whatever cluster, and from one of its name before it.
    fn identity(&self, consumer: &StreamConsumer<Context>, topic: &str) -> Identity {
        if self.cluster.get().is_none() {
            let Some(cluster) = consumer.client().fetch_cluster_id(CLUSTER) else {
                return Identity::Unsaid;
            };
            let _ = self.cluster.set(cluster.into());
        }
        match (self.cluster.get(), topic_id::of(consumer, topic, CLUSTER)) {
            (Some(cluster), Identity::Is(id)) => {
                Identity::Is([cluster.as_bytes(), b"\0", &id].concat())
            }
            (_, other) => other,
        }
    }
}
