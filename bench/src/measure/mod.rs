//! One measurement of the bench: clients and the upstream in one thread on one epoll, so that they
//! cost little and come alike, and the accounts of the gateway's processes around a window of time.
//!
//! Words like `kind=echo gateway=ADDRESS pid=NUMBER` say what is wanted ([`order`]); the outcome is a
//! line of JSON. Whatever comes otherwise than it should breaks the measurement off.

pub(crate) mod accounts;
pub(crate) mod bridge;
pub(crate) mod client;
mod connection;
mod engine;
pub(crate) mod frames;
mod histogram;
mod idle;
mod order;
pub(crate) mod raw;
pub(crate) mod secure;
mod slope;
mod upstream;
mod windows;

use std::time::Instant;

use self::engine::Engine;
use self::order::{Kind, Order};

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let order = Order::parse(words)?;
    let mut engine = Engine::new(&order)?;
    let outcome = match order.kind {
        Kind::Echo | Kind::Get | Kind::Bridge => windows::closed_loop(&mut engine, &order),
        Kind::Handshake | Kind::Shake => windows::handshakes(&mut engine, &order),
        Kind::Paced => windows::paced(&mut engine, &order),
        Kind::Idle | Kind::Used | Kind::BridgeIdle => idle::run(&mut engine, &order),
    }?;
    println!("{outcome}");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "real durations are measured; there is no tokio clock here"
)]
fn now() -> Instant {
    Instant::now()
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
