//! What every store of a cluster promises, whoever keeps it. Included where there is one to be judged.
#![expect(clippy::cognitive_complexity, reason = "it reads from top to bottom")]

#[path = "store/ends.rs"]
mod ends;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate::cluster::{
    Change, Entry, Membership, NodeId, OnlineUser, Revocation, StateStore, Tally, To, Verdict,
};
use tokio::time::timeout;

use self::ends::{bury, until_dead};

/// A lease that nobody lets lapse.
const LONG: Duration = Duration::from_secs(600);
/// One that lapses at once.
const SHORT: Duration = Duration::from_millis(300);
/// Longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// All of it. The store is empty.
pub(crate) async fn judge(store: Arc<dyn StateStore>) {
    let store = &*store;
    messages_arrive_in_order_and_nowhere_else(store).await;
    the_first_and_the_last_of_a_user_are_told(store).await;
    verdicts_come_in_the_order_of_the_changes(store).await;
    what_is_there_is_found(store).await;
    sessions_of_a_user_are_in_order(store).await;
    members_tell_what_all_count(store).await;
    who_stays_is_on_a_page(store).await;
    revocations_are_told_from_any_number_on(store).await;
    ends::judge(store).await;
}

fn node(name: &str) -> NodeId {
    NodeId::new(name.into())
}

fn entry(session: &str, user: Option<&str>) -> Entry {
    let told = user.map_or_else(|| "null".to_owned(), |user| format!("{user:?}"));
    Entry {
        session: session.into(),
        user: user.map(Box::from),
        facts: format!(r#"{{"user":{told},"note":"of {session}\n"}}"#)
            .replace('\n', "\\n")
            .into(),
    }
}

fn enter(session: &str, user: &str) -> Change {
    enter_at(session, Some(user), 0)
}

/// It was opened so many seconds after the others.
fn enter_at(session: &str, user: Option<&str>, seconds: u64) -> Change {
    Change::Enter {
        entry: entry(session, user),
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds),
    }
}

fn leave(session: &str, user: &str) -> Change {
    Change::Leave {
        session: session.into(),
        user: Some(user.into()),
        is_kept: false,
    }
}

async fn record(store: &dyn StateStore, node: &NodeId, change: Change) -> Verdict {
    let verdicts = store.record(node, vec![change]).await.unwrap();
    assert_eq!(verdicts.len(), 1);
    verdicts[0]
}

/// Whether it is the user's turn, and how many sessions the user has.
async fn turn(store: &dyn StateStore, node: &NodeId, change: Change) -> (bool, u64) {
    let verdict = record(store, node, change).await;
    (verdict.is_turn, verdict.sessions)
}

async fn join(store: &dyn StateStore, node: &NodeId, lease: Duration) {
    let standing = store.renew(node, lease, true).await.unwrap();
    assert_eq!(standing.membership, Membership::Unknown);
    assert!(standing.members.contains(node));
}

async fn messages_arrive_in_order_and_nowhere_else(store: &dyn StateStore) {
    let (one, two) = (node("one"), node("two"));
    let mut of_two = store.open(&two).await.unwrap();
    let mut of_one = store.open(&one).await.unwrap();
    let next = async |inbox: &mut tidegate::cluster::Inbox| {
        let message = timeout(DEADLINE, inbox.receive()).await;
        message.expect("in time").expect("the link is whole")
    };
    for number in 0..200_u8 {
        let to = if number % 2 == 0 {
            To::All
        } else {
            To::Node(&one)
        };
        store.send(to, &[number, 0, 255, b'\n']).await.unwrap();
    }
    for number in 0..200_u8 {
        assert_eq!(*next(&mut of_one).await, [number, 0, 255, b'\n']);
    }
    drop(of_one);
    // Where a store has one link, the later node has it.
    if let Ok(Some(message)) = timeout(Duration::from_millis(100), of_two.receive()).await {
        assert_eq!(message[0], 0);
        for number in (2..200_u8).step_by(2) {
            assert_eq!(next(&mut of_two).await[0], number);
        }
    }
    // To nobody.
    store.send(To::Node(&node("three")), b"x").await.unwrap();
}

