//! Tidegate, the gateway as a library.
//!
//! A configuration becomes a [`Plan`](config::Plan), and a plan a [`Gateway`], which has threads of its
//! own and needs no runtime around it:
//!
//! ```
//! use tidegate::Gateway;
//! use tidegate::config::Config;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "
//! version: 1
//! listeners: { name: public, bind: 127.0.0.1:0 }
//! services: { app: { endpoints: http://127.0.0.1:9000 } }
//! routes: { name: all, match: { path: /** }, proxy: { service: app } }
//! access_log: none
//! ";
//! let plan = Config::from_yaml("gateway.yaml", text)?.resolve()?;
//! let gateway = Gateway::start(plan)?;
//! for (name, address) in gateway.addresses() {
//!     println!("{name}: {address}");
//! }
//! gateway.stop();
//! # Ok(())
//! # }
//! ```
//!
//! Filters of an embedder's own are in [`pipeline`], and whoever reads the code starts at `Gateway` in
//! `gateway.rs`. Times and sizes are in the units of their types, and each says its default.

mod access_log;
mod admin;
pub mod auth;
pub mod authority;
pub mod body;
mod bridge;
pub mod bus;
mod census;
pub mod cluster;
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
pub mod handler;
pub mod headers;
mod http1;
pub mod limits;
mod listener;
pub mod logs;
mod mask;
mod metrics;
pub mod pipeline;
mod presence;
mod proxy;
mod proxy_protocol;
mod push;
mod redirect;
mod route;
pub mod router;
pub mod session;
mod task;
mod threads;
mod time;
pub mod tls;
mod transport;
mod upgrade;
mod upstream;
mod worker;

pub use census::Census;
pub use gateway::{Gateway, GatewayBuilder, StartError};
pub use http1::head::HeadError;
