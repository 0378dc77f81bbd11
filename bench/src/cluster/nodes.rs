//! Gateways that are one to their users, each a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::admin::Admin;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::within_limit;

use super::words;
use crate::measure::accounts::Tree;
use crate::push::publisher::Publisher;

/// How long a node may take until it is ready.
const START: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

/// By what nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    /// By nothing: there is one.
    Memory,
    Redis,
    Kafka,
    Both,
}

impl Bus {
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::Memory, Self::Redis, Self::Kafka, Self::Both];
        all.into_iter().find(|bus| bus.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Both => "both",
        }
    }

    pub(super) const fn has_kafka(self) -> bool {
        matches!(self, Self::Kafka | Self::Both)
    }

    const fn has_redis(self) -> bool {
        matches!(self, Self::Redis | Self::Both)
    }
}

/// What nodes of one cluster are told.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) binary: &'a Path,
    pub(super) bus: Bus,
    pub(super) brokers: &'a str,
    pub(super) registry: &'a str,
    pub(super) redis: SocketAddr,
    /// Of all topics, and of the keys in Redis.
    pub(super) prefix: &'a str,
}

impl Wanted<'_> {
    /// The topics: that of pushes first.
    pub(super) fn topics(&self) -> [String; 4] {
        ["push", "connect", "disconnect", "sessions"].map(|name| format!("{}-{name}", self.prefix))
    }

    fn yaml(&self, node: &str) -> String {
        let [push, connect, disconnect, sessions] = self.topics();
        let (brokers, registry, redis) = (self.brokers, self.registry, self.redis);
        let mut yaml = format!(
            "version: 1\n\
             workers: 1\n\
             access_log: none\n\
             auth: {{ jwt: {{ secret: a secret that is for nothing but the bench }} }}\n\
             listeners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             services: {{ upstream: {{ endpoints: 'http://127.0.0.1:9' }} }}\n\
             routes: [{{ name: known, match: {{ path: /known }}, filters: require, \
               bridge: {{ services: upstream }} }}]\n\
             bus:\n  \
               node: {node}\n  \
               topics: {{ push: {push}, user_connect: {connect}, user_disconnect: {disconnect}, \
                 sessions: {sessions} }}\n"
        );
        if self.bus.has_kafka() {
            yaml.push_str(&format!(
                "  kafka: {{ brokers: ['{brokers}'], schema_registry: {{ url: '{registry}' }} }}\n"
            ));
        }
        if self.bus.has_redis() {
            let prefix = self.prefix;
            yaml.push_str(&format!(
                "cluster: {{ redis: {{ url: 'redis://{redis}', prefix: '{prefix}' }} }}\n"
            ));
        }
        yaml
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) public: SocketAddr,
    pub(super) publisher: Publisher,
    pub(super) tree: Tree,
    _process: Process,
    _scratch: Scratch,
}

impl Node {
    /// Starts it, and waits until it is ready and knows the others.
    pub(super) async fn start(wanted: &Wanted<'_>, name: &str) -> Result<Self, String> {
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.yaml", &wanted.yaml(name));
        let mut command = Command::new(wanted.binary);
        command.args(["run", "--log-format", "json", "--config"]);
        let mut process = Process::start(command.arg(file));
        let public = process.address_of("public").await;
        let admin = Admin(process.address_of("admin").await);
        within_limit(START, "the node is ready", async {
            while !is_ready(admin).await {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        let pid = i32::try_from(process.id()).map_err(words)?;
        Ok(Self {
            public,
            publisher: Publisher::new(admin.0),
            tree: Tree::of(pid)?,
            _process: process,
            _scratch: scratch,
        })
    }
}

/// Whether all is well, Redis included.
async fn is_ready(admin: Admin) -> bool {
    let answer = admin.get("/readyz?verbose").await;
    let told: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    answer.status() == 200 && told["degraded"] != true
}
