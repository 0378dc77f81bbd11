//! Two and three gateways before real Kafka and Redis, while nodes are killed and stopped, links cut,
//! brokers stopped, and Redis restarted or failed over, as a seed says. From what publishers were answered and clients got, nothing is lost in
//! silence, comes twice or out of order, and nobody is told of a loss for nothing; from what is open in
//! the end, everybody is counted, and was told as that, once.
//!
//! `TIDEGATE_SCHEDULE=<seed>` runs that one alone; `TIDEGATE_SCHEDULES=<count>` so many in place of ten.

mod brokers;
mod clients;
mod doubts;
mod faults;
mod node;
mod publishers;
mod run;
mod settings;
mod settle;
mod store;
mod world;

/// Schedules by themselves.
const SEEDS: u64 = 10;

#[tokio::test]
async fn nothing_is_lost_in_silence_whatever_happens() {
    run::all("nothing_is_lost_in_silence_whatever_happens", SEEDS).await;
}
