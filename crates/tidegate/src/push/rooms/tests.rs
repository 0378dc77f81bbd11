use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::*;
use crate::auth::Identity;
use crate::bus::{Event, Payload, PushEvent};
use crate::config::plan::{BridgePlan, BridgePush, RoomHistory};
use crate::session::id::SessionId;

fn rooms(history: Option<RoomHistory>) -> Rooms {
    Rooms::new(RoomsPlan {
        history,
        ..RoomsPlan::default()
    })
}

fn history(messages: usize, memory: u64) -> Option<RoomHistory> {
    Some(RoomHistory {
        messages,
        memory,
        ..RoomHistory::default()
    })
}

/// Whose they are.
fn seat() -> SessionId {
    "s_AAAAAAAAAAAAAAAA".parse().unwrap()
}

fn mailbox() -> Arc<Mailbox> {
    let push = BridgePush {
        outbox: 1 << 30,
        ..BridgePush::default()
    };
    let plan = BridgePlan {
        push,
        ..BridgePlan::default()
    };
    Arc::new(Mailbox::new(Arc::new(plan), true))
}

/// Publishes `data` to a room; to how many, and how often it was made a parcel.
fn publish(rooms: &Rooms, room: &str, data: usize) -> (usize, usize) {
    let push = PushEvent::new([], "e", to_raw_value(&data).unwrap());
    let event = Event::now("t".into(), None, Payload::Push(Box::new(push.clone())));
    let (mut told, mut made) = (0, 0);
    let parcel = |place| {
        made += 1;
        Parcel::in_room(&event, &push, None, place)
    };
    rooms.publish(room, false, parcel, &mut |mailbox, parcel| {
        mailbox.offer(parcel);
        told += 1;
    });
    (told, made)
}

/// What a client would be sent now.
fn sent(mailbox: &Mailbox) -> Vec<Value> {
    let taken = std::iter::from_fn(|| mailbox.take(seat(), None));
    taken
        .map(|taken| serde_json::from_slice(taken.frame.payload()).unwrap())
        .collect()
}

