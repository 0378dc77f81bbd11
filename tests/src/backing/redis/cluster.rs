//! Three masters that share the slots.

use std::path::Path;

use super::super::Proxy;
use super::super::daemon::insist;
use super::{Guard, Node, program};
use crate::child::spare_port;

/// The slots of each.
const SLOTS: [(&str, &str); 3] = [("0", "5461"), ("5462", "10922"), ("10923", "16383")];
/// How long a node must be silent until the others call it failed; the whole cluster stops then, until
/// it is back.
const TIMEOUT_MILLISECONDS: u32 = 3_000;

/// A cluster of three. Each has a door, and names it as its own port, so that a client which asks the
/// cluster for its nodes comes through the doors.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
    doors: Vec<Proxy>,
}

impl RedisCluster {
    /// Starts it; `None`, said aloud, where there is no Redis.
    pub async fn start(test: &str, guard: Guard) -> Option<Self> {
        let program = program(test)?;
        Some(insist(async || Self::launch(&program, guard).await).await)
    }

    async fn launch(program: &Path, guard: Guard) -> Result<Self, String> {
        let (mut nodes, mut doors, mut buses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in SLOTS {
            let (port, bus) = (spare_port(), spare_port());
            let door = Proxy::to(([127, 0, 0, 1], port).into());
            let announced = if guard.tls { "tls-port" } else { "port" };
            let settings = [
                "cluster-enabled yes".to_owned(),
                format!("cluster-port {bus}"),
                format!("cluster-node-timeout {TIMEOUT_MILLISECONDS}"),
                "cluster-announce-ip 127.0.0.1".to_owned(),
                format!("cluster-announce-{announced} {}", door.port()),
                format!("cluster-announce-bus-port {bus}"),
            ];
            nodes.push(Node::start_at(program, "node", guard, port, &settings));
            doors.push(door);
            buses.push(bus.to_string());
        }
        for node in &nodes {
            node.is_ready().await?;
        }
        for (number, (node, (first, last))) in nodes.iter().zip(SLOTS).enumerate() {
            let epoch = (number + 1).to_string();
            let port = nodes[0].address().port().to_string();
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &buses[0]])
                .await;
        }
        let cluster = Self { nodes, doors };
        for node in &cluster.nodes {
            node.daemon().ready(async || is_whole(node).await).await?;
        }
        Ok(cluster)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Their doors, in the same order.
    #[must_use]
    pub fn doors(&self) -> &[Proxy] {
        &self.doors
    }

    /// Whether every node sees all three, and all slots served.
    pub async fn is_whole(&self) -> bool {
        for node in &self.nodes {
            if !is_whole(node).await {
                return false;
            }
        }
        true
    }
}

async fn is_whole(node: &Node) -> bool {
    let said = node.ask(&["CLUSTER", "INFO"]).await;
    let words = [
        "cluster_state:ok",
        "cluster_known_nodes:3",
        "cluster_size:3",
    ];
    words.iter().all(|word| said.text().contains(word))
}
