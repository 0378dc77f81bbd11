//! Adapters to systems that somebody else operates, one feature each; by default there is none.
//!
//! The direction of the dependencies (`tidegate-server → tidegate-adapters → tidegate → tidegate-ws`) is
//! checked.

#[cfg(feature = "kafka")]
pub mod kafka;
