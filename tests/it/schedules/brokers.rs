//! Brokers for schedules: each with doors for the nodes of all that use it, and with somebody else who
//! publishes there.

use std::sync::Arc;

use serde_json::json;
use tidegate_tests::backing::{Kafka, Party, Registry};
use tokio::sync::OnceCell;

/// A broker, and whoever else is there.
#[derive(Debug)]
pub(super) struct Brokers {
    pub(super) kafka: Kafka,
    pub(super) party: Party,
}

impl Brokers {
    async fn start(test: &str, doors: usize) -> Option<Arc<Self>> {
        let registry = Registry::shared(test).await?;
        let kafka = Kafka::start(test, doors).await?;
        // A key is where Java's producers have it.
        let settings =
            json!({"producer": {"partitioner": "murmur2_random", "message.timeout.ms": 10_000}});
        let party = Party::with(test, &kafka.brokers(), Some(&registry.url()), &settings)?;
        Some(Arc::new(Self { kafka, party }))
    }

    /// Those that nobody stops, with so many doors, which all who come share.
    pub(super) async fn steady(test: &str, doors: usize) -> Option<Arc<Self>> {
        static STEADY: OnceCell<Option<Arc<Brokers>>> = OnceCell::const_new();
        STEADY
            .get_or_init(|| Self::start(test, doors))
            .await
            .clone()
    }

    /// Those of one schedule after the other.
    pub(super) async fn of_one(test: &str, doors: usize) -> Option<Arc<Self>> {
        Self::start(test, doors).await
    }
}
