//! What every bus promises, whatever carries it. Included where there is one to be judged.
#![expect(
    clippy::cognitive_complexity,
    clippy::panic,
    reason = "it reads from top to bottom, and fails where it cannot go on"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde_json::value::RawValue;
use tidegate::bus::{
    Bounds, BusError, Event, EventBus, EventId, Payload, Position, PushClass, PushEvent,
    PushTarget, Received, Replay, Subscription,
};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// More than there is room for with one subscriber.
const RUSH: usize = 16_384 + 100;
const ALL: Bounds = Bounds {
    events: 1_000,
    bytes: 1 << 20,
};

/// What is judged.
pub(crate) trait Judged {
    /// The bus of one process.
    fn bus(&self) -> &dyn EventBus;

    /// The topic of pushes, at which nobody else is.
    fn topic(&self) -> &Arc<str>;

    /// That of another process, which has started now.
    fn another(&self) -> Arc<dyn EventBus>;

    /// Whether that knows the history of the first.
    fn shares_history(&self) -> bool;

    /// From now on nothing is accepted.
    fn harm(&self) -> BoxFuture<'_, ()>;

    /// From now on all is well again.
    fn mend(&self) -> BoxFuture<'_, ()>;
}

/// All of it.
pub(crate) async fn judge(judged: &dyn Judged) {
    subscribers_see_what_comes_after_them_in_one_order(judged).await;
    only_what_is_kept_for_a_user_has_a_position(judged).await;
    what_was_missed_comes_again(judged).await;
    nothing_is_said_of_another_history(judged).await;
    who_lags_is_told_how_much_it_missed(judged).await;
    who_holds_back_misses_nothing_that_was_accepted(judged).await;
    who_is_gone_holds_nobody_up(judged).await;
    what_was_refused_may_be_published_again(judged).await;
}

fn push(users: &[&str], name: &str) -> PushEvent {
    let data = RawValue::from_string(format!("{{\"of\": {name:?}}}")).unwrap();
    let targets = users.iter().map(|user| PushTarget::User((*user).into()));
    PushEvent::new(targets.collect::<Vec<_>>(), name, data)
}

/// An event as the gateway makes it: what is for one user keeps its order there.
fn event_of(judged: &dyn Judged, push: PushEvent) -> Event {
    let key = match &*push.targets {
        [PushTarget::User(user)] => Some(user.clone()),
        _ => None,
    };
    let payload = Payload::Push(Box::new(push));
    Event::now(Arc::clone(judged.topic()), key, payload)
}

fn event(judged: &dyn Judged, users: &[&str], name: &str) -> Event {
    event_of(judged, push(users, name))
}

async fn publish(judged: &dyn Judged, users: &[&str], name: &str) -> EventId {
    let event = event(judged, users, name);
    let id = event.id;
    judged.bus().publish(event).await.unwrap();
    id
}

async fn received(subscription: &mut Subscription) -> Received {
    let received = timeout(DEADLINE, subscription.receive()).await;
    received.expect("something comes").expect("it goes on")
}

async fn next(subscription: &mut Subscription) -> Arc<Event> {
    match received(subscription).await {
        Received::Event(event) => event,
        Received::Missed(count) => panic!("{count} were missed"),
    }
}

fn name(event: &Event) -> &str {
    match &event.payload {
        Payload::Push(push) => &push.event,
        other => panic!("{other:?}"),
    }
}

fn names(replay: &Replay) -> Option<Vec<&str>> {
    let names = replay.events.iter().map(|event| name(event));
    replay.is_complete.then(|| names.collect())
}

async fn replay(judged: &dyn Judged, user: &str, after: &Position, most: Bounds) -> Replay {
    let replay = judged.bus().replay(judged.topic(), user, after, most);
    timeout(DEADLINE, replay).await.unwrap().unwrap()
}

