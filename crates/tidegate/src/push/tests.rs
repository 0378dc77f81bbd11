//! What a mailbox holds, and what comes out of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::mailbox::{Mailbox, Offered, Turn};
use super::outcome::{Outcome, Outcomes};
use super::parcel::testing::{parcel, push};
use crate::bus::{EventId, Position, PushClass};
use crate::config::plan::{BridgePlan, BridgePush, PushBuffer, SlowConsumer};
use crate::metrics::PushSource;
use crate::session::id::SessionId;

/// A mailbox of version 1 with room for `outbox` bytes.
fn mailbox(outbox: u64, slow_consumer: SlowConsumer, messages: usize) -> Mailbox {
    let push = BridgePush {
        outbox,
        slow_after: Duration::ZERO,
        slow_consumer,
        buffer: PushBuffer {
            messages,
            ..PushBuffer::default()
        },
    };
    let plan = BridgePlan {
        push,
        ..BridgePlan::default()
    };
    Mailbox::new(Arc::new(plan), true)
}

/// Whose they are.
fn seat() -> SessionId {
    "s_AAAAAAAAAAAAAAAA".parse().unwrap()
}

/// A push that is charged 1,000 bytes, or somewhat more with a key.
fn leave(mailbox: &Mailbox, number: usize, key: Option<&str>) -> Offered {
    let mut push = push("e", &format!("\"{number:0>869}\""));
    push.key = key.map(Into::into);
    mailbox.offer(&parcel(&push, None))
}

/// The `seq` and the number of the next, where there is one.
fn next(mailbox: &Mailbox) -> Option<(u64, usize)> {
    let taken = mailbox.take(seat(), None)?;
    let said: serde_json::Value = serde_json::from_str(taken.frame.as_text()?).unwrap();
    let number = said["data"].as_str()?.parse().unwrap();
    Some((said["seq"].as_u64()?, number))
}

fn rest(mailbox: &Mailbox) -> Vec<(u64, usize)> {
    std::iter::from_fn(|| next(mailbox)).collect()
}

#[test]
fn a_mailbox_with_nothing_in_it_is_small_and_takes_no_more() {
    let size = size_of::<Mailbox>();
    assert!(size <= 264, "{size} bytes");
    let mailbox = mailbox(10_000, SlowConsumer::Close, 256);
    for number in 0..9 {
        assert_eq!(leave(&mailbox, number, None), Offered::Queued);
    }
    assert_eq!(rest(&mailbox).len(), 9);
    assert!(mailbox.held() > 0, "it is kept until it is acked");
    mailbox.ack(9);
    assert_eq!(mailbox.held(), 0);
}

#[test]
fn whoever_has_too_much_is_closed() {
    let mailbox = mailbox(3_000, SlowConsumer::Close, 256);
    for number in 0..3 {
        assert_eq!(leave(&mailbox, number, None), Offered::Queued);
    }
    assert_eq!(leave(&mailbox, 3, None), Offered::Overflowed);
    assert_eq!(leave(&mailbox, 4, None), Offered::Closing);
    assert_eq!(rest(&mailbox), []);
}

#[test]
fn what_is_kept_of_one_that_is_closed_has_a_bound() {
    let mailbox = mailbox(3_000, SlowConsumer::Close, 5);
    for number in 0..1_000 {
        leave(&mailbox, number, None);
    }
    assert!(mailbox.held() <= 8, "{}", mailbox.held());
}

#[test]
fn the_oldest_make_room_and_leave_a_hole() {
    let mailbox = mailbox(3_000, SlowConsumer::DropOldest, 256);
    for number in 0..5 {
        let expected = if number < 3 {
            Offered::Queued
        } else {
            Offered::DroppedOldest
        };
        assert_eq!(leave(&mailbox, number, None), expected);
    }
    assert_eq!(rest(&mailbox), [(3, 2), (4, 3), (5, 4)]);
}

