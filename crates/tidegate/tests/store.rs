//! The store of one process keeps what every store promises.
#![expect(clippy::unwrap_used, reason = "a test says so")]

#[path = "contract/store.rs"]
mod contract;

use std::sync::Arc;

use tidegate::cluster::MemoryStore;

#[tokio::test]
async fn memory_keeps_the_promises_of_a_store() {
    contract::judge(Arc::new(MemoryStore::default())).await;
}
