//! Redis: one process, one with a replica under Sentinels, and a cluster of three.

mod cluster;
mod node;
mod sentinel;

pub use cluster::RedisCluster;
pub use node::{Guard, Node};
pub use sentinel::RedisSentinel;

use super::Proxy;
use super::daemon::insist;
use crate::tools;

/// The program; `None`, said aloud, where there is none.
fn program(test: &str) -> Option<std::path::PathBuf> {
    tools::program(test, "redis-server")
}

/// One Redis, with doors: proxies of its own, one for each who shall be cut off alone.
#[derive(Debug)]
pub struct Redis {
    node: Node,
    doors: Vec<Proxy>,
}

impl Redis {
    /// Starts one without doors, for anybody to use; `None`, said aloud, where there is none.
    pub async fn start(test: &str) -> Option<Self> {
        Self::guarded(test, Guard::default(), 0).await
    }

    /// Starts one with so many doors.
    pub async fn guarded(test: &str, guard: Guard, doors: usize) -> Option<Self> {
        let program = program(test)?;
        let node = insist(async || {
            let node = Node::start(&program, "redis", guard, &[]);
            node.is_ready().await.map(|()| node)
        })
        .await;
        let doors = (0..doors).map(|_| Proxy::to(node.address())).collect();
        Some(Self { node, doors })
    }

    /// The process, and where it is.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// A door of it.
    ///
    /// # Panics
    /// When it was started with fewer.
    #[must_use]
    pub fn door(&self, number: usize) -> &Proxy {
        &self.doors[number]
    }
}
