//! What is kept, and what is said of it.

use std::time::Duration;

use tidegate::bus::{Payload, PushEvent, PushTarget};

use super::*;

const ALL: Bounds = Bounds {
    events: 100,
    bytes: 1 << 20,
};

fn event(user: &str, name: &str) -> Event {
    let data = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
    let push = PushEvent::new([PushTarget::User(user.into())], name, data);
    Event::now("t".into(), Some(user.into()), Payload::Push(Box::new(push)))
}

/// A history of a topic with three partitions, each read from 10 on.
fn history(most: u64) -> History {
    let mut history = History::new(most);
    history.begin(&"t".into(), Some(b"id"), (0..3).map(|number| (number, 10)));
    // All of it was examined.
    for number in 0..3 {
        examined(&mut history, (number, 0), &[], &[]);
    }
    history
}

fn examined(history: &mut History, at: (i32, i64), spans: &[Span], starts: &[(i32, i64)]) {
    let (epoch, _) = history.unexamined("t").unwrap();
    history.examined("t", epoch, at, (spans, starts));
}

/// The user whose partition it is.
fn user_of(number: i32) -> String {
    let users = (0..100).map(|one| format!("u{one}"));
    let mut own = users.filter(|user| murmur::partition(user.as_bytes(), 3) == Some(number));
    own.next().unwrap()
}

fn give(history: &mut History, user: &str, (number, offset): (i32, i64)) -> Option<Position> {
    give_at(history, user, (number, offset), 1_000)
}

/// The same, written so many milliseconds after 1970.
fn give_at(
    history: &mut History,
    user: &str,
    (number, offset): (i32, i64),
    time: i64,
) -> Option<Position> {
    let whose = (user, user.as_bytes());
    let position = history.place("t", whose, (number, offset), time);
    let mut event = event(user, &offset.to_string());
    event.time = UNIX_EPOCH + Duration::from_millis(time.unsigned_abs());
    event.position.clone_from(&position);
    let kept = position.is_some().then(|| Arc::new(event));
    history.given("t", number, offset, kept);
    position
}

