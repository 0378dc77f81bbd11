//! Sessions over an in-memory connection, from both sides.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod backpressure;
mod broken;
mod cancel;
mod closing;
mod exchange;
mod half_closed;
mod halves;
mod kit;
mod pings;
mod times;
mod wakers;
