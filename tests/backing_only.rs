#[path = "it/backing/mod.rs"]
mod backing;
