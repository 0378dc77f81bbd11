//! The test kit: a gateway, scripted upstreams and raw clients over real sockets.
//!
//! A case reads as prose: start a [`ScriptedUpstream`], put a [`TestGateway`] before it, speak to
//! the gateway through a [`Wire`], compare bytes. Every wait has a deadline ([`DEADLINE`]), every
//! port is chosen by the system, and nothing is shared between cases.

pub mod admin;
pub mod backing;
pub mod browser;
pub mod certificates;
pub mod child;
pub mod frame;
pub mod gateway;
pub mod head;
pub mod history;
pub mod link;
pub mod log;
pub mod mint;
pub mod openapi;
pub mod probe;
pub mod request;
pub mod sockets;
pub mod stamps;
pub mod time;
pub mod tls;
pub mod tools;
pub mod upstream;
pub mod wire;

pub use admin::Admin;
pub use frame::Frame;
pub use gateway::TestGateway;
pub use head::Head;
pub use link::Link;
pub use log::LogFile;
pub use mint::{Mint, Token};
pub use request::{Request, accept_for};
pub use time::{DEADLINE, eventually, eventually_does, within};
pub use upstream::ScriptedUpstream;
pub use wire::{Answer, End, Wire};
