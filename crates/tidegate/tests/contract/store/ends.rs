//! What is left of a node that is gone, and of sessions whose end is not told yet.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tidegate::cluster::{Change, Ended, Membership, NodeId, Orphan, StateStore, StoreError};
use tokio::time::{Instant, sleep};

use super::{DEADLINE, LONG, SHORT, enter, enter_at, entry, join, leave, node, record, turn};

/// All of it. Nobody is online, and nobody's session is open.
pub(super) async fn judge(store: &dyn StateStore) {
    leases_lapse_and_what_is_left_is_claimed_once(store).await;
    who_comes_back_keeps_what_it_enters_anew(store).await;
    claims_expire_and_the_next_is_told_the_same(store).await;
    a_claim_that_is_renewed_is_kept(store).await;
    who_leaves_is_gone_at_once(store).await;
    an_end_that_was_not_told_is_left_to_the_others(store).await;
    thousands_are_counted_out_at_once(store).await;
}

/// Its end is not told yet.
fn leave_kept(session: &str, user: Option<&str>) -> Change {
    Change::Leave {
        session: session.into(),
        user: user.map(Box::from),
        is_kept: true,
    }
}

async fn drop_told(store: &dyn StateStore, dead: &NodeId, told: &[Orphan]) {
    let ended: Vec<_> = told.iter().map(Ended::from).collect();
    store.drop_ended(dead, &ended).await.unwrap();
}

async fn count_out(store: &dyn StateStore, dead: &NodeId, most: usize) {
    while store.count_out(dead, most).await.unwrap() {}
}

async fn orphans(store: &dyn StateStore, dead: &NodeId) -> Vec<Orphan> {
    store.orphans(dead, "", 10_000).await.unwrap()
}