async fn the_first_and_the_last_of_a_user_are_told(store: &dyn StateStore) {
    let (one, two) = (node("one"), node("two"));
    for node in [&one, &two] {
        join(store, node, LONG).await;
    }
    assert_eq!(turn(store, &one, enter("s1", "u")).await, (true, 1));
    assert_eq!(turn(store, &two, enter("s2", "u")).await, (false, 2));
    assert_eq!(store.online().await.unwrap(), 1);
    let again = record(store, &one, enter("s1", "u")).await;
    assert!(again.was_known && !again.is_turn, "{again:?}");
    assert_eq!(turn(store, &one, leave("s1", "u")).await, (false, 1));
    let last = record(store, &two, leave("s2", "u")).await;
    assert_eq!(
        (last.is_turn, last.was_known, last.sessions),
        (true, true, 0)
    );
    // What nobody heard the answer to is told again, and answered again.
    let again = record(store, &two, leave("s2", "u")).await;
    assert_eq!((again.is_turn, again.was_known), (true, false));
    assert!(again.time >= last.time);
    let late = SystemTime::now() + Duration::from_secs(60);
    assert!(again.time < late, "{:?}", again.time);
    assert_eq!(store.online().await.unwrap(), 0);
    // Nobody's session is in no count.
    let nobody = enter_at("s3", None, 0);
    assert_eq!(turn(store, &one, nobody).await, (false, 0));
    assert_eq!(store.online().await.unwrap(), 0);
    let nobody = Change::Leave {
        session: "s3".into(),
        user: None,
        is_kept: false,
    };
    assert_eq!(turn(store, &one, nobody).await, (false, 0));
    // Another's session cannot be taken away.
    assert_eq!(turn(store, &one, enter("s4", "u")).await, (true, 1));
    assert_eq!(turn(store, &two, leave("s4", "u")).await, (false, 1));
    assert_eq!(turn(store, &one, leave("s4", "u")).await, (true, 0));
}

async fn verdicts_come_in_the_order_of_the_changes(store: &dyn StateStore) {
    let one = node("one");
    join(store, &one, LONG).await;
    let users: Vec<_> = (0..150)
        .map(|number| format!("user {number}\n{{p0}}"))
        .collect();
    let mut changes = Vec::new();
    for (number, user) in users.iter().enumerate() {
        changes.push(enter(&format!("a{number}"), user));
        changes.push(enter(&format!("b{number}"), user));
    }
    changes.extend((0..150).map(|number| leave(&format!("a{number}"), &users[number])));
    let verdicts = store.record(&one, changes).await.unwrap();
    assert_eq!(verdicts.len(), 450);
    for number in 0..150 {
        assert!(verdicts[2 * number].is_turn, "{number}");
        assert!(!verdicts[2 * number + 1].is_turn, "{number}");
        assert_eq!(verdicts[2 * number + 1].sessions, 2, "{number}");
        assert_eq!(verdicts[300 + number].sessions, 1, "{number}");
    }
    assert_eq!(store.online().await.unwrap(), 150);
    assert_eq!(store.held(&one).await.unwrap().len(), 150);
    let changes = (0..150).map(|number| leave(&format!("b{number}"), &users[number]));
    let verdicts = store.record(&one, changes.collect()).await.unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.is_turn));
    assert_eq!(store.online().await.unwrap(), 0);
    assert!(store.held(&one).await.unwrap().is_empty());
    assert!(store.record(&one, Vec::new()).await.unwrap().is_empty());
}

