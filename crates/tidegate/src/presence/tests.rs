use std::collections::HashMap;
use std::thread;

use super::*;
use crate::bus::{EventBus as _, MemoryBus, Payload, Received, Subscription};
use crate::config::plan::BusPlan;
use crate::handler::Handlers;
use crate::session::clock::Clock;
use crate::session::registry::{Registered, Registry};
use crate::session::testing::{facts_of, plan_with};
use crate::session::{Cause, Initiator};
use crate::tls::Loaded;
use crate::worker::Core;

/// Two workers' registries with one directory, and who looks on at the bus.
struct House {
    core: Core,
    registries: [Arc<Registry>; 2],
    clock: Clock,
    telling: Option<Telling>,
    looking: Subscription,
}

impl House {
    fn with(limits: &str, of_route: &str) -> Self {
        let bus = Arc::new(MemoryBus::default());
        let plan = BusPlan::default();
        let topics = &plan.topics;
        let looking = bus.subscribe_to(&[
            &topics.sessions,
            &topics.user_connect,
            &topics.user_disconnect,
        ]);
        let teller = Arc::new(Teller::new(bus, &plan, None));
        let telling = Some(teller.start(Arc::default()).unwrap());
        let plan = plan_with(limits, of_route);
        let (tls, handlers) = (Loaded::default(), Handlers::default());
        let core = Core::build(&plan, &tls, &handlers, teller).unwrap();
        let registry = || Arc::new(Registry::new(Arc::clone(core.directory())));
        Self {
            registries: [registry(), registry()],
            clock: Clock::default(),
            telling,
            looking,
            core,
        }
    }

    fn new() -> Self {
        Self::with("", "")
    }

    fn open_at(&self, worker: usize, user: Option<&str>, client: [u8; 4]) -> Registered {
        let registry = &self.registries[worker];
        let facts = facts_of(&self.core, user, client);
        let roles: Roles = ["user".into()].into();
        registry.register(registry.connection_id(), facts, Some(&roles), &self.clock)
    }

    fn open(&self, user: &str) -> Registered {
        self.open_at(0, Some(user), [127, 0, 0, 1])
    }

    fn directory(&self) -> &Directory {
        self.core.directory()
    }

    /// What was told until now, in short words; nothing is told any more.
    fn told(&mut self) -> Vec<String> {
        self.telling = None;
        let received = std::iter::from_fn(|| self.looking.try_receive());
        received.map(|one| told(&one)).collect()
    }
}

fn told(received: &Received) -> String {
    let Received::Event(event) = received else {
        return format!("{received:?}");
    };
    match &event.payload {
        Payload::SessionOpened(opened) => {
            let user = opened.user.as_deref().unwrap_or("-");
            format!("opened {user}")
        }
        Payload::SessionClosed(closed) => {
            let user = closed.user.as_deref().unwrap_or("-");
            format!("closed {user} {} {}", closed.code, closed.cause.label())
        }
        Payload::UserConnected(user) => format!("online {} {:?}", user.user, user.roles),
        Payload::UserDisconnected(user) => format!("offline {} {}", user.user, user.is_timeout),
        other => format!("{other:?}"),
    }
}

fn close(session: Registered, code: u16, cause: Cause) {
    let handle = session.handle();
    handle.publish_closed((code, cause, Initiator::Client));
    drop(session);
}

#[test]
fn a_user_is_online_from_the_first_session_to_the_last() {
    let mut house = House::new();
    let one = house.open("u1");
    let two = house.open_at(1, Some("u1"), [127, 0, 0, 1]);
    let nobody = house.open_at(1, None, [127, 0, 0, 1]);
    assert_eq!(house.directory().online(), 1);
    assert_eq!(house.directory().sessions("u1").len(), 2);
    close(one, 1001, Cause::IdleTimeout);
    assert_eq!(house.directory().online(), 1);
    close(two, 1000, Cause::ClientClose);
    assert_eq!(house.directory().online(), 0);
    drop(nobody);
    let again = house.open("u1");
    close(again, 1001, Cause::IdleTimeout);
    let expected = [
        "opened u1",
        "online u1 [\"user\"]",
        "opened u1",
        "opened -",
        "closed u1 1001 idle_timeout",
        "closed u1 1000 client_close",
        // Not the last one ended by idleness.
        "offline u1 false",
        "closed - 1006 internal",
        "opened u1",
        "online u1 [\"user\"]",
        "closed u1 1001 idle_timeout",
        "offline u1 true",
    ];
    assert_eq!(house.told(), expected);
}

