//! What stands behind several gateways: Kafka with a registry of schemas, and Redis, as real processes
//! of their own, with what tests do to them: end, kill, pause and cut them off.
//!
//! Where a case only uses them, it takes the one that all cases of this process share; where it does them
//! harm, it starts one of its own. All of it ends with this process, however that ends.

mod daemon;
mod gate;
pub mod kafka;
mod party;
mod place;
mod proxy;
mod redis;
mod registry;
mod resp;
mod sieve;

pub use daemon::Daemon;
pub use gate::Gate;
pub use kafka::Kafka;
pub use party::{Party, Watch};
pub use place::Place;
pub use proxy::Proxy;
pub use redis::{Guard, Node, Redis, RedisCluster, RedisSentinel};
pub use registry::Registry;
pub use resp::{Connection, Reply};
pub use sieve::{FETCH, LIST_OFFSETS, METADATA};