async fn what_is_there_is_found(store: &dyn StateStore) {
    let (one, two) = (node("one"), node("two"));
    for node in [&one, &two] {
        join(store, node, LONG).await;
    }
    let name = |number: usize| format!("u{number:03}é");
    for (node, letter) in [(&one, 'a'), (&two, 'b')] {
        let changes = (0..40).map(|number| enter(&format!("{letter}{number}"), &name(number)));
        store.record(node, changes.collect()).await.unwrap();
    }
    let nobody = enter_at("c", None, 0);
    record(store, &two, nobody.clone()).await;
    // By their names, page by page.
    let (mut users, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.users(&after, 7).await.unwrap();
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = last.user.to_string();
        users.extend(page);
    }
    let user = |number| OnlineUser {
        user: name(number).into(),
        sessions: 2,
    };
    let expected: Vec<_> = (0..40).map(user).collect();
    assert_eq!(users, expected);
    // Those of one.
    let mut its = store.sessions_of(&name(7)).await.unwrap();
    its.sort();
    let expected = [
        (one.clone(), entry("a7", Some(&name(7)))),
        (two.clone(), entry("b7", Some(&name(7)))),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(its, expected);
    assert!(store.sessions_of("nobody").await.unwrap().is_empty());
    // All of them.
    let (mut found, mut cursor) = (BTreeSet::new(), Some(0));
    while let Some(from) = cursor {
        let page = store.sessions(from, 10).await.unwrap();
        let sessions = page.sessions.into_iter();
        found.extend(sessions.map(|(node, entry)| (node, entry.session)));
        cursor = page.next;
    }
    assert_eq!(found.len(), 81);
    assert!(found.contains(&(two.clone(), "c".into())));
    let held = store.held(&two).await.unwrap();
    assert_eq!(held.len(), 41);
    assert!(held.contains(&entry("c", None)));
    for (node, letter) in [(&one, 'a'), (&two, 'b')] {
        let changes = (0..40).map(|number| leave(&format!("{letter}{number}"), &name(number)));
        store.record(node, changes.collect()).await.unwrap();
    }
    let Change::Enter { entry, .. } = nobody else {
        unreachable!()
    };
    let change = Change::Leave {
        session: entry.session,
        user: None,
        is_kept: false,
    };
    record(store, &two, change).await;
    assert_eq!(store.sessions(0, 10).await.unwrap().sessions, []);
}

async fn sessions_of_a_user_are_in_order(store: &dyn StateStore) {
    let (one, two) = (node("one"), node("two"));
    for node in [&one, &two] {
        join(store, node, LONG).await;
    }
    for (node, session, seconds) in [(&one, "c", 3), (&two, "a", 1), (&one, "b", 2)] {
        record(store, node, enter_at(session, Some("u"), seconds)).await;
    }
    // Told again, it is as old as it was.
    record(store, &two, enter_at("a", Some("u"), 4)).await;
    let its = store.sessions_of("u").await.unwrap();
    let its: Vec<_> = its.iter().map(|(_, entry)| &*entry.session).collect();
    assert_eq!(its, ["a", "b", "c"]);
    for (node, session) in [(&one, "c"), (&two, "a"), (&one, "b")] {
        record(store, node, leave(session, "u")).await;
    }
}

async fn members_tell_what_all_count(store: &dyn StateStore) {
    let (one, two, gone) = (node("one"), node("two"), node("gone"));
    for node in [&one, &two] {
        join(store, node, LONG).await;
    }
    join(store, &gone, SHORT).await;
    let pairs = |told: Vec<Tally>| -> Vec<(NodeId, Box<str>)> {
        let mut told: Vec<_> = told.into_iter().map(|one| (one.node, one.said)).collect();
        told.sort();
        told
    };
    let tally =
        async |node: &NodeId, said: &str| pairs(store.tally(node, "all", said).await.unwrap());
    assert_eq!(tally(&one, "1").await, [(one.clone(), "1".into())]);
    tally(&gone, "7").await;
    let mut expected = vec![
        (one.clone(), "1".into()),
        (two.clone(), "{2}".into()),
        (gone.clone(), "7".into()),
    ];
    expected.sort();
    assert_eq!(tally(&two, "{2}").await, expected);
    // What is said of something else is not among it.
    let other = store.tally(&one, "route:r", "9").await.unwrap();
    assert_eq!(pairs(other), [(one.clone(), "9".into())]);
    let known = store.members().await.unwrap();
    let is_known = |node: &NodeId| known.iter().any(|one| one.node == *node);
    assert!([&one, &two, &gone].into_iter().all(is_known), "{known:?}");
    let of = |node: &NodeId| known.iter().find(|one| one.node == *node).unwrap();
    assert!(
        of(&one)
            .lease
            .is_some_and(|left| left > LONG / 2 && left <= LONG)
    );
    assert_eq!(of(&one).sessions, 0);
    until_dead(store, &one, &gone).await;
    record(store, &one, enter("s", "u")).await;
    let known = store.members().await.unwrap();
    let of = |node: &NodeId| known.iter().find(|one| one.node == *node).unwrap();
    assert_eq!((of(&one).sessions, of(&gone).lease), (1, None));
    record(store, &one, leave("s", "u")).await;
    let mut expected = vec![(one.clone(), "3".into()), (two.clone(), "{2}".into())];
    expected.sort();
    assert_eq!(tally(&one, "3").await, expected);
    // Nobody counts who is no member.
    let late = store.tally(&gone, "all", "8").await.unwrap();
    assert!(late.iter().all(|one| one.node != gone), "{late:?}");
    bury(store, &one, &gone).await;
    for node in [&one, &two] {
        store.leave(node).await.unwrap();
        store.forget(node).await.unwrap();
    }
}

/// Whoever goes from page to page sees all who stay, whoever comes and goes meanwhile.
async fn who_stays_is_on_a_page(store: &dyn StateStore) {
    let one = node("one");
    join(store, &one, LONG).await;
    let names = (0..40).map(|number| format!("z{number:02}"));
    let stays: Vec<_> = names
        .map(|user| enter(&format!("s{user}"), &user))
        .collect();
    store.record(&one, stays).await.unwrap();
    let is_over = std::cell::Cell::new(false);
    let come_and_go = async {
        let all = |change: fn(&str, &str) -> Change| {
            let names = (0..8).map(|number| format!("a{number}"));
            names
                .map(|user| change(&format!("s{user}"), &user))
                .collect::<Vec<_>>()
        };
        while !is_over.get() {
            store.record(&one, all(enter)).await.unwrap();
            store.record(&one, all(leave)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let walk = async {
        for _ in 0..60 {
            let (mut seen, mut after) = (BTreeSet::new(), String::new());
            loop {
                let page = store.users(&after, 5).await.unwrap();
                let is_last = page.len() < 5;
                let names = page.into_iter().map(|one| one.user.to_string());
                seen.extend(names);
                if is_last {
                    break;
                }
                after = seen.last().unwrap().clone();
            }
            let stay = seen.iter().filter(|name| name.starts_with('z'));
            assert_eq!(stay.count(), 40, "{seen:?}");
        }
        is_over.set(true);
    };
    tokio::join!(come_and_go, walk);
    let names = (0..40).map(|number| format!("z{number:02}"));
    let gone: Vec<_> = names
        .map(|user| leave(&format!("s{user}"), &user))
        .collect();
    store.record(&one, gone).await.unwrap();
}

async fn revocations_are_told_from_any_number_on(store: &dyn StateStore) {
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let revocation = |what: &str, ends| Revocation {
        what: what.into(),
        until: None,
        ends,
    };
    let begun = store.revoked(0, 10).await.unwrap();
    assert!(begun.revocations.is_empty());
    let ended = revocation("ended", Some(SystemTime::now() - Duration::from_secs(1)));
    let first = [revocation("a", Some(hour)), ended, revocation("b", None)];
    store.revoke(first.to_vec()).await.unwrap();
    let told = store.revoked(begun.last, 10).await.unwrap();
    let whats: Vec<_> = told.revocations.iter().map(|one| &*one.what).collect();
    assert_eq!(whats, ["a", "b"]);
    let ends = told.revocations[0].ends.unwrap();
    assert!(
        ends >= hour && ends < hour + Duration::from_secs(1),
        "{ends:?}"
    );
    assert_eq!(told.revocations[1].ends, None);
    // What is known is no news, and what comes is told from there on.
    store.revoke(vec![revocation("b", None)]).await.unwrap();
    let more = (0..25).map(|number| revocation(&format!("c{number:02}"), Some(hour)));
    store.revoke(more.collect()).await.unwrap();
    let (mut after, mut found) = (told.last, Vec::new());
    loop {
        let some = store.revoked(after, 10).await.unwrap();
        assert!(some.last >= after && some.revocations.len() <= 10);
        after = some.last;
        if some.revocations.is_empty() {
            break;
        }
        found.extend(some.revocations.into_iter().map(|one| one.what));
    }
    let expected: Vec<Box<str>> = (0..25)
        .map(|number| format!("c{number:02}").into())
        .collect();
    assert_eq!(found, expected);
    // One that lasts longer is news.
    let later = hour + Duration::from_secs(60);
    store
        .revoke(vec![revocation("a", Some(later))])
        .await
        .unwrap();
    let told = store.revoked(after, 10).await.unwrap();
    assert_eq!(told.revocations.len(), 1);
    assert!(told.revocations[0].ends.unwrap() >= later);
    // A user is there once: the later moment holds, and what is told again as it was told is no news.
    let moment = |micros: u64| {
        SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456 + micros)
    };
    let of_user = |micros: u64| Revocation {
        until: Some(moment(micros)),
        ..revocation("u:u", Some(later))
    };
    for micros in [1, 3, 2] {
        store.revoke(vec![of_user(micros)]).await.unwrap();
    }
    let all = store.revoked(0, 100).await.unwrap();
    let its: Vec<_> = all
        .revocations
        .iter()
        .filter(|one| &*one.what == "u:u")
        .collect();
    assert_eq!(its.len(), 1, "{its:?}");
    assert_eq!(its[0].until, Some(moment(3)));
    assert!(all.epoch > 0);
    store.revoke(all.revocations.clone()).await.unwrap();
    assert_eq!(store.revoked(0, 100).await.unwrap(), all);
}