fn numbers(mailbox: &Mailbox) -> Vec<u64> {
    let sent = sent(mailbox);
    sent.iter()
        .map(|push| push["at"]["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_push_is_made_once_for_all_members() {
    let rooms = rooms(None);
    assert_eq!(publish(&rooms, "r", 0), (0, 0), "nobody would see it");
    let members: Vec<_> = (0..5000)
        .map(|_| (mailbox(), Memberships::default()))
        .collect();
    for (mailbox, mine) in &members {
        mine.enter(&rooms, "r", mailbox, &Subscribing::default())
            .unwrap();
    }
    assert_eq!(publish(&rooms, "r", 1), (5000, 1));
    for (mailbox, _) in &members {
        let sent = sent(mailbox);
        assert_eq!((sent.len(), &sent[0]["data"]), (1, &Value::from(1)));
    }
    assert_eq!(rooms.counts(), [1, 5000]);
    for (mailbox, mine) in &members {
        mine.leave_all(&rooms, mailbox);
    }
    assert_eq!(rooms.counts(), [0, 0]);
    assert!(rooms.state("r").is_none() && rooms.is_quiet());
}

#[test]
fn a_crowd_that_comes_at_once_is_told_in_one_frame_each() {
    let rooms = rooms(None);
    let members: Vec<_> = (0..500)
        .map(|_| (mailbox(), Memberships::default()))
        .collect();
    for (number, (mailbox, mine)) in members.iter().enumerate() {
        let user = Arc::new(Identity::without_token(&format!("u{number}")));
        let wish = Subscribing {
            shown: Some(&user),
            sees: true,
            since: None,
        };
        mine.enter(&rooms, "r", mailbox, &wish).unwrap();
        assert!(mailbox.take(seat(), None).is_none(), "it is told later");
    }
    rooms.tell_changes();
    for (mailbox, _) in &members {
        let sent = sent(mailbox);
        let [change] = sent.as_slice() else {
            unreachable!("{} frames", sent.len());
        };
        assert_eq!(change["join"].as_array().unwrap().len(), 500);
    }
    assert!(rooms.is_quiet(), "nothing wakes anybody any more");
}

#[test]
fn memory_of_all_rooms_is_bounded_and_the_oldest_goes_first() {
    let rooms = rooms(history(3, 20_000));
    for number in 0..1000 {
        publish(&rooms, &format!("r{}", number % 100), number);
    }
    let [open, _] = rooms.counts();
    assert!((5..40).contains(&open), "{open}");
    assert!(rooms.state("r99").is_some_and(|state| state.kept == 1));
    assert!(rooms.state("r0").is_none());
    for number in 0..10 {
        publish(&rooms, "r99", number);
    }
    let state = rooms.state("r99").unwrap();
    assert_eq!((state.kept, state.seq), (3, 11));
    let (mailbox, mine) = (mailbox(), Memberships::default());
    let since = |seq| Subscribing {
        since: Some(Since {
            epoch: Some(state.epoch),
            seq,
        }),
        ..Subscribing::default()
    };
    assert!(
        !mine
            .enter(&rooms, "r99", &mailbox, &since(7))
            .unwrap()
            .recovered
    );
    mine.leave_all(&rooms, &mailbox);
    assert!(
        mine.enter(&rooms, "r99", &mailbox, &since(8))
            .unwrap()
            .recovered
    );
    assert_eq!(numbers(&mailbox), [9, 10, 11]);
}

#[test]
fn rooms_that_were_left_are_remembered_up_to_a_bound() {
    let rooms = rooms(history(1, 1 << 20));
    let (mailbox, mine) = (mailbox(), Memberships::default());
    for number in 0..20_000 {
        let room = format!("r{number}");
        mine.enter(&rooms, &room, &mailbox, &Subscribing::default())
            .unwrap();
        mine.leave(&rooms, &room, &mailbox);
    }
    assert_eq!(rooms.counts(), [16_384, 0]);
}

/// Members come and go while pushes are told, and say up to where they have everything: none has a hole
/// that it was not told of, nothing twice, nothing out of order.
#[test]
fn who_comes_and_goes_misses_nothing_unsaid() {
    const PUSHES: usize = 3000;
    let rooms = Arc::new(rooms(history(64, 1 << 20)));
    // How many pushes there were, once that was all.
    let all = Arc::new(AtomicUsize::new(0));
    let recovered: Arc<[AtomicBool; 3]> = Arc::default();
    let goers: Vec<_> = (0..3)
        .map(|goer| {
            let (rooms, all) = (Arc::clone(&rooms), Arc::clone(&all));
            let recovered = Arc::clone(&recovered);
            thread::spawn(move || {
                let mailbox = mailbox();
                let mine = Memberships::default();
                let mut last: Option<Since> = None;
                loop {
                    let all = all.load(Ordering::Acquire);
                    let wish = Subscribing {
                        since: last,
                        ..Subscribing::default()
                    };
                    let told = mine.enter(&rooms, "r", &mailbox, &wish).unwrap();
                    let mut seq = match last.filter(|_| told.recovered) {
                        Some(since) => since.seq,
                        None => told.seq,
                    };
                    recovered[goer].fetch_or(told.recovered, Ordering::Relaxed);
                    thread::yield_now();
                    mine.leave(&rooms, "r", &mailbox);
                    for number in numbers(&mailbox) {
                        assert_eq!(number, seq + 1);
                        seq = number;
                    }
                    assert!(seq >= told.seq);
                    last = Some(Since {
                        epoch: Some(told.epoch),
                        seq,
                    });
                    if all > 0 {
                        assert_eq!(seq, all as u64);
                        return;
                    }
                }
            })
        })
        .collect();
    let mut count = 0;
    // On a machine that does much else one may be away for longer than is kept.
    while count < PUSHES || !recovered.iter().all(|one| one.load(Ordering::Relaxed)) {
        publish(&rooms, "r", count);
        count += 1;
        if count.is_multiple_of(50) {
            thread::sleep(Duration::from_micros(200));
        }
        assert!(count < 1000 * PUSHES, "nobody recovers");
    }
    all.store(count, Ordering::Release);
    for goer in goers {
        goer.join().unwrap();
    }
}
