//! One who publishes records as the predecessor's services do, and one who reads them, with no gateway.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tidegate_tests::backing::Registry;

use super::arrivals::{Arrivals, data, numbered};
use super::words;

const PARTITIONS: i32 = 3;
/// Whoever is pushed to.
const VALUE: &str = "io.github.sevenparadigms.gateway.kafka.model.WebSocketEvent";

/// Makes topics.
pub(super) async fn create(brokers: &str, topics: &[&str]) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create().map_err(words)?;
    let new = topics
        .iter()
        .map(|topic| NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1)));
    let new: Vec<_> = new.collect();
    let made = admin.create_topics(&new, &AdminOptions::new()).await;
    for one in made.map_err(words)? {
        one.map_err(|(topic, error)| format!("{topic}: {error}"))?;
    }
    Ok(())
}

/// A topic of pushes, and both ends of it.
pub(super) struct Topic {
    producer: ThreadedProducer<Acks>,
    name: String,
    /// Its schema's id.
    value: u32,
    key: Vec<u8>,
    user: String,
    /// What all replicas have.
    pub(super) acked: Arc<Arrivals>,
    /// What the plain consumer has.
    pub(super) read: Arc<Arrivals>,
}

impl Topic {
    /// That of this name, for pushes to `user`; whoever wrote there before has registered the schemas.
    pub(super) async fn open(
        brokers: &str,
        name: &str,
        registry: &Registry,
        user: &str,
    ) -> Result<Self, String> {
        let value = schema(registry, VALUE).await?;
        let mut key = Vec::new();
        frame(schema(registry, &format!("{name}-key")).await?, &mut key);
        write(user, &mut key);
        let acked = Arc::<Arrivals>::default();
        let mut config = config(brokers);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("partitioner", "murmur2_random");
        config.set("linger.ms", "0");
        let producer = config.create_with_context(Acks(Arc::clone(&acked)));
        Ok(Self {
            producer: producer.map_err(words)?,
            name: name.to_owned(),
            value,
            key,
            user: user.to_owned(),
            acked,
            read: consume(brokers, name)?,
        })
    }

    pub(super) fn publish(&self, number: u64) -> Result<(), String> {
        let mut value = Vec::new();
        frame(self.value, &mut value);
        for text in [&self.user, "http://bench", "bench", &data(number)] {
            write(text, &mut value);
        }
        let number = usize::try_from(number).map_err(words)?;
        let record = BaseRecord::with_opaque_to(&self.name, number);
        let sent = self.producer.send(record.key(&self.key).payload(&value));
        sent.map_err(|(error, _)| words(error))
    }
}

/// Notes what was acknowledged.
struct Acks(Arc<Arrivals>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(_) => self.0.note(number as u64),
            Err((error, _)) => self.0.fail(words(error)),
        }
    }
}

/// Reads a topic as a gateway does, and looks for nothing but numbers.
fn consume(brokers: &str, topic: &str) -> Result<Arc<Arrivals>, String> {
    let mut config = config(brokers);
    config.set("group.id", "bench");
    config.set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create().map_err(words)?;
    let mut list = TopicPartitionList::new();
    for number in 0..PARTITIONS {
        let added = list.add_partition_offset(topic, number, Offset::Beginning);
        added.map_err(words)?;
    }
    consumer.assign(&list).map_err(words)?;
    let arrivals = Arc::<Arrivals>::default();
    let noted = Arc::clone(&arrivals);
    thread::spawn(move || {
        loop {
            match consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => {
                    if let Some((number, _)) = message.payload().and_then(numbered) {
                        noted.note(number);
                    }
                }
                Some(Err(error)) => return noted.fail(words(error)),
                None => {}
            }
        }
    });
    Ok(arrivals)
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

async fn schema(registry: &Registry, subject: &str) -> Result<u32, String> {
    let latest = registry
        .get(&format!("/subjects/{subject}/versions/latest"))
        .await;
    let id = latest["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| format!("no schema of {subject}: {latest}"))
}

/// What stands before a datum of the schema `id`.
fn frame(id: u32, to: &mut Vec<u8>) {
    to.push(0);
    to.extend_from_slice(&id.to_be_bytes());
}

/// A text as Avro writes it: twice its length in sevens of bits, the lowest first.
fn write(text: &str, to: &mut Vec<u8>) {
    let mut length = 2 * text.len();
    while length > 0x7f {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_avro_has_them() {
        let mut written = Vec::new();
        frame(7, &mut written);
        write("ab", &mut written);
        assert_eq!(written, [0, 0, 0, 0, 7, 4, b'a', b'b']);
        written.clear();
        write(&"x".repeat(200), &mut written);
        assert_eq!(written[..3], [0x90, 0x03, b'x']);
    }
}
