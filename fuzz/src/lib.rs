//! What the fuzz targets share: a gateway in memory, an HTTP reader of their own, and the rules by
//! which what the gateway did is judged. `README.md` tells the format of each target's input.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

pub mod certificates;
pub mod frames;
pub mod generate;
pub mod judge;
pub mod message;
pub mod requests;
pub mod responses;
pub mod session;
pub mod tls;
pub mod upgrade;
pub mod world;
