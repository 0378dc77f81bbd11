//! Kafka keeps what every bus promises, in each of its formats.
#![cfg(feature = "kafka")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../tidegate/tests/contract/bus.rs"]
mod contract;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use tidegate::authority::Authority;
use tidegate::bus::{EventBus, Topics};
use tidegate::config::plan::{
    BusFormat, BusPlan, BusTls, EndpointPlan, KafkaBusPlan, RegistryPlan,
};
use tidegate_adapters::kafka::KafkaBus;
use tidegate_tests::backing::{Kafka, Party, Registry, kafka};

struct Brokers {
    bus: KafkaBus,
    plan: BusPlan,
    kafka: Kafka,
}

impl contract::Judged for Brokers {
    fn bus(&self) -> &dyn EventBus {
        &self.bus
    }

    fn topic(&self) -> &Arc<str> {
        &self.plan.topics.push
    }

    fn another(&self) -> Arc<dyn EventBus> {
        Arc::new(KafkaBus::start(&self.plan).unwrap())
    }

    fn shares_history(&self) -> bool {
        true
    }

    fn harm(&self) -> BoxFuture<'_, ()> {
        self.kafka.door(0).cut();
        Box::pin(ready(()))
    }

    fn mend(&self) -> BoxFuture<'_, ()> {
        self.kafka.door(0).mend();
        Box::pin(ready(()))
    }
}

fn registry(registry: &Registry) -> RegistryPlan {
    let url = registry.url();
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap();
    RegistryPlan {
        endpoint: EndpointPlan {
            authority: Authority::parse(authority.as_bytes()).unwrap(),
            path: format!("/{path}").into(),
            is_tls: false,
            weight: 1,
        },
        user: None,
        tls: BusTls::default(),
        register: true,
    }
}

async fn judge(test: &str, format: BusFormat) {
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(registered) = Registry::shared(test).await else {
        return;
    };
    let Some(party) = Party::open(test, &kafka, None) else {
        return;
    };
    let mut topics = Topics::default();
    topics.push = kafka::topic("push").into();
    party.create(&topics.push, 3).await;
    party.create("aside", 1).await;
    let mut plan = KafkaBusPlan::new(vec![kafka.door(0).address().to_string().into()]);
    plan.format = format;
    plan.registry = Some(registry(registered));
    plan.max_queued = 100_000;
    plan.publish_timeout = Duration::from_secs(20);
    plan.topic_refresh = Duration::from_millis(200);
    let plan = BusPlan {
        kafka: Some(Arc::new(plan)),
        topics,
        ..BusPlan::default()
    };
    let brokers = Brokers {
        bus: KafkaBus::start(&plan).unwrap(),
        plan,
        kafka,
    };
    contract::judge(&brokers).await;
}

#[tokio::test]
async fn kafka_keeps_the_promises_of_a_bus_in_avro() {
    judge("kafka_keeps_the_promises_in_avro", BusFormat::Avro).await;
}

#[tokio::test]
async fn and_in_json() {
    judge("and_in_json", BusFormat::Json).await;
}

#[tokio::test]
async fn and_in_cloud_events() {
    judge("and_in_cloud_events", BusFormat::CloudEvents).await;
}
