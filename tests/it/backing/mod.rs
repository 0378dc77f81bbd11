//! What stands behind several gateways, asked by itself: it starts, answers, and suffers what cases do to
//! it, so that a case which fails says something of the gateway.

mod kafka;
mod links;
mod redis;
