use std::sync::Arc;

use futures_util::future::{BoxFuture, join};
use tokio::time::timeout;

use super::super::Teller;
use super::*;
use crate::bus::{MemoryBus, Payload, Subscription, UserConnected};
use crate::config::plan::BusPlan;
use crate::task::Panics;

/// Its topic, its user, and its number.
type Taken = (Arc<str>, Option<Box<str>>, usize);

/// Takes events after a while, but not those of some topics.
#[derive(Debug, Default)]
struct Far {
    refuses: &'static [&'static str],
    /// Takes them in one go.
    delay: Option<Duration>,
    taken: Mutex<Vec<Taken>>,
    most: AtomicUsize,
    busy: AtomicUsize,
}

impl EventBus for Far {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(busy, Ordering::Relaxed);
            if let Some(delay) = self.delay {
                sleep(delay).await;
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
            if self.refuses.contains(&&*event.topic) {
                return Err(BusError::Unreachable);
            }
            let Payload::UserConnected(one) = &event.payload else {
                panic!("{event:?}");
            };
            let number = one.roles.len();
            self.taken
                .lock()
                .unwrap()
                .push((event.topic, event.key, number));
            Ok(())
        })
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        MemoryBus::default().subscribe_to(topics)
    }
}

/// The number stands in the count of roles.
fn leave(outbox: &Outbox, about: About, user: &str, number: usize) {
    let topic = format!("{about:?}").into();
    let roles = vec![Box::from("x"); number].into();
    let user = user.to_owned();
    outbox.leave(about, None, || {
        let payload = UserConnected {
            user: (*user).into(),
            roles,
        };
        Event::now(topic, Some((*user).into()), Payload::UserConnected(payload))
    });
}

fn numbers(bus: &Far, topic: &str, user: &str) -> Vec<usize> {
    let taken = bus.taken.lock().unwrap();
    let its = taken
        .iter()
        .filter(|(of, key, _)| &**of == topic && key.as_deref() == Some(user));
    its.map(|(_, _, number)| *number).collect()
}

#[tokio::test]
async fn a_users_events_stay_in_order_and_many_users_do_not_wait_for_each_other() {
    let bus = Far {
        delay: Some(Duration::from_millis(1)),
        ..Far::default()
    };
    let outbox = Outbox::default();
    for number in 0..10 {
        for user in 0..100 {
            leave(&outbox, About::Coming, &format!("u{user}"), number);
        }
    }
    let all = async {
        while outbox.count(About::Coming) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let end = CancellationToken::new();
    tokio::select! {
        () = outbox.publish_all(&bus, &end) => panic!("it ends by itself"),
        () = all => {}
    }
    for user in 0..100 {
        let its = numbers(&bus, "Coming", &format!("u{user}"));
        assert_eq!(its, (0..10).collect::<Vec<_>>());
    }
    let most = bus.most.load(Ordering::Relaxed);
    assert!((2..=32).contains(&most), "{most}");
}

#[tokio::test]
async fn a_topic_that_is_not_there_holds_up_no_other_and_no_end() {
    let bus = Far {
        refuses: &["Sessions"],
        ..Far::default()
    };
    let (outbox, end) = (Outbox::default(), CancellationToken::new());
    for number in 0..3 {
        leave(&outbox, About::Sessions, "u", number);
        leave(&outbox, About::Coming, "u", number);
    }
    let ends = async {
        while numbers(&bus, "Coming", "u").len() < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        end.cancel();
    };
    let published = join(outbox.publish_all(&bus, &end), ends);
    let ended = timeout(10 * LAST_WORDS, published).await;
    assert!(ended.is_ok(), "the gateway does not end");
    assert_eq!(numbers(&bus, "Coming", "u"), [0, 1, 2]);
    assert_eq!(outbox.count(About::Sessions), 3);
}

#[tokio::test]
async fn what_waits_has_a_bound() {
    let outbox = Outbox::default();
    for number in 0..MOST_KEPT + 5 {
        assert_eq!(
            outbox.count(About::Going) < MOST_WAITING,
            number < MOST_WAITING
        );
        leave(&outbox, About::Going, "u", 0);
    }
    assert_eq!(outbox.count(About::Going), MOST_KEPT);
    assert_eq!(outbox.untold(), 5);
    assert!(!outbox.has_room(&[About::Coming, About::Going]));
    assert!(outbox.has_room(&[About::Sessions]));
    // Those who are there are published, and there is room again.
    let (bus, end) = (Far::default(), CancellationToken::new());
    end.cancel();
    outbox.publish_all(&bus, &end).await;
    assert_eq!(numbers(&bus, "Going", "u").len(), MOST_KEPT);
    assert!(outbox.has_room(&[About::Coming, About::Going]));
}

/// An embedder's own, with a fault.
#[derive(Debug, Default)]
struct Faulty(Mutex<Vec<Box<str>>>);

impl EventBus for Faulty {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            let user = event.key.unwrap();
            assert_ne!(&*user, "bad", "planted");
            self.0.lock().unwrap().push(user);
            Ok(())
        })
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        MemoryBus::default().subscribe_to(topics)
    }

    fn is_watched(&self, _topic: &str) -> bool {
        true
    }
}

#[tokio::test]
async fn a_bus_that_panics_is_asked_again() {
    let (bus, panics) = (Arc::new(Faulty::default()), Arc::new(Panics::default()));
    let teller = Arc::new(Teller::new(
        Arc::clone(&bus) as _,
        &BusPlan::default(),
        None,
    ));
    let telling = teller.start(Arc::clone(&panics)).unwrap();
    for user in ["one", "bad", "two", "bad", "three"] {
        teller.online(user, &[].into(), std::time::SystemTime::UNIX_EPOCH);
    }
    drop(telling);
    assert_eq!(
        **bus.0.lock().unwrap(),
        ["one", "two", "three"].map(Box::from)
    );
    assert_eq!(
        (panics.count(), teller.untold(), teller.waiting()),
        (2, 2, 0)
    );
}