#[test]
fn what_was_sent_makes_no_room() {
    let mailbox = mailbox(2_000, SlowConsumer::DropOldest, 256);
    leave(&mailbox, 0, None);
    assert_eq!(next(&mailbox), Some((1, 0)));
    for number in 1..4 {
        leave(&mailbox, number, None);
    }
    // The first was sent, and is kept until it is acked; of the others two have room.
    assert_eq!(rest(&mailbox), [(3, 2), (4, 3)]);
    assert_eq!(mailbox.held(), 3);
}

/// By the record for several, or published again: it has no place in the user's history, or a later one.
#[test]
fn what_is_replayed_comes_by_no_other_way_as_well() {
    let mailbox = mailbox(10_000, SlowConsumer::Close, 256);
    let parcels: Vec<_> = (0..3)
        .map(|number| parcel(&push("e", &format!("\"{number}\"")), None))
        .collect();
    mailbox.offer(&parcels[1]);
    mailbox.offer(&parcels[2]);
    mailbox.replay(&parcels[..2], Position::new(b"h", 7));
    for parcel in &parcels[..2] {
        assert_eq!(mailbox.offer(parcel), Offered::Queued);
    }
    assert_eq!(rest(&mailbox), [(1, 0), (2, 1), (3, 2)]);
}

#[test]
fn the_newest_of_a_key_is_enough() {
    let mailbox = mailbox(3_000, SlowConsumer::Conflate, 256);
    assert_eq!(leave(&mailbox, 0, Some("a")), Offered::Queued);
    assert_eq!(leave(&mailbox, 1, Some("b")), Offered::Queued);
    for number in 2..100 {
        assert_eq!(leave(&mailbox, number, Some("a")), Offered::Replaced);
    }
    assert_eq!(rest(&mailbox), [(2, 1), (100, 99)]);
    for number in 0..3 {
        assert_eq!(leave(&mailbox, number, None), Offered::Queued);
    }
    assert_eq!(leave(&mailbox, 3, Some("a")), Offered::Overflowed);
}

#[test]
fn one_is_taken_whatever_its_size() {
    let mailbox = mailbox(1, SlowConsumer::Close, 256);
    assert_eq!(leave(&mailbox, 0, None), Offered::Queued);
    assert_eq!(next(&mailbox), Some((1, 0)));
    assert_eq!(leave(&mailbox, 1, None), Offered::Queued);
    assert_eq!(leave(&mailbox, 2, None), Offered::Overflowed);
}

#[test]
fn what_nobody_acks_has_a_bound_and_what_is_live_is_not_kept() {
    let mailbox = mailbox(1_000_000, SlowConsumer::Close, 10);
    for number in 0..100 {
        leave(&mailbox, number, None);
    }
    assert_eq!(rest(&mailbox).len(), 100);
    assert_eq!(mailbox.held(), 10);
    mailbox.ack(u64::MAX);
    let mut live = push("e", "1");
    live.class = PushClass::Live;
    mailbox.offer(&parcel(&live, None));
    assert!(mailbox.take(seat(), None).is_some());
    assert_eq!(mailbox.held(), 0);
}

#[test]
fn who_waits_is_woken_by_the_first() {
    let mailbox = mailbox(10_000, SlowConsumer::Close, 256);
    let cx = Context::from_waker(Waker::noop());
    assert_eq!(mailbox.poll_turn(seat(), &cx), Poll::Pending);
    leave(&mailbox, 0, None);
    assert_eq!(mailbox.poll_turn(seat(), &cx), Poll::Ready(Turn::Send));
}

#[tokio::test]
async fn whoever_can_say_that_it_has_it_is_waited_for() {
    let (outcomes, id) = (Outcomes::default(), EventId::next());
    let mut expected = outcomes.expect(id, PushSource::Api, true);
    let (_, acks) = outcomes.of(id).unwrap();
    let parcel = parcel(&push("e", "1"), acks.clone());
    let plan = Arc::new(BridgePlan::default());
    let old = Mailbox::new(Arc::clone(&plan), false);
    let new: Vec<_> = (0..3)
        .map(|_| Mailbox::new(Arc::clone(&plan), true))
        .collect();
    for mailbox in new.iter().chain([&old]) {
        assert_eq!(mailbox.offer(&parcel), Offered::Queued);
        mailbox.take(seat(), None).unwrap();
    }
    outcomes.tell(id, (4, 0), acks);
    assert_eq!(expected.outcome().await, Some(Outcome::Left(4)));
    new[0].ack(1);
    new[1].ack(0);
    let mut acked = Box::pin(expected.acked());
    assert_eq!((&mut acked).now_or_never(), None);
    // One is gone before it said so, and the old one never will.
    drop(new);
    acked.await;
    assert_eq!(expected.count(), Some(1));
    drop(expected);
    assert!(outcomes.of(id).is_none());
}

