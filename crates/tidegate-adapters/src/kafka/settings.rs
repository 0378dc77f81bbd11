//! The plan in librdkafka's words.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use tidegate::config::plan::{BusPlan, KafkaBusPlan, SaslMechanism};

/// Kilobytes of records that may wait for the brokers, and of records that have come and wait for us.
const MOST_WAITING_KB: u32 = 64 * 1024;
const MOST_FETCHED_KB: u32 = 16 * 1024;
/// Bytes that a broker sends in one answer: more where one record is larger.
const MOST_AT_ONCE: u32 = 4 * 1024 * 1024;
/// How often librdkafka says where partitions end, in milliseconds.
const STATISTICS_MS: u32 = 2_000;
/// How long it is believed that a topic which is not there was just made, in milliseconds.
const PROPAGATION_MS: u32 = 2_000;
/// How long after a failure a broker is tried again at the most, in milliseconds.
const RECONNECT_MS: u32 = 2_000;

/// What both ends have.
fn common(bus: &BusPlan, plan: &KafkaBusPlan) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", plan.brokers.join(","));
    config.set("client.id", &*bus.node);
    config.set("reconnect.backoff.max.ms", RECONNECT_MS.to_string());
    config.set("socket.keepalive.enable", "true");
    config.set("topic.metadata.refresh.interval.ms", refresh(plan));
    let protocol = match (&plan.tls, &plan.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &plan.tls {
        let ca = tls.ca.as_ref().map(|file| file.to_string_lossy());
        config.set("ssl.ca.location", ca.as_deref().unwrap_or("probe"));
        if let Some(files) = &tls.certificate {
            config.set("ssl.certificate.location", files.cert.to_string_lossy());
            config.set("ssl.key.location", files.key.to_string_lossy());
        }
    }
    if let Some(sasl) = &plan.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanism", mechanism);
        config.set("sasl.username", &*sasl.user);
        let password = String::from_utf8_lossy(sasl.password.reveal());
        config.set("sasl.password", password);
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

fn refresh(plan: &KafkaBusPlan) -> String {
    plan.topic_refresh
        .as_millis()
        .clamp(100, 300_000)
        .to_string()
}

/// One producer: each record once, in order, and with all replicas that are in step.
pub(super) fn producer(bus: &BusPlan, plan: &KafkaBusPlan) -> ClientConfig {
    let mut config = common(bus, plan);
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    // A key is where Java's producers have it.
    config.set("partitioner", "murmur2_random");
    config.set("linger.ms", "1");
    // Whoever publishes to a topic that is not there hears of it before it is late.
    config.set(
        "topic.metadata.propagation.max.ms",
        PROPAGATION_MS.to_string(),
    );
    let timeout = plan.publish_timeout.as_millis().max(1).to_string();
    config.set("message.timeout.ms", &timeout);
    config.set("queue.buffering.max.messages", plan.max_queued.to_string());
    config.set("queue.buffering.max.kbytes", MOST_WAITING_KB.to_string());
    config.set("message.max.bytes", plan.max_message_size.to_string());
    config
}

/// A consumer of partitions that we name, from offsets that we name. Nobody is in its group, and nothing is
/// committed there.
pub(super) fn consumer(bus: &BusPlan, plan: &KafkaBusPlan) -> ClientConfig {
    let mut config = common(bus, plan);
    config.set("group.id", "tidegate");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // Where an offset is gone, it is we who say what is next.
    config.set("auto.offset.reset", "error");
    config.set("allow.auto.create.topics", "false");
    config.set("enable.partition.eof", "false");
    config.set("fetch.wait.max.ms", "100");
    config.set("fetch.error.backoff.ms", "100");
    // Other answers wait behind it, on a slow link too.
    config.set("fetch.max.bytes", MOST_AT_ONCE.to_string());
    config.set("queued.min.messages", "10000");
    config.set("queued.max.messages.kbytes", MOST_FETCHED_KB.to_string());
    config.set("statistics.interval.ms", STATISTICS_MS.to_string());
    config
}

/// The same for what is read again; it is told where a partition ends.
pub(super) fn history(bus: &BusPlan, plan: &KafkaBusPlan) -> ClientConfig {
    let mut config = consumer(bus, plan);
    config.set("enable.partition.eof", "true");
    config.set("statistics.interval.ms", "0");
    config.set("fetch.wait.max.ms", "10");
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    fn plans() -> (BusPlan, KafkaBusPlan) {
        (
            BusPlan::default(),
            KafkaBusPlan::new(vec!["localhost:9092".into()]),
        )
    }

    /// What librdkafka goes by, whatever it is called where it is set.
    fn goes_by(config: &ClientConfig, expected: &[(&str, &str)]) {
        let config = config.create_native_config().unwrap();
        for (name, value) in expected {
            assert_eq!(config.get(name).as_deref(), Ok(*value), "{name}");
        }
    }

    #[test]
    fn what_is_published_is_with_all_replicas_once_and_in_order() {
        let (bus, plan) = plans();
        let config = producer(&bus, &plan);
        goes_by(
            &config,
            &[
                ("enable.idempotence", "true"),
                ("acks", "-1"),
                ("request.required.acks", "-1"),
                ("partitioner", "murmur2_random"),
            ],
        );
        // It refuses settings that do not go together with that.
        let made: Result<BaseProducer, _> = config.create();
        assert!(made.is_ok());
    }

    #[test]
    fn where_reading_goes_on_is_for_us_to_say() {
        let (bus, plan) = plans();
        for config in [consumer(&bus, &plan), history(&bus, &plan)] {
            goes_by(
                &config,
                &[
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    ("auto.offset.reset", "error"),
                    ("allow.auto.create.topics", "false"),
                ],
            );
            let made: Result<BaseConsumer, _> = config.create();
            assert!(made.is_ok());
        }
    }
}
