//! Adapters to systems that somebody else operates, one feature each.
//!
//! `redis`: the shared memory of a cluster, behind `tidegate::cluster::StateStore`.
//!
//! The direction of the dependencies is `tidegate-server → tidegate-adapters → tidegate → tidegate-ws`.

#[cfg(feature = "redis")]
pub mod redis;
