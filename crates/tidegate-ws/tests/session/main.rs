//! Sessions over an in-memory connection, from both sides.

mod backpressure;
mod cancel;
mod closing;
mod exchange;
mod halves;
mod kit;
mod times;