/// Renews `alive`'s lease until that of `dead` has lapsed.
pub(super) async fn until_dead(store: &dyn StateStore, alive: &NodeId, dead: &NodeId) {
    let begun = Instant::now();
    loop {
        let standing = store.renew(alive, LONG, false).await.unwrap();
        assert_eq!(standing.membership, Membership::Held);
        if standing.dead.contains(dead) {
            assert!(!standing.members.contains(dead));
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{standing:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Counts out and claims all that is left of a node, drops it page by page, and forgets the node.
pub(super) async fn bury(store: &dyn StateStore, by: &NodeId, dead: &NodeId) -> Vec<Orphan> {
    count_out(store, dead, 2).await;
    assert!(store.claim(by, dead, LONG).await.unwrap());
    let (mut all, mut after) = (Vec::new(), Box::default());
    loop {
        let page = store.orphans(dead, &after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && last.place > after, "{page:?}");
        after = last.place.clone();
        drop_told(store, dead, &page).await;
        all.extend(page);
    }
    assert_eq!(orphans(store, dead).await, []);
    store.forget(dead).await.unwrap();
    all.sort_by(|one, other| one.entry.session.cmp(&other.entry.session));
    all
}

async fn leases_lapse_and_what_is_left_is_claimed_once(store: &dyn StateStore) {
    let (alive, other, dead) = (node("alive"), node("other"), node("dead"));
    join(store, &dead, SHORT).await;
    for node in [&alive, &other] {
        join(store, node, LONG).await;
    }
    let changes = (0..9).map(|number| enter(&format!("d{number}"), "u"));
    let changes = changes.chain([enter("e", "v"), enter_at("f", None, 0)]);
    store.record(&dead, changes.collect()).await.unwrap();
    record(store, &dead, leave_kept("d5", Some("u"))).await;
    record(store, &alive, enter("g", "u")).await;
    until_dead(store, &alive, &dead).await;
    // Whoever has the claim: what is counted is right at once.
    count_out(store, &dead, 1).await;
    assert!(!store.count_out(&dead, 100).await.unwrap());
    assert_eq!(store.online().await.unwrap(), 1);
    assert_eq!(store.sessions_of("u").await.unwrap().len(), 1);
    assert_eq!(store.held(&dead).await.unwrap(), []);
    assert_eq!(store.sessions(0, 100).await.unwrap().sessions.len(), 1);
    let late = store.record(&dead, vec![enter("late", "w")]).await;
    assert_eq!(late, Err(StoreError::Fenced));
    for _ in 0..2 {
        assert!(store.claim(&alive, &dead, LONG).await.unwrap());
        assert!(!store.claim(&other, &dead, LONG).await.unwrap());
    }
    let all = orphans(store, &dead).await;
    assert!(
        all.is_sorted_by(|one, next| one.place < next.place),
        "{all:?}"
    );
    let sessions: BTreeSet<_> = all.iter().map(|one| &*one.entry.session).collect();
    assert_eq!((all.len(), sessions.len()), (11, 11));
    // Of one user in the order in which they were counted out.
    let of_user = all
        .iter()
        .filter(|one| one.entry.user.as_deref() == Some("u"));
    let of_user: Vec<_> = of_user.collect();
    assert_eq!(&*of_user[0].entry.session, "d5");
    assert!(of_user.is_sorted_by_key(|one| one.time), "{of_user:?}");
    // From any place on, also where what stood there was dropped.
    for (number, one) in all.iter().enumerate() {
        drop_told(store, &dead, &all[number..=number]).await;
        let rest = store.orphans(&dead, &one.place, 3).await.unwrap();
        let end = all.len().min(number + 4);
        assert_eq!(rest, all[number + 1..end], "{number}");
    }
    assert_eq!(bury(store, &alive, &dead).await, []);
    // Nothing is left to be claimed.
    assert!(!store.claim(&other, &dead, LONG).await.unwrap());
    // The user who is elsewhere too is still there.
    assert_eq!(turn(store, &alive, leave("g", "u")).await, (true, 0));
    // What the dead one still says is not taken.
    let late = store.record(&dead, vec![enter("late", "w")]).await;
    assert_eq!(late, Err(StoreError::Fenced));
    let standing = store.renew(&dead, LONG, true).await.unwrap();
    assert_eq!(standing.membership, Membership::Dead);
    assert!(!standing.dead.contains(&dead) && !standing.members.contains(&dead));
    for node in [&alive, &other] {
        store.leave(node).await.unwrap();
        store.forget(node).await.unwrap();
    }
}

async fn who_comes_back_keeps_what_it_enters_anew(store: &dyn StateStore) {
    let (alive, stopped, reborn) = (node("alive"), node("stopped"), node("stopped"));
    join(store, &stopped, SHORT).await;
    join(store, &alive, LONG).await;
    let all = vec![enter("s1", "u"), enter("s2", "u"), enter("s3", "v")];
    store.record(&stopped, all).await.unwrap();
    until_dead(store, &alive, &stopped).await;
    join(store, &reborn, LONG).await;
    // One before it is counted out, one behind that, and one not at all.
    let kept = record(store, &reborn, enter("s1", "u")).await;
    assert_eq!(
        (kept.is_turn, kept.was_known, kept.sessions),
        (false, true, 2)
    );
    count_out(store, &stopped, 100).await;
    assert!(store.claim(&alive, &stopped, LONG).await.unwrap());
    let left = orphans(store, &stopped).await;
    let mut lasts: Vec<_> = left
        .iter()
        .map(|one| (&*one.entry.session, one.is_last))
        .collect();
    lasts.sort_unstable();
    assert_eq!(lasts, [("s2", false), ("s3", true)]);
    let back = record(store, &reborn, enter("s3", "v")).await;
    assert_eq!(
        (back.is_turn, back.was_known, back.sessions),
        (true, false, 1)
    );
    // Of two verdicts on a user the later one holds, whenever they are told.
    assert!(left.iter().all(|one| one.time <= back.time));
    assert_eq!(orphans(store, &stopped).await.len(), 1);
    drop_told(store, &stopped, &left).await;
    assert!(bury(store, &alive, &stopped).await.is_empty());
    let mut held = store.held(&reborn).await.unwrap();
    held.sort();
    assert_eq!(held, [entry("s1", Some("u")), entry("s3", Some("v"))]);
    assert_eq!(store.online().await.unwrap(), 2);
    let all = vec![leave("s1", "u"), leave("s3", "v")];
    let verdicts = store.record(&reborn, all).await.unwrap();
    assert!(verdicts.iter().all(|one| one.is_turn && one.was_known));
    for node in [&alive, &reborn] {
        store.leave(node).await.unwrap();
        store.forget(node).await.unwrap();
    }
}

async fn claims_expire_and_the_next_is_told_the_same(store: &dyn StateStore) {
    let (one, two, dead) = (node("one"), node("two"), node("dead"));
    join(store, &dead, SHORT).await;
    join(store, &two, LONG).await;
    store.record(&dead, vec![enter("s", "u")]).await.unwrap();
    until_dead(store, &two, &dead).await;
    count_out(store, &dead, 10).await;
    assert!(store.claim(&one, &dead, SHORT).await.unwrap());
    let left = orphans(store, &dead).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].is_last);
    assert_eq!(store.online().await.unwrap(), 0);
    // The first one dies, and the next one is told the same.
    let begun = Instant::now();
    while !store.claim(&two, &dead, LONG).await.unwrap() {
        assert!(begun.elapsed() < DEADLINE);
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!store.claim(&one, &dead, LONG).await.unwrap());
    assert!(!store.count_out(&dead, 10).await.unwrap());
    assert_eq!(orphans(store, &dead).await, left);
    assert_eq!(bury(store, &two, &dead).await, left);
    store.leave(&two).await.unwrap();
    store.forget(&two).await.unwrap();
}

async fn a_claim_that_is_renewed_is_kept(store: &dyn StateStore) {
    let (one, two, dead) = (node("one"), node("two"), node("dead"));
    join(store, &dead, LONG).await;
    record(store, &dead, enter("s", "u")).await;
    store.leave(&dead).await.unwrap();
    for lease in [SHORT, LONG] {
        assert!(store.claim(&one, &dead, lease).await.unwrap());
    }
    sleep(2 * SHORT).await;
    assert!(!store.claim(&two, &dead, LONG).await.unwrap());
    assert_eq!(bury(store, &one, &dead).await.len(), 1);
}

async fn who_leaves_is_gone_at_once(store: &dyn StateStore) {
    let (stays, leaves) = (node("stays"), node("leaves"));
    for node in [&stays, &leaves] {
        join(store, node, LONG).await;
    }
    record(store, &leaves, enter("s", "u")).await;
    store.leave(&leaves).await.unwrap();
    let standing = store.renew(&stays, LONG, false).await.unwrap();
    assert!(!standing.members.contains(&leaves) && standing.dead.contains(&leaves));
    let left = bury(store, &stays, &leaves).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].is_last);
    let standing = store.renew(&stays, LONG, false).await.unwrap();
    assert!(!standing.dead.contains(&leaves));
    // The last one, too.
    store.leave(&stays).await.unwrap();
    assert_eq!(store.online().await.unwrap(), 0);
}

