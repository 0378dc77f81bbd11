//! Configuration.
pub mod plan;
pub use plan::Plan;
