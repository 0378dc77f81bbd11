//! Tidegate, the gateway as a library.
//!
//! Start reading at `Gateway` in `gateway.rs`.

mod access_log;
mod admin;
pub mod authority;
pub mod body;
mod census;
pub mod config;
mod connection;
mod dispatch;
mod drain;
pub mod error;
pub mod exchange;
mod forwarded;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
pub mod headers;
mod http1;
pub mod limits;
mod listener;
pub mod logs;
mod mask;
mod metrics;
pub mod pipeline;
mod proxy;
mod proxy_protocol;
mod redirect;
mod route;
pub mod router;
pub mod session;
mod task;
mod threads;
mod time;
#[cfg_attr(fuzzing, path = "fuzzing/transport.rs")]
mod transport;
mod upgrade;
mod upstream;
mod worker;

pub use census::Census;
pub use gateway::{Gateway, StartError};
pub use http1::head::HeadError;