async fn an_end_that_was_not_told_is_left_to_the_others(store: &dyn StateStore) {
    let (alive, dead) = (node("alive"), node("dead"));
    join(store, &dead, SHORT).await;
    join(store, &alive, LONG).await;
    let all = vec![
        enter("s1", "u"),
        enter("s2", "u"),
        enter("s3", "v"),
        enter("s4", "w"),
        enter_at("s5", None, 0),
    ];
    store.record(&dead, all).await.unwrap();
    record(store, &alive, enter("s6", "w")).await;
    let left = [
        ("s1", Some("u")),
        ("s3", Some("v")),
        ("s4", Some("w")),
        ("s5", None),
    ];
    let changes = left.map(|(session, user)| leave_kept(session, user));
    let verdicts = store.record(&dead, changes.to_vec()).await.unwrap();
    let turns: Vec<_> = verdicts.iter().map(|one| one.is_turn).collect();
    assert_eq!(turns, [false, true, false, false]);
    // They are in no count and in no list.
    assert_eq!(store.online().await.unwrap(), 2);
    assert_eq!(store.held(&dead).await.unwrap(), [entry("s2", Some("u"))]);
    assert_eq!(store.sessions_of("v").await.unwrap(), []);
    let members = store.members().await.unwrap();
    let of_dead = members.iter().find(|one| one.node == dead).unwrap();
    assert_eq!(of_dead.sessions, 1);
    let shown = store.sessions(0, 100).await.unwrap().sessions;
    assert_eq!(shown.len(), 2, "{shown:?}");
    // Told again, it is the same, whoever has come meanwhile.
    assert_eq!(turn(store, &alive, enter("s7", "v")).await, (true, 1));
    let again = record(store, &dead, leave_kept("s3", Some("v"))).await;
    assert_eq!(
        (again.is_turn, again.was_known, again.sessions),
        (true, true, 1)
    );
    assert_eq!(again.time, verdicts[1].time);
    // What is open is not dropped; what was told is, also when it is told again.
    let told = [("s1", Some("u")), ("s2", Some("u"))].map(|(session, user)| Ended {
        session: session.into(),
        user: user.map(Box::from),
    });
    for _ in 0..2 {
        store.drop_ended(&dead, &told).await.unwrap();
    }
    until_dead(store, &alive, &dead).await;
    let orphans = bury(store, &alive, &dead).await;
    let found = orphans.iter().map(|one| (&*one.entry.session, one.is_last));
    let found: Vec<_> = found.collect();
    assert_eq!(
        found,
        [("s2", true), ("s3", true), ("s4", false), ("s5", false)]
    );
    assert_eq!(orphans[1].time, verdicts[1].time);
    assert_eq!(orphans[1].entry, entry("s3", Some("v")));
    let last = [leave("s6", "w"), leave("s7", "v")];
    let verdicts = store.record(&alive, last.to_vec()).await.unwrap();
    assert!(verdicts.iter().all(|one| one.is_turn), "{verdicts:?}");
    store.leave(&alive).await.unwrap();
    store.forget(&alive).await.unwrap();
}