fn replayed(history: &History, user: &str, after: &Position) -> Option<Vec<u64>> {
    match history.replay("t", user, after, ALL) {
        Answer::Replay(replay) if replay.is_complete => {
            let events = replay.events.iter();
            let numbers = events.map(|event| event.position.as_ref().unwrap().number());
            Some(numbers.collect())
        }
        Answer::Replay(_) => None,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn a_user_is_told_what_came_behind_its_cursor_and_nobody_elses() {
    let mut history = history(1 << 20);
    let (one, two) = (user_of(1), user_of(2));
    let start = history.end("t", one.as_bytes()).unwrap();
    assert_eq!(start.number(), 10);
    let first = give(&mut history, &one, (1, 10)).unwrap();
    give(&mut history, &two, (2, 10)).unwrap();
    give(&mut history, &one, (1, 13)).unwrap();
    assert_eq!(replayed(&history, &one, &start), Some(vec![11, 14]));
    assert_eq!(replayed(&history, &one, &first), Some(vec![14]));
    let end = history.end("t", one.as_bytes()).unwrap();
    assert_eq!(replayed(&history, &one, &end), Some(vec![]));
    let few = Bounds { events: 1, ..ALL };
    let answer = history.replay("t", &one, &start, few);
    assert!(matches!(answer, Answer::Replay(replay) if !replay.is_complete));
}

#[test]
fn a_cursor_of_another_topic_or_before_more_partitions_is_of_no_use() {
    let mut history = history(1 << 20);
    let one = user_of(1);
    let start = history.end("t", one.as_bytes()).unwrap();
    history.begin(&"t".into(), Some(b"other"), std::iter::empty());
    assert_eq!(replayed(&history, &one, &start), None);
    history.begin(&"t".into(), Some(b"id"), std::iter::empty());
    assert_eq!(replayed(&history, &one, &start), Some(vec![]));
    history.begin(&"t".into(), Some(b"id"), std::iter::once((3, 0)));
    assert_eq!(replayed(&history, &one, &start), None);
}

/// Whoever publishes may know of them earlier, and so may another gateway, of which the cursor is.
#[test]
fn what_came_before_more_partitions_were_known_is_read_again() {
    let users = (0..100).map(|one| format!("u{one}"));
    let home = |user: &String, count| murmur::partition(user.as_bytes(), count);
    let mut moved = users.filter(|user| home(user, 3) == Some(0) && home(user, 5) == Some(1));
    let user = moved.next().unwrap();
    let mut history = history(1 << 20);
    assert_eq!(give(&mut history, &user, (1, 10)), None);
    let all = (0..5).map(|number| (number, if number < 3 { 10 } else { 0 }));
    history.begin(&"t".into(), Some(b"id"), all);
    let before = history.position("t", 1, 9).unwrap();
    let ask = |history: &History| history.replay("t", &user, &before, ALL);
    let asked = ask(&history);
    assert!(
        matches!(
            asked,
            Answer::Examine {
                partition: 1,
                from: 10
            }
        ),
        "{asked:?}"
    );
    examined(&mut history, (1, 10), &[], &[]);
    let asked = ask(&history);
    assert!(
        matches!(
            asked,
            Answer::Read {
                partition: 1,
                from: 10,
                to: 11
            }
        ),
        "{asked:?}"
    );
}

#[test]
fn what_is_forgotten_is_read_again_and_kept_where_there_is_room() {
    let size = event("u1", "10").size();
    // Room for two in each of three partitions.
    let mut history = history((size * 2 * 3 + 100) as u64);
    let one = user_of(1);
    let start = history.end("t", one.as_bytes()).unwrap();
    for offset in 10..13 {
        give(&mut history, &one, (1, offset)).unwrap();
    }
    let answer = history.replay("t", &one, &start, ALL);
    assert!(matches!(
        answer,
        Answer::Read {
            partition: 1,
            from: 10,
            to: 11
        }
    ));
    // There is no room, and it stays as it is.
    let old = vec![(10, Arc::new(event(&one, "10")))];
    history.extend("t", 1, 10, old.clone());
    let answer = history.replay("t", &one, &start, ALL);
    assert!(matches!(answer, Answer::Read { .. }));
    history.most *= 2;
    history.extend("t", 1, 10, old);
    let Answer::Replay(replay) = history.replay("t", &one, &start, ALL) else {
        panic!("it is here");
    };
    assert_eq!((replay.events.len(), replay.is_complete), (3, true));
}

#[test]
fn who_has_a_record_elsewhere_is_told_that_something_may_be_missing() {
    let mut history = history(1 << 20);
    let one = user_of(1);
    let before = history.end("t", one.as_bytes()).unwrap();
    give(&mut history, &one, (1, 10)).unwrap();
    assert_eq!(give(&mut history, &one, (0, 10)), None);
    assert_eq!(replayed(&history, &one, &before), None);
    // Another gateway may have read this one and not that.
    let soon = give_at(&mut history, &one, (1, 11), 1_000 + SKEW).unwrap();
    assert_eq!(replayed(&history, &one, &soon), None);
    let behind = give_at(&mut history, &one, (1, 12), 1_001 + SKEW).unwrap();
    assert_eq!(replayed(&history, &one, &behind), Some(vec![]));
    let two = user_of(2);
    let other = history.end("t", two.as_bytes()).unwrap();
    assert_eq!(replayed(&history, &two, &other), Some(vec![]));
}

#[test]
fn where_too_many_have_records_elsewhere_nobody_is_sure() {
    let mut history = history(1 << 20);
    let users = (0..).map(|one| format!("u{one}"));
    let here = |user: &String| murmur::partition(user.as_bytes(), 3) == Some(1);
    for (offset, user) in (10..).zip(users.filter(here).take(MOST_ASTRAY + 1)) {
        assert_eq!(give_at(&mut history, &user, (0, offset), offset), None);
    }
    let two = user_of(2);
    let other = history.end("t", two.as_bytes()).unwrap();
    assert_eq!(replayed(&history, &two, &other), None);
    history.begin(&"t".into(), Some(b"id"), std::iter::empty());
    assert_eq!(replayed(&history, &two, &other), None);
}

#[test]
fn nobody_is_sure_before_the_other_partitions_are_examined() {
    let mut history = History::new(1 << 20);
    history.begin(&"t".into(), Some(b"id"), (0..3).map(|number| (number, 10)));
    let one = user_of(1);
    let after = history.end("t", one.as_bytes()).unwrap();
    let asks = |history: &History, after: &Position| {
        matches!(
            history.replay("t", &one, after, ALL),
            Answer::Examine { .. }
        )
    };
    assert!(asks(&history, &after));
    let span = |partition, from, to| Span {
        partition,
        from,
        to,
    };
    // One that was jumped over meanwhile, and one that was not looked at.
    examined(&mut history, (1, 10), &[span(0, 5, 9)], &[(0, 5), (2, 10)]);
    assert!(asks(&history, &after));
    examined(&mut history, (1, 10), &[span(0, 5, 10)], &[(0, 5), (2, 10)]);
    assert_eq!(replayed(&history, &one, &after), Some(vec![]));
    let before = Position::new(after.history(), 9);
    assert!(asks(&history, &before));
    history.jump("t", 2, 20);
    assert!(asks(&history, &after));
}

#[test]
fn what_was_published_again_comes_once() {
    let mut history = history(1 << 20);
    let one = user_of(1);
    let start = history.end("t", one.as_bytes()).unwrap();
    let again = event(&one, "again");
    for offset in 10..12 {
        let mut event = again.clone();
        let whose = (&*one, one.as_bytes());
        event.position = history.place("t", whose, (1, offset), 1_000);
        history.given("t", 1, offset, Some(Arc::new(event)));
    }
    assert_eq!(replayed(&history, &one, &start), Some(vec![11]));
}

#[test]
fn who_stood_before_what_the_brokers_lost_is_told_so() {
    let mut history = history(1 << 20);
    let user = user_of(1);
    let given: Vec<_> = (10..20)
        .map(|offset| give(&mut history, &user, (1, offset)).unwrap())
        .collect();
    history.tear("t", 1, (15, 20));
    for position in &given {
        assert_eq!(replayed(&history, &user, position), None, "{position:?}");
    }
    // Other records stand there now, and nobody can tell whose cursors are of which.
    let again: Vec<_> = (15..25)
        .map(|offset| give(&mut history, &user, (1, offset)).unwrap())
        .collect();
    // What was trimmed later hides nothing of that.
    history.jump("t", 1, 25);
    for number in [0, 2] {
        examined(&mut history, (number, 0), &[], &[]);
    }
    examined(&mut history, (1, 0), &[], &[]);
    give(&mut history, &user, (1, 25));
    assert_eq!(replayed(&history, &user, &again[4]), None);
    let behind = history.position("t", 1, 24).unwrap();
    assert_eq!(replayed(&history, &user, &behind), Some(vec![26]));
}

/// The brokers may have lost it; or another gateway was further than this one.
#[test]
fn of_whoever_stands_behind_the_end_the_brokers_are_asked() {
    for partitions in [1, 3] {
        let mut history = History::new(1 << 20);
        history.begin(
            &"t".into(),
            Some(b"id"),
            (0..partitions).map(|one| (one, 10)),
        );
        let ahead = history.position("t", 0, 14).unwrap();
        let ask = |history: &History| history.replay("t", "u", &ahead, ALL);
        let asked = ask(&history);
        assert!(
            matches!(
                asked,
                Answer::Examine {
                    partition: 0,
                    from: 15
                }
            ),
            "{asked:?}"
        );
        examined(&mut history, (0, 15), &[], &[]);
        let told = ask(&history);
        assert!(
            matches!(&told, Answer::Replay(replay) if replay.is_complete),
            "{told:?}"
        );
    }
}
