//! Adapters to systems that somebody else operates, one feature each; by default there is none.
//!
//! `kafka`: events over Apache Kafka, behind `tidegate::bus::EventBus`. `redis`: the shared memory of a
//! cluster, behind `tidegate::cluster::StateStore`.
//!
//! The direction of the dependencies (`tidegate-server → tidegate-adapters → tidegate → tidegate-ws`) is
//! checked.

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "redis")]
pub mod redis;