/// As many as are asked for in one go, whatever becomes of what is told of them.
async fn thousands_are_counted_out_at_once(store: &dyn StateStore) {
    const SESSIONS: usize = 2000;
    const USERS: usize = 1500;
    let (alive, dead) = (node("alive"), node("dead"));
    for node in [&alive, &dead] {
        join(store, node, LONG).await;
    }
    let name = |number: usize| format!("u{}", number % USERS);
    let all = (0..SESSIONS).map(|number| enter(&format!("s{number}"), &name(number)));
    let all: Vec<_> = all.collect();
    for some in all.chunks(500) {
        store.record(&dead, some.to_vec()).await.unwrap();
    }
    record(store, &alive, enter("stays", "u0")).await;
    assert_eq!(store.online().await.unwrap(), USERS as u64);
    store.leave(&dead).await.unwrap();
    assert!(store.count_out(&dead, 2 * SESSIONS).await.unwrap());
    assert_eq!(store.online().await.unwrap(), 1);
    assert_eq!(store.users("", 10).await.unwrap().len(), 1);
    assert!(!store.count_out(&dead, 2 * SESSIONS).await.unwrap());
    // Each comes once; and each user goes once, but for the one who is elsewhere too.
    let (mut seen, mut gone, mut after) = (BTreeSet::new(), HashMap::new(), Box::default());
    loop {
        let page = store.orphans(&dead, &after, 300).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.place.clone();
        for one in &page {
            assert!(seen.insert(one.entry.session.clone()), "{one:?}");
            *gone.entry(one.entry.user.clone()).or_insert(0) += u8::from(one.is_last);
        }
        // Some are told later.
        drop_told(store, &dead, &page[..page.len() / 2]).await;
    }
    assert_eq!((seen.len(), gone.len()), (SESSIONS, USERS));
    assert_eq!(gone.remove(&Some("u0".into())), Some(0));
    assert!(gone.values().all(|times| *times == 1), "{gone:?}");
    let left = orphans(store, &dead).await.len();
    assert!((900..1100).contains(&left), "{left}");
    assert_eq!(bury(store, &alive, &dead).await.len(), left);
    record(store, &alive, leave("stays", "u0")).await;
    store.leave(&alive).await.unwrap();
    store.forget(&alive).await.unwrap();
}
