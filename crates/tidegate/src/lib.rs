//! Tidegate, the gateway as a library.
//!
//! Start reading at `Gateway` in `gateway.rs`.

pub mod authority;
pub mod body;
pub mod config;
pub mod exchange;
pub mod headers;
mod http1;
pub mod pipeline;
pub mod router;
mod transport;