#[test]
fn however_they_come_and_go_each_is_told_of_once_and_nobody_stays() {
    let mut house = House::new();
    let shared = &house;
    thread::scope(|scope| {
        for worker in 0..4 {
            scope.spawn(move || {
                let mut open = Vec::new();
                for round in 0..500 {
                    let user = format!("u{}", fastrand::u8(0..7));
                    open.push(shared.open_at(worker % 2, Some(&user), [127, 0, 0, 1]));
                    if round % 3 == 0 {
                        open.swap_remove(fastrand::usize(0..open.len()));
                    }
                }
                let online = shared.directory().online();
                assert!((1..=7).contains(&online), "{online}");
            });
        }
    });
    assert_eq!(house.directory().online(), 0);
    assert_eq!(house.directory().page("", 100), []);
    let mut open: HashMap<Box<str>, bool> = HashMap::new();
    let mut online: HashMap<Arc<str>, bool> = HashMap::new();
    let (mut closed, mut offline) = (0, 0);
    house.telling = None;
    while let Some(received) = house.looking.try_receive() {
        let Received::Event(event) = received else {
            panic!("{received:?}");
        };
        match &event.payload {
            Payload::SessionOpened(opened) => {
                let before = open.insert(opened.session.clone(), true);
                assert_eq!(before, None, "an id that was there before");
            }
            Payload::SessionClosed(one) => {
                assert_eq!(open.insert(one.session.clone(), false), Some(true));
                closed += 1;
            }
            Payload::UserConnected(user) => {
                let before = online.insert(Arc::clone(&user.user), true);
                assert_ne!(before, Some(true), "online twice");
            }
            Payload::UserDisconnected(user) => {
                assert_eq!(online.insert(Arc::clone(&user.user), false), Some(true));
                offline += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(closed, 2000);
    assert!(offline >= 7, "{offline}");
    assert!(!open.values().any(|is_open| *is_open));
    assert!(!online.values().any(|is_online| *is_online));
}

#[test]
fn users_stand_page_by_page_in_the_order_of_their_names() {
    let house = House::new();
    let names: Vec<_> = (100..350).map(|number| format!("u{number}")).collect();
    let sessions: Vec<_> = names.iter().map(|name| house.open(name)).collect();
    let (mut seen, mut after) = (Vec::new(), Box::from(""));
    loop {
        let page = house.directory().page(&after, 100);
        let Some(last) = page.last() else { break };
        after = last.user.clone();
        seen.extend(page.into_iter().map(|one| one.user.into_string()));
    }
    assert_eq!(seen, names);
    drop(sessions);
    assert_eq!(house.directory().page("", 1), []);
}

#[test]
fn whose_session_it_is_may_be_known_late() {
    let house = House::new();
    let late = house.open_at(0, None, [127, 0, 0, 1]);
    house.directory().identify(late.handle(), None);
    assert_eq!(house.directory().online(), 0);
    drop(late);
}

/// Which of them were told to go, and why.
fn orders(sessions: &[Registered]) -> Vec<Option<Cause>> {
    let orders = sessions.iter().map(|one| one.handle().take_orders().end);
    orders.collect()
}

const GO: Option<Cause> = Some(Cause::Replaced);

#[test]
fn one_too_many_of_a_user_sends_the_oldest_away() {
    let route = "limits: { max_sessions_per_user: 2, over: evict_oldest }, ";
    let house = House::with("", route);
    let mut hers: Vec<_> = (0..3).map(|_| house.open("u1")).collect();
    let other = house.open("u2");
    assert_eq!(orders(&hers), [GO, None, None]);
    hers.push(house.open("u1"));
    assert_eq!(orders(&hers), [None, GO, None, None], "each once");
    // One that goes by itself makes room, one that was sent away does not count.
    drop(hers.drain(2..3));
    drop(hers.drain(..1));
    hers.push(house.open("u1"));
    assert_eq!(orders(&hers), [None, None, None]);
    assert_eq!(orders(&[other]), [None]);
}

#[test]
fn one_too_many_of_all_or_of_a_client_sends_the_oldest_away() {
    let limits = "limits: { max_sessions: 3, max_sessions_per_address: 2, over: evict_oldest }\n";
    let house = House::with(limits, "");
    let open = |client| house.open_at(1, None, [192, 0, 2, client]);
    let mut sessions = vec![open(1), open(2), open(1)];
    assert_eq!(orders(&sessions), [None; 3]);
    sessions.push(open(1));
    assert_eq!(orders(&sessions), [GO, None, None, None], "the client's");
    sessions.push(open(3));
    assert_eq!(orders(&sessions), [None, GO, None, None, None], "of all");
    sessions.clear();
    let sessions = [open(1), open(1)];
    assert_eq!(orders(&sessions), [None; 2]);
}

/// A bus that takes nothing until it is told to.
#[derive(Debug, Default)]
struct Stuck {
    bus: MemoryBus,
    is_free: std::sync::atomic::AtomicBool,
}

impl crate::bus::EventBus for Stuck {
    fn publish(
        &self,
        event: crate::bus::Event,
    ) -> futures_util::future::BoxFuture<'_, Result<(), crate::bus::BusError>> {
        if self.is_free.load(Ordering::Relaxed) {
            return self.bus.publish(event);
        }
        Box::pin(std::future::ready(Err(crate::bus::BusError::Unreachable)))
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        self.bus.subscribe_to(topics)
    }
}

#[tokio::test]
async fn who_is_not_told_of_at_first_is_not_told_of_at_the_end() {
    let bus = Arc::new(Stuck::default());
    let plan = BusPlan::default();
    let looking = bus.subscribe_to(&[&plan.topics.sessions, &plan.topics.user_disconnect]);
    let mut looking = looking.holding_back();
    let teller = Arc::new(Teller::new(Arc::clone(&bus) as _, &plan, None));
    let core = Core::build(
        &plan_with("", ""),
        &Loaded::default(),
        &Handlers::default(),
        Arc::clone(&teller),
    );
    let core = core.unwrap();
    let registry = Arc::new(Registry::new(Arc::clone(core.directory())));
    let clock = Clock::default();
    let open = |user| {
        let facts = facts_of(&core, user, [127, 0, 0, 1]);
        registry.register(registry.connection_id(), facts, None, &clock)
    };
    let told = open(Some("told"));
    // Each is two events.
    let mut sessions = 1;
    while teller.has_room() {
        drop(open(None));
        sessions += 1;
    }
    let before = teller.untold();
    let untold = open(Some("untold"));
    assert_eq!(teller.untold() - before, 1, "a session, not its user");
    drop((untold, told));
    bus.is_free.store(true, Ordering::Relaxed);
    let _telling = teller.start(Arc::default()).unwrap();
    assert!(sessions > 30_000, "{sessions}");
    let (mut opened, mut closed, mut offline) = (0, 0, Vec::new());
    while (opened, closed, offline.len()) != (sessions, sessions, 2) {
        let received = looking.receive().await;
        let Some(Received::Event(event)) = received else {
            panic!("{received:?}");
        };
        match &event.payload {
            Payload::SessionOpened(_) => opened += 1,
            Payload::SessionClosed(_) => closed += 1,
            Payload::UserDisconnected(one) => offline.push(one.user.clone()),
            other => panic!("{other:?}"),
        }
        assert!(
            opened <= sessions && closed <= sessions,
            "{opened} {closed}"
        );
    }
    offline.sort_unstable();
    assert_eq!(offline, ["told", "untold"].map(Into::into));
}
