//! Brokers for schedules: with doors for the nodes of all that use them, and with somebody else who
//! publishes there.

use std::sync::Arc;

use serde_json::json;
use tidegate_tests::backing::{Kafka, Party, Proxy, Registry};
use tokio::sync::{OnceCell, OwnedMutexGuard};

/// The most nodes of a schedule.
pub(super) const MOST_NODES: usize = 3;
/// Schedules that share the brokers that nobody stops.
pub(super) const AT_ONCE: usize = 3;

/// A broker, and whoever else is there.
#[derive(Debug)]
pub(super) struct Brokers {
    pub(super) kafka: Kafka,
    pub(super) party: Party,
}

/// What a schedule has of brokers.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) brokers: Arc<Brokers>,
    first_door: usize,
    /// Nobody else uses them meanwhile.
    alone: Option<Arc<OwnedMutexGuard<()>>>,
}

impl Brokers {
    async fn start(test: &str, doors: usize) -> Option<Arc<Self>> {
        let registry = Registry::shared(test).await?;
        let kafka = Kafka::start(test, doors).await?;
        // A key is where Java's producers have it.
        let producer = json!({"partitioner": "murmur2_random", "message.timeout.ms": 10_000});
        let settings = json!({ "producer": producer });
        let url = registry.url();
        let party = Party::with(test, &kafka.brokers(), Some(&url), &settings)?;
        Some(Arc::new(Self { kafka, party }))
    }
}

impl Share {
    /// The doors of one worker at the brokers that nobody stops.
    pub(super) async fn steady(test: &str, worker: usize) -> Option<Self> {
        static STEADY: OnceCell<Option<Arc<Brokers>>> = OnceCell::const_new();
        let start = async || Brokers::start(test, AT_ONCE * MOST_NODES).await;
        let brokers = STEADY.get_or_init(start).await.clone()?;
        Some(Self {
            brokers,
            first_door: worker * MOST_NODES,
            alone: None,
        })
    }

    /// All of the brokers that may be stopped, once nobody else has them.
    pub(super) async fn alone(test: &str) -> Option<Self> {
        static SHAKEN: OnceCell<Option<Arc<Brokers>>> = OnceCell::const_new();
        static TAKEN: OnceCell<Arc<tokio::sync::Mutex<()>>> = OnceCell::const_new();
        let taken = TAKEN.get_or_init(async || Arc::default()).await;
        let taken = Arc::clone(taken).lock_owned().await;
        let start = async || Brokers::start(test, MOST_NODES).await;
        Some(Self {
            brokers: SHAKEN.get_or_init(start).await.clone()?,
            first_door: 0,
            alone: Some(Arc::new(taken)),
        })
    }

    /// Whether they may be stopped.
    pub(super) const fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Where a node meets them.
    pub(super) fn door(&self, node: usize) -> &Proxy {
        self.brokers.kafka.door(self.first_door + node)
    }
}
