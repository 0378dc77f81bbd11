//! The bus of one process keeps what every bus promises.
#![expect(clippy::unwrap_used, reason = "a test says so")]

#[path = "contract/bus.rs"]
mod contract;

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tidegate::bus::{Event, EventBus, MemoryBus, Payload, PushEvent, PushTarget, Subscription};

struct Memory {
    bus: MemoryBus,
    topic: Arc<str>,
    full: Mutex<Option<Subscription>>,
}

impl contract::Judged for Memory {
    fn bus(&self) -> &dyn EventBus {
        &self.bus
    }

    fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn another(&self) -> Arc<dyn EventBus> {
        Arc::new(MemoryBus::default())
    }

    fn shares_history(&self) -> bool {
        false
    }

    /// Somebody needs all and takes nothing.
    fn harm(&self) -> BoxFuture<'_, ()> {
        let needs_all = self.bus.subscribe_to(&[&self.topic, "aside"]);
        *self.full.lock().unwrap() = Some(needs_all.holding_back());
        let data = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
        let push = PushEvent::new([PushTarget::All], "aside", data);
        let payload = Payload::Push(Box::new(push));
        let aside = || Event::now("aside".into(), None, payload.clone());
        while self.bus.publish(aside()).now_or_never() == Some(Ok(())) {}
        Box::pin(ready(()))
    }

    fn mend(&self) -> BoxFuture<'_, ()> {
        *self.full.lock().unwrap() = None;
        Box::pin(ready(()))
    }
}

#[tokio::test]
async fn memory_keeps_the_promises_of_a_bus() {
    let memory = Memory {
        bus: MemoryBus::default(),
        topic: "pushes".into(),
        full: Mutex::default(),
    };
    contract::judge(&memory).await;
}
