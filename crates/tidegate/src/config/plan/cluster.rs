//! The cluster: where its nodes have their shared memory.

use std::path::PathBuf;
use std::time::Duration;

use super::super::defaults;
use super::super::secret::Secret;
use super::CertificateFiles;

/// The cluster that this node belongs to.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// Where its shared memory is.
    pub store: StorePlan,
    /// How long a node that is not heard of is still taken to be there; 30 s.
    pub lease: Duration,
}

/// Where the shared memory of a cluster is.
#[derive(Debug, Clone, Default)]
pub enum StorePlan {
    /// In this process: the node is on its own.
    #[default]
    Memory,
    /// In Redis.
    Redis(Box<RedisPlan>),
}

/// A Redis, or several that are one.
#[derive(Debug, Clone)]
pub struct RedisPlan {
    /// What stands at the addresses; a single Redis.
    pub mode: RedisMode,
    /// Host (an IPv6 address without its brackets) and port, at least one.
    pub addresses: Vec<(Box<str>, u16)>,
    /// How TLS is spoken; `None` (the default): it is not.
    pub tls: Option<RedisTls>,
    /// As whom; `None` (the default): as Redis's own default user.
    pub username: Option<Box<str>>,
    /// The password; `None` (the default): there is none.
    pub password: Option<Secret>,
    /// The number of the database; 0.
    pub database: u32,
    /// What all keys and channels begin with; `tidegate`.
    pub prefix: Box<str>,
    /// How long an answer may take; 1 s.
    pub timeout: Duration,
}

/// What stands at the addresses.
#[derive(Debug, Clone, Default)]
pub enum RedisMode {
    /// One Redis.
    #[default]
    Standalone,
    /// Sentinels, who know where the master is.
    Sentinel {
        /// What they call it.
        master: Box<str>,
        /// As whom they are asked.
        username: Option<Box<str>>,
        /// The password for that.
        password: Option<Secret>,
    },
    /// Some nodes of a Redis Cluster.
    Cluster,
}

/// TLS to Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The authorities that are believed, in PEM; `None` (the default): those of the system.
    pub ca: Option<PathBuf>,
    /// What is shown where a certificate is asked for.
    pub certificate: Option<CertificateFiles>,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        Self {
            store: StorePlan::default(),
            lease: defaults::CLUSTER_LEASE,
        }
    }
}

impl RedisPlan {
    /// A Redis at these addresses, with the defaults.
    #[must_use]
    pub fn new(addresses: Vec<(Box<str>, u16)>) -> Self {
        Self {
            mode: RedisMode::default(),
            addresses,
            tls: None,
            username: None,
            password: None,
            database: 0,
            prefix: defaults::REDIS_PREFIX.into(),
            timeout: defaults::REDIS_TIMEOUT,
        }
    }
}
