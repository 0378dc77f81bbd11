//! A Redis and its replica, under three Sentinels.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::super::daemon::insist;
use super::super::resp::Reply;
use super::{Guard, Node, program};
use crate::child::spare_port;
use crate::time::eventually_does_within;

/// By this name the Sentinels know it.
const NAME: &str = "tidegate";
/// How long the master must be silent until it is given up. Another is master some seconds later.
const DOWN_AFTER_MILLISECONDS: u32 = 2_000;

/// How long it may take until the next master is agreed on: some seconds on a quiet machine, and as many
/// again for every vote that nobody wins.
const LONG: Duration = Duration::from_secs(120);

/// Two processes with data, of which one is the master, and three that watch them.
#[derive(Debug)]
pub struct RedisSentinel {
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

impl RedisSentinel {
    /// Starts them; `None`, said aloud, where there is no Redis.
    pub async fn start(test: &str, guard: Guard) -> Option<Self> {
        let program = program(test)?;
        Some(insist(async || Self::launch(&program, guard).await).await)
    }

    async fn launch(program: &Path, guard: Guard) -> Result<Self, String> {
        let mut common = vec!["repl-diskless-sync-delay 0".to_owned()];
        if let Some(password) = guard.password {
            common.push(format!("masterauth {password}"));
        }
        let master = Node::start(program, "redis", guard, &common);
        master.is_ready().await?;
        let port = master.address().port();
        common.push(format!("replicaof 127.0.0.1 {port}"));
        let replica = Node::start(program, "replica", guard, &common);
        replica.is_ready().await?;
        let follows = async || {
            let role = replica.ask(&["INFO", "replication"]).await;
            role.text().contains("master_link_status:up")
        };
        replica.daemon().ready(follows).await?;
        let sentinels = watchers(program, guard, port, replica.address().port());
        for sentinel in &sentinels {
            sentinel.is_ready().await?;
            let is_sure = async || {
                let words = sentinel.ask(&["SENTINEL", "CKQUORUM", NAME]).await;
                words.text().starts_with("OK 3")
            };
            sentinel.daemon().ready(is_sure).await?;
        }
        Ok(Self {
            nodes: vec![master, replica],
            sentinels,
        })
    }

    /// The name by which the Sentinels know it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        NAME
    }

    /// The two with data; the first was the master at first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The Sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Node] {
        &self.sentinels
    }

    /// Who is the master, as the Sentinel `number` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn master_by(&self, number: usize) -> SocketAddr {
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let answer = self.sentinels[number].ask(&asked).await;
        answer.texts().join(":").parse().unwrap()
    }

    /// Waits until all Sentinels hold this node for the master, and it thinks so too.
    pub async fn has_master(&self, node: &Node) {
        eventually_does_within(LONG, "the master is another", async || {
            for number in 0..self.sentinels.len() {
                if self.master_by(number).await != node.address() {
                    return false;
                }
            }
            let Reply::List(role) = node.ask(&["ROLE"]).await else {
                return false;
            };
            role.first().is_some_and(|role| role.text() == "master")
        })
        .await;
    }
}

/// Sentinels that know one another from the start: asking around takes them seconds.
fn watchers(program: &Path, guard: Guard, master: u16, replica: u16) -> Vec<Node> {
    let known: Vec<(u16, String)> = (0..3).map(|_| (spare_port(), identifier())).collect();
    let mut common = vec![
        format!("sentinel monitor {NAME} 127.0.0.1 {master} 2"),
        format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MILLISECONDS}"),
        format!("sentinel failover-timeout {NAME} 3000"),
        format!("sentinel known-replica {NAME} 127.0.0.1 {replica}"),
    ];
    if let Some(password) = guard.password {
        common.push(format!("sentinel auth-pass {NAME} {password}"));
        common.push(format!("sentinel sentinel-pass {password}"));
    }
    let others = |own: u16| {
        let others = known.iter().filter(move |(port, _)| *port != own);
        others.map(|(port, id)| format!("sentinel known-sentinel {NAME} 127.0.0.1 {port} {id}"))
    };
    let start = |(port, id): &(u16, String)| {
        let mut settings = vec![format!("sentinel myid {id}")];
        settings.extend(common.iter().cloned());
        settings.extend(others(*port));
        Node::start_at(program, "sentinel", guard, *port, &settings)
    };
    known.iter().map(start).collect()
}

/// Forty hexadecimal digits.
fn identifier() -> String {
    (0..40).map(|_| fastrand::digit(16)).collect()
}
