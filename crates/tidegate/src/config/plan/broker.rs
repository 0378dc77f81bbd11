//! What carries events between processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::defaults;
use super::super::secret::Secret;
use super::{CertificateFiles, EndpointPlan};

/// Events over Apache Kafka. It takes a build that has the adapter: the crate `tidegate` has none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KafkaBusPlan {
    /// Some of its brokers, as `host:port`; at least one.
    pub brokers: Vec<Box<str>>,
    /// How records are written; Avro.
    pub format: BusFormat,
    /// Where schemas are registered; there for [`BusFormat::Avro`].
    pub registry: Option<RegistryPlan>,
    /// TLS to the brokers; none.
    pub tls: Option<BusTls>,
    /// Who we are to the brokers; nobody.
    pub sasl: Option<SaslPlan>,
    /// How long a record may take until the brokers have it; 5 s.
    pub publish_timeout: Duration,
    /// Records that may wait for the brokers; 10,000.
    pub max_queued: u32,
    /// The most bytes of a record; 1,000,000, as brokers have it.
    pub max_message_size: u32,
    /// The most bytes of resumable pushes of a topic that are kept here; 16 MiB. What is older is read from
    /// the brokers again.
    pub history_memory: u64,
    /// How often it is looked for new partitions; 10 s.
    pub topic_refresh: Duration,
    /// Where records go that are no events; nowhere.
    pub dead_letter_topic: Option<Arc<str>>,
    /// Whether the gateway is not ready at its start before it reads every topic that it needs; it is not.
    pub wait_at_start: bool,
    /// What is told as the hash of a token, in Avro; the first eight bytes of its SHA-256.
    pub compat_hash: Option<CompatHash>,
}

impl KafkaBusPlan {
    /// These brokers, and the defaults. Without a registry, that is not a whole plan.
    #[must_use]
    pub const fn new(brokers: Vec<Box<str>>) -> Self {
        Self {
            brokers,
            format: BusFormat::Avro,
            registry: None,
            tls: None,
            sasl: None,
            publish_timeout: defaults::KAFKA_PUBLISH_TIMEOUT,
            max_queued: defaults::KAFKA_MAX_QUEUED,
            max_message_size: defaults::KAFKA_MAX_MESSAGE_SIZE,
            history_memory: defaults::BUS_HISTORY_BYTES,
            topic_refresh: defaults::KAFKA_TOPIC_REFRESH,
            dead_letter_topic: None,
            wait_at_start: true,
            compat_hash: None,
        }
    }
}

/// How records are written. What others wrote is read whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusFormat {
    /// As the predecessor writes them: Avro, with the ids of schemas that a registry gives.
    #[default]
    Avro,
    /// JSON.
    Json,
    /// CloudEvents 1.0, structured, of the same JSON.
    CloudEvents,
}

/// A hash of tokens that is told in place of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompatHash {
    /// That by which the predecessor knows them: `MurmurHash2` of 64 bits (row B-050).
    Murmur64,
}

/// A registry of schemas with Confluent's API.
#[derive(Debug, Clone)]
pub struct RegistryPlan {
    /// Where it is.
    pub endpoint: EndpointPlan,
    /// Who we are there: a user and its password.
    pub user: Option<(Box<str>, Secret)>,
    /// Whom TLS believes and what it shows, where the endpoint speaks it.
    pub tls: BusTls,
    /// Whether schemas are registered that are not there; they are. Else they are only looked up.
    pub register: bool,
}

/// TLS to what others operate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusTls {
    /// Authorities that are believed, in PEM; those of the system where there are none.
    pub ca: Option<PathBuf>,
    /// What is shown where a certificate is asked for.
    pub certificate: Option<CertificateFiles>,
}

/// Who we are to a broker.
#[derive(Debug, Clone)]
pub struct SaslPlan {
    /// How that is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: Box<str>,
    /// Its password.
    pub password: Secret,
}

/// How a user is proven to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// RFC 4616: the password itself.
    Plain,
    /// RFC 5802 with SHA-256.
    ScramSha256,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}