/// Another node's question may come behind its event.
#[tokio::test]
async fn what_became_of_the_last_events_is_told_to_who_asks_late() {
    let outcomes = Outcomes::default();
    let routed = |matched| {
        let id = EventId::next();
        let acks = outcomes.unasked(true);
        outcomes.tell(id, (matched, 0), acks.clone());
        (id, acks)
    };
    let (id, acks) = routed(1);
    assert!(acks.is_none(), "nobody asks");
    let asked = outcomes
        .expect_of_another(id, true)
        .outcome()
        .now_or_never();
    assert_eq!(asked, None);
    outcomes.remember();
    let (id, acks) = routed(2);
    let acks = acks.unwrap();
    acks.expect();
    acks.expect();
    acks.settle(true);
    let mut asked = outcomes.expect_of_another(id, true);
    assert_eq!(asked.outcome().now_or_never(), Some(Some(Outcome::Left(2))));
    assert_eq!(asked.acked().now_or_never(), None);
    acks.settle(true);
    asked.acked().await;
    assert_eq!(asked.count(), Some(2));
    for _ in 0..2000 {
        routed(0);
    }
    let asked = outcomes
        .expect_of_another(id, true)
        .outcome()
        .now_or_never();
    assert_eq!(asked, None, "it is forgotten");
}

/// What may happen to a mailbox.
#[derive(Debug, Clone)]
enum Step {
    Leave(Option<u8>),
    Take,
    Ack(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::option::of(0..3_u8).prop_map(Step::Leave),
        2 => Just(Step::Take),
        1 => (0..60_u64).prop_map(Step::Ack),
    ]
}

proptest! {
    /// Whatever happens, numbers only grow, nothing is invented, and no more is held than may be.
    #[test]
    fn numbers_grow_and_nothing_is_invented(
        steps in proptest::collection::vec(step(), 1..200),
        policy in prop_oneof![
            Just(SlowConsumer::Close), Just(SlowConsumer::DropOldest), Just(SlowConsumer::Conflate),
        ],
    ) {
        let mailbox = mailbox(5_000, policy, 7);
        let mut left: VecDeque<(u64, usize)> = VecDeque::new();
        let (mut last, mut number) = (0, 0);
        for step in steps {
            match step {
                Step::Leave(key) => {
                    let key = key.map(|key| key.to_string());
                    leave(&mailbox, number, key.as_deref());
                    left.push_back((number as u64 + 1, number));
                    number += 1;
                }
                Step::Take => {
                    let Some(one) = next(&mailbox) else { continue };
                    prop_assert!(one.0 > last);
                    prop_assert!(left.contains(&one));
                    last = one.0;
                }
                Step::Ack(seq) => mailbox.ack(seq),
            }
            prop_assert!(mailbox.held() <= 5 + 7, "{}", mailbox.held());
        }
    }
}

#[tokio::test]
async fn what_was_told_before_anybody_asked_is_not_counted_as_nothing() {
    let (outcomes, id) = (Outcomes::default(), EventId::next());
    let mut expected = outcomes.expect(id, PushSource::Bus, false);
    outcomes.tell_of_copy(id, 2);
    outcomes.tell(id, (1, 1), None);
    assert_eq!(expected.outcome().await, Some(Outcome::Left(3)));
    let mut late = outcomes.expect(id, PushSource::Bus, false);
    outcomes.tell(id, (0, 1), None);
    assert_eq!(late.outcome().await, None);
    let mut again = outcomes.expect(id, PushSource::Bus, false);
    outcomes.repeat(id);
    assert_eq!(again.outcome().await, Some(Outcome::Repeated));
}
