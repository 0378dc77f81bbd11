use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::*;
use crate::bus::{
    Event, EventBus as _, MemoryBus, Payload, PushClass, PushEvent, PushTarget, Received,
};
use crate::config::plan::{BusPlan, ClusterPlan};
use crate::handler::Handlers;
use crate::presence::Teller;
use crate::session::testing::plan_with;
use crate::tls::Loaded;
use crate::worker::Core;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(600);

struct Node {
    cluster: Arc<Cluster>,
    bus: Arc<MemoryBus>,
    wired: Wired,
}

/// A node that is not in the cluster yet.
fn node(store: &Arc<MemoryStore>, name: &str) -> Node {
    let plan = ClusterPlan {
        lease: LONG,
        ..ClusterPlan::default()
    };
    let store = Arc::clone(store);
    let cluster = Arc::new(Cluster::new(store, &name.into(), &plan));
    let bus = Arc::new(MemoryBus::default());
    let bus_of_teller = Arc::clone(&bus);
    let teller = Teller::new(
        bus_of_teller,
        &BusPlan::default(),
        Some(Arc::clone(&cluster)),
    );
    let teller = Arc::new(teller);
    let core = Core::build(
        &plan_with("", ""),
        &Loaded::default(),
        &Handlers::default(),
        Arc::clone(&teller),
    );
    let wired = Wired {
        core: Arc::new(core.unwrap()),
        teller,
        carrier: None,
    };
    Node {
        cluster,
        bus,
        wired,
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Renewals are minutes apart: what is known is known from those who join and leave.
#[tokio::test]
async fn who_has_joined_is_asked_at_once_and_who_has_left_is_not() {
    let store = Arc::new(MemoryStore::default());
    let [a, b] = ["a", "b"].map(|name| node(&store, name));
    let _of_a = Keeping::start(Arc::clone(&a.cluster), a.wired, Arc::default()).unwrap();
    eventually("up", || a.cluster.is_up()).await;
    assert_eq!(a.cluster.others(), []);
    let of_b = Keeping::start(Arc::clone(&b.cluster), b.wired, Arc::default()).unwrap();
    eventually("up", || b.cluster.is_up()).await;
    eventually("known", || a.cluster.others() == [b.cluster.id()]).await;
    assert_eq!(b.cluster.others(), [a.cluster.id()]);
    drop(of_b);
    eventually("forgotten", || a.cluster.others().is_empty()).await;
}

/// Nobody has been heard, but the store knows that there is one.
#[tokio::test]
async fn orders_go_to_who_was_not_heard_yet() {
    let store = Arc::new(MemoryStore::default());
    let [a, b] = ["a", "b"].map(|name| node(&store, name));
    let _of_a = Keeping::start(Arc::clone(&a.cluster), a.wired, Arc::default()).unwrap();
    let _of_b = Keeping::start(Arc::clone(&b.cluster), b.wired, Arc::default()).unwrap();
    for cluster in [&a.cluster, &b.cluster] {
        eventually("up", || cluster.is_up()).await;
    }
    eventually("known", || !a.cluster.others().is_empty()).await;
    let is_carried_out = Arc::new(AtomicUsize::new(0));
    while is_carried_out.load(Ordering::Relaxed) == 0 {
        a.cluster.note_left(&b.cluster.id());
        let order = Order::RevokeSession {
            session: "none".into(),
        };
        let answers = a.cluster.order(order).await;
        assert_eq!(answers.asked, 1);
        // On a busy machine it may take too long.
        is_carried_out.fetch_add(answers.answered, Ordering::Relaxed);
    }
}

/// What a store that has lost everything does not know any more is known from who was heard.
#[test]
fn who_was_heard_within_a_lease_is_a_member_unless_it_is_dead() {
    let store = Arc::new(MemoryStore::default());
    let Node { cluster, .. } = node(&store, "a");
    let [b, c] = ["b", "c"].map(|name| NodeId::new(name.into()));
    cluster.set_others(vec![cluster.id(), b.clone(), c.clone()], &[]);
    cluster.set_others(vec![cluster.id()], std::slice::from_ref(&c));
    assert_eq!(cluster.others(), std::slice::from_ref(&b));
    cluster.set_others(vec![cluster.id(), c.clone()], &[b]);
    assert_eq!(cluster.others(), [c]);
}

/// A survivor tells it late, and perhaps after another one: the time is that of the verdict.
#[tokio::test]
async fn what_is_told_of_the_dead_has_the_time_of_the_verdict() {
    let store = Arc::new(MemoryStore::default());
    let Node {
        cluster,
        bus,
        wired,
    } = node(&store, "a");
    let topics = wired.teller.topics().clone();
    let mut heard = bus.subscribe_to(&[&topics.sessions, &topics.user_disconnect]);
    let [dead, other] = ["b", "c"].map(|name| NodeId::new(name.into()));
    let facts = r#"{"node":"b","user":"u","route":"r","client":"127.0.0.1","opened":1}"#;
    let entry = Entry {
        session: "s".into(),
        user: Some("u".into()),
        facts: facts.into(),
    };
    store.renew(&dead, LONG, true).await.unwrap();
    let entered = vec![Change::Enter {
        entry,
        since: UNIX_EPOCH,
    }];
    store.record(&dead, entered).await.unwrap();
    store.leave(&dead).await.unwrap();
    // Counted out by one whose claim ends at once, and who tells nothing.
    assert!(store.count_out(&dead, 10).await.unwrap());
    assert!(store.claim(&other, &dead, Duration::ZERO).await.unwrap());
    let time = store.orphans(&dead, "", 10).await.unwrap()[0].time;
    assert!(time > UNIX_EPOCH);
    let survive = cluster.survive(&wired);
    let judge = async {
        cluster.set_dead(vec![dead.clone()]);
        for kind in ["session.closed", "user.offline"] {
            let Some(Received::Event(event)) = heard.receive().await else {
                panic!("no {kind}");
            };
            assert_eq!(event.time, time, "{kind}");
        }
    };
    tokio::select! {
        never = survive => panic!("{never:?}"),
        () = judge => {}
    }
}

/// Others have filled it past what was known of it before it was looked at again.
#[tokio::test]
async fn a_store_that_lost_what_was_revoked_and_was_filled_again_is_noticed() {
    let store = Arc::new(MemoryStore::default());
    let Node { cluster, wired, .. } = node(&store, "a");
    let revocation = |name: &str| Revocation {
        what: format!("j:{name}").into(),
        until: None,
        ends: None,
    };
    let revocations = wired.authenticator().revocations();
    let share = cluster.share(&wired);
    let judge = async {
        store.revoke(vec![revocation("x")]).await.unwrap();
        cluster.revoked.notify_one();
        eventually("known", || revocations.count() == 1).await;
        store.lose_revocations();
        let all = ["y", "z", "w"].map(revocation);
        store.revoke(all.to_vec()).await.unwrap();
        cluster.revoked.notify_one();
        eventually("known", || revocations.count() == 4).await;
        // What is told anew comes from here.
        let told = store.revoked(0, 10).await.unwrap();
        assert_eq!(told.revocations.len(), 4);
        // None lasts for ever.
        assert!(revocations.all().iter().all(|(_, ends)| ends.is_some()));
    };
    tokio::select! {
        never = share => panic!("{never:?}"),
        () = judge => {}
    }
}

/// Links are made anew all the time, and what is told over each must not be news every time.
#[tokio::test]
async fn what_was_fetched_is_told_as_it_was() {
    let store = Arc::new(MemoryStore::default());
    let nodes = ["a", "b"].map(|name| node(&store, name));
    let here = nodes[0].wired.authenticator().revocations();
    let now = std::time::SystemTime::now();
    here.add(crate::auth::Revoked::User("u".into(), now), Some(now))
        .unwrap();
    let mut last = None;
    for _ in 0..3 {
        for Node { cluster, wired, .. } in &nodes {
            let revocations = wired.authenticator().revocations();
            cluster.online.store(u64::MAX, Ordering::Relaxed);
            // It is asked behind what is told and fetched.
            tokio::select! {
                never = cluster.share(wired) => panic!("{never:?}"),
                () = eventually("over", || cluster.online() == 0) => {}
            }
            assert_eq!(revocations.count(), 1);
        }
        let told = store.revoked(0, 10).await.unwrap();
        assert_eq!(told.revocations.len(), 1);
        assert_eq!(*last.get_or_insert(told.last), told.last);
    }
}

/// Those for which there is no room are lost, which is told; nobody else waits for them.
#[tokio::test]
async fn who_has_no_room_for_pushes_hears_the_rest() {
    let store = Arc::new(MemoryStore::default());
    let [a, mut b] = ["a", "b"].map(|name| node(&store, name));
    let plan = BusPlan::default();
    let carrier = Arc::new(ClusterBus::new(Arc::clone(&b.cluster), &plan));
    let _never_read = carrier.subscribe_to(&[&plan.topics.push]).holding_back();
    b.wired.carrier = Some(Arc::clone(&carrier));
    let _of_a = Keeping::start(Arc::clone(&a.cluster), a.wired, Arc::default()).unwrap();
    let _of_b = Keeping::start(Arc::clone(&b.cluster), b.wired, Arc::default()).unwrap();
    eventually("up", || a.cluster.is_up() && b.cluster.is_up()).await;
    let topic = Arc::clone(&plan.topics.push);
    let begun = tokio::time::Instant::now();
    // As many as there is room for, and more.
    for _ in 0..20_000 {
        let push = PushEvent {
            targets: [PushTarget::All].into(),
            event: "e".into(),
            source: "".into(),
            from: None,
            data: RawValue::NULL.to_owned(),
            key: None,
            class: PushClass::Live,
            ack: false,
            legacy: None,
        };
        let event = Event::now(Arc::clone(&topic), None, Payload::Push(push.into()));
        a.cluster.route(&event).await.unwrap();
    }
    loop {
        let session = "none".into();
        let answers = a.cluster.order(Order::RevokeSession { session }).await;
        if answers.answered == 1 {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{begun:?}");
}
