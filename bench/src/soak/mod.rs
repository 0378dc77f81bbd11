//! The soak's load: clients, and upstreams that do what a request's path says. Both check every byte
//! that they get.
//!
//! Each obeys lines on its standard input, says what it counts once a second as a line of JSON, and
//! ends with its input. What went otherwise than it should is a *fault*: it is told at once, in words.

mod client;
mod payload;
mod talk;
mod upstream;
mod wire;

use std::net::SocketAddr;

use tokio::task::LocalSet;

/// The upstreams.
pub(crate) fn upstreams() -> Result<(), String> {
    block_on(upstream::run())
}

/// The clients of the gateway that listens there.
pub(crate) fn clients(gateway: SocketAddr) -> Result<(), String> {
    block_on(client::run(gateway))
}

fn block_on(side: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(LocalSet::new().run_until(side))
}
