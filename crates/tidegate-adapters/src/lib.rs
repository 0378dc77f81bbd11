//! Adapters to systems that somebody else operates.
//!
//! Nothing is here yet: Kafka, Redis and Eureka arrive with the seams they stand on, one feature
//! each. The crate exists so that the direction of the dependencies
//! (`tidegate-server → tidegate-adapters → tidegate → tidegate-ws`) is fixed and checked from the
//! first day.
