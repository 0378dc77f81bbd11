//! The id of a topic, by which one that was made anew is told from the one before. librdkafka has it; its
//! wrapper has no call for it.
#![expect(
    unsafe_code,
    reason = "a topic that was deleted and made again begins its offsets anew, and would be taken for the old \
              one: a client would be told that it missed nothing"
)]

use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{Consumer as _, StreamConsumer};

use super::context::Context;

/// Which topic it is, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// That one.
    Is(Vec<u8>),
    /// The brokers give topics none: they are older than 2.8.
    HasNone,
    /// They do not say.
    Unsaid,
}

/// What the brokers call a topic.
pub(super) fn of(consumer: &StreamConsumer<Context>, topic: &str, patience: Duration) -> Identity {
    let name = CString::new(topic).ok();
    let patience = c_int::try_from(patience.as_millis()).ok();
    let asked = name.zip(patience);
    let id = asked.and_then(|(name, patience)| ask(consumer, &name, patience));
    match id {
        Some(id) if id == [0; 16] => Identity::HasNone,
        Some(id) => Identity::Is(id.to_vec()),
        None => Identity::Unsaid,
    }
}

fn ask(consumer: &StreamConsumer<Context>, name: &CStr, patience: c_int) -> Option<[u8; 16]> {
    let client = consumer.client().native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: the client outlives this call, because the consumer does. Each thing that is made here is
    // destroyed here, once, and behind the last use of it; the result lives as long as its event. The names are
    // copied by the collection. Nothing else polls the queue.
    unsafe {
        let names = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let kind = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = sys::rd_kafka_AdminOptions_new(client, kind);
        // One that is refused leaves the default, which is longer than we wait.
        sys::rd_kafka_AdminOptions_set_request_timeout(options, patience, ptr::null_mut(), 0);
        let queue = sys::rd_kafka_queue_new(client);
        sys::rd_kafka_DescribeTopics(client, names, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, patience);
        let id = if event.is_null() { None } else { read(event) };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(names);
        id
    }
}

/// The id of the one topic that a result is of.
///
/// # Safety
/// `event` is one that has not been destroyed.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Option<[u8; 16]> {
    // SAFETY: each pointer is looked at before it is followed, and belongs to the event, which lives on.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return None;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id((*topics).cast());
        if id.is_null() {
            return None;
        }
        let high = sys::rd_kafka_Uuid_most_significant_bits(id);
        let low = sys::rd_kafka_Uuid_least_significant_bits(id);
        let mut bytes = [0; 16];
        let (first, last) = bytes.split_at_mut(8);
        first.copy_from_slice(&high.to_be_bytes());
        last.copy_from_slice(&low.to_be_bytes());
        Some(bytes)
    }
}
