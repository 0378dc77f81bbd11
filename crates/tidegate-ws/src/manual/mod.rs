//! The manual: nothing in here is code.
//!
//! - [`how_to`]: a server, a client, and what one wants of them;
//! - [`defaults`]: what holds where nothing is said, and why;
//! - [`attacks`]: what others may try, and what becomes of it;
//! - [`guarantees`]: what a program may rely on.

#[doc = include_str!("how_to.md")]
pub mod how_to {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("attacks.md")]
pub mod attacks {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