/// Where a user's history ends, once that is known.
async fn end(bus: &dyn EventBus, topic: &str, user: &str) -> Position {
    let begun = Instant::now();
    loop {
        if let Some(end) = bus.end(topic, user) {
            return end;
        }
        assert!(begun.elapsed() < DEADLINE, "nobody knows the end of {user}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn subscribers_see_what_comes_after_them_in_one_order(judged: &dyn Judged) {
    let bus = judged.bus();
    let mut one = bus.subscribe(judged.topic());
    let mut elsewhere = bus.subscribe("aside");
    publish(judged, &["a"], "before").await;
    assert_eq!(name(&*next(&mut one).await), "before");
    let mut two = bus.subscribe(judged.topic());
    let mut published = Vec::new();
    for number in 0..10 {
        for user in ["a", "b"] {
            let told = format!("{user} {number}");
            published.push((publish(judged, &[user], &told).await, told));
        }
    }
    for subscription in [&mut one, &mut two] {
        let mut seen = Vec::new();
        for _ in &published {
            let event = next(subscription).await;
            seen.push((event.id, name(&event).to_owned()));
        }
        for user in ["a", "b"] {
            let of_user = |all: &[(EventId, String)]| {
                let all = all.iter().filter(|(_, name)| name.starts_with(user));
                all.cloned().collect::<Vec<_>>()
            };
            assert_eq!(of_user(&seen), of_user(&published), "{user}");
        }
        assert!(subscription.try_receive().is_none());
    }
    assert!(elsewhere.try_receive().is_none());
    assert!(bus.is_watched(judged.topic()));
    assert!(bus.state().is_ready);
}

async fn only_what_is_kept_for_a_user_has_a_position(judged: &dyn Judged) {
    let mut looking = judged.bus().subscribe(judged.topic());
    publish(judged, &["p"], "first").await;
    publish(judged, &["p"], "second").await;
    let (first, second) = (next(&mut looking).await, next(&mut looking).await);
    assert!(first.position < second.position, "{first:?} {second:?}");
    assert!(first.position.is_some());
    let mut live = push(&["p"], "live");
    live.class = PushClass::Live;
    let mut to_room = push(&[], "to a room");
    to_room.targets = [PushTarget::Room("r".into())].into();
    for push in [live, to_room] {
        let published = event_of(judged, push);
        let id = published.id;
        judged.bus().publish(published).await.unwrap();
        let event = next(&mut looking).await;
        assert_eq!((event.id, &event.position), (id, &None), "{event:?}");
    }
}

async fn what_was_missed_comes_again(judged: &dyn Judged) {
    let (bus, topic) = (judged.bus(), judged.topic());
    let mut looking = bus.subscribe(topic);
    let begin = end(bus, topic, "u").await;
    assert_eq!(names(&replay(judged, "u", &begin, ALL).await), Some(vec![]));
    let mut positions = Vec::new();
    for told in ["one", "two"] {
        publish(judged, &["u"], told).await;
        positions.push(next(&mut looking).await.position.clone().unwrap());
        publish(judged, &["v"], "not for u").await;
        next(&mut looking).await;
    }
    let both = publish(judged, &["u", "v"], "both").await;
    assert_eq!(next(&mut looking).await.id, both);
    // Each of them has it in its order, whoever else does.
    publish(judged, &["u"], "last").await;
    let last = next(&mut looking).await.position.clone().unwrap();
    let all = replay(judged, "u", &begin, ALL).await;
    assert_eq!(names(&all), Some(vec!["one", "two", "both", "last"]));
    assert_eq!(all.events[2].id, both);
    let of_all = all.events.iter().map(|event| event.position.as_ref());
    assert!(of_all.is_sorted(), "{all:?}");
    let rest = replay(judged, "u", &positions[1], ALL).await;
    assert_eq!(names(&rest), Some(vec!["both", "last"]));
    let behind_both = all.events[2].position.as_ref().unwrap();
    let rest = replay(judged, "u", behind_both, ALL).await;
    assert_eq!(names(&rest), Some(vec!["last"]));
    for few in [Bounds { events: 3, ..ALL }, Bounds { bytes: 100, ..ALL }] {
        assert!(
            !replay(judged, "u", &begin, few).await.is_complete,
            "{few:?}"
        );
    }
    // The end is never behind what nobody has seen.
    assert_eq!(names(&replay(judged, "u", &last, ALL).await), Some(vec![]));
    let end = end(bus, topic, "u").await;
    assert_eq!(names(&replay(judged, "u", &end, ALL).await), Some(vec![]));
    // Whoever has never got anything has missed nothing.
    let none = crate::contract::end(bus, topic, "nobody").await;
    assert_eq!(
        names(&replay(judged, "nobody", &none, ALL).await),
        Some(vec![])
    );
}

async fn nothing_is_said_of_another_history(judged: &dyn Judged) {
    // A history is that of a topic that somebody subscribes to.
    let _subscribes = judged.bus().subscribe(judged.topic());
    let begin = end(judged.bus(), judged.topic(), "w").await;
    publish(judged, &["w"], "told").await;
    for history in [&b""[..], b"other", &[0; 12]] {
        let strange = Position::new(history, begin.number());
        assert!(!replay(judged, "w", &strange, ALL).await.is_complete);
    }
    let another = judged.another();
    let mut looking = another.subscribe(judged.topic());
    end(&*another, judged.topic(), "w").await;
    let again = another.replay(judged.topic(), "w", &begin, ALL);
    let again = timeout(DEADLINE, again).await.unwrap().unwrap();
    let known = judged.shares_history().then(|| vec!["told"]);
    assert_eq!(names(&again), known, "{again:?}");
    assert!(looking.try_receive().is_none(), "that was before it");
}

async fn who_lags_is_told_how_much_it_missed(judged: &dyn Judged) {
    let mut slow = judged.bus().subscribe(judged.topic());
    let mut quick = judged.bus().subscribe(judged.topic());
    let mut left = RUSH;
    while left > 0 {
        let some = left.min(1_000);
        let publishing = (0..some).map(|_| judged.bus().publish(event(judged, &["l"], "rush")));
        assert!(join_all(publishing).await.iter().all(Result::is_ok));
        for _ in 0..some {
            next(&mut quick).await;
        }
        left -= some;
    }
    let mut told = 0;
    while told < RUSH {
        told += match received(&mut slow).await {
            Received::Event(_) => 1,
            Received::Missed(count) => {
                assert_eq!(told, 16_384, "it has had all for which there was room");
                usize::try_from(count).unwrap()
            }
        };
    }
    assert_eq!(told, RUSH);
}

async fn who_holds_back_misses_nothing_that_was_accepted(judged: &dyn Judged) {
    let mut needs_all = judged.bus().subscribe(judged.topic()).holding_back();
    let mut accepted = Vec::new();
    let events = (0..RUSH).map(|_| event(judged, &["h"], "all of it"));
    let events: Vec<_> = events.collect();
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let publishing = events.into_iter().map(|event| judged.bus().publish(event));
    for (id, published) in ids.into_iter().zip(join_all(publishing).await) {
        match published {
            Ok(()) => accepted.push(id),
            Err(error) => assert_eq!(error, BusError::Full),
        }
    }
    for id in accepted {
        assert_eq!(next(&mut needs_all).await.id, id);
    }
    let last = publish(judged, &["h"], "last").await;
    assert_eq!(next(&mut needs_all).await.id, last);
}

async fn who_is_gone_holds_nobody_up(judged: &dyn Judged) {
    let mut looking = judged.bus().subscribe(judged.topic());
    drop(judged.bus().subscribe(judged.topic()).holding_back());
    let published = publish(judged, &["g"], "on").await;
    assert_eq!(next(&mut looking).await.id, published);
    drop(looking);
    publish(judged, &["g"], "for nobody").await;
    let mut looking = judged.bus().subscribe(judged.topic());
    let published = publish(judged, &["g"], "on").await;
    loop {
        // Somebody may come back before it was known that nobody was there.
        let event = next(&mut looking).await;
        if event.id == published {
            return;
        }
        assert_eq!(name(&event), "for nobody");
    }
}

async fn what_was_refused_may_be_published_again(judged: &dyn Judged) {
    let mut looking = judged.bus().subscribe(judged.topic());
    publish(judged, &["r"], "before").await;
    next(&mut looking).await;
    judged.harm().await;
    let refused = event(judged, &["r"], "refused");
    let error = judged.bus().publish(refused.clone()).await.unwrap_err();
    assert!(
        matches!(error, BusError::Full | BusError::Unreachable),
        "{error}"
    );
    judged.mend().await;
    let begun = Instant::now();
    while let Err(error) = judged.bus().publish(refused.clone()).await {
        assert!(begun.elapsed() < DEADLINE, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
    let after = publish(judged, &["r"], "after").await;
    let mut seen = Vec::new();
    while seen.last() != Some(&after) {
        seen.push(next(&mut looking).await.id);
    }
    // Nobody knew whether it was published; but it is the same one.
    let (_after, again) = seen.split_last().unwrap();
    assert!(
        !again.is_empty() && again.iter().all(|id| *id == refused.id),
        "{seen:?}"
    );
}
