//! A presence without faults is found to be so; each rule has one that breaks it.

use super::repeats::judge_with;
use super::*;

const LEASE: i64 = 4_000;

fn session(id: &str, whom: &str, node: &str, is_begin: bool, time: i64) -> Told {
    Told {
        id: id.to_owned(),
        whom: whom.to_owned(),
        user: Some("u".to_owned()),
        node: Some(node.to_owned()),
        is_begin,
        time,
        since: None,
        is_by_others: false,
    }
}

/// An end that others tell.
fn lost(id: &str, whom: &str, node: &str, time: i64) -> Told {
    Told {
        is_by_others: true,
        since: Some(time - 5_000),
        ..session(id, whom, node, false, time)
    }
}

fn user(id: &str, whom: &str, is_begin: bool, time: i64) -> Told {
    Told {
        user: None,
        node: None,
        ..session(id, whom, "", is_begin, time)
    }
}

fn doubt(node: &str, why: Why, from: i64, to: i64) -> Doubt {
    Doubt {
        node: node.to_owned(),
        why,
        from,
        to,
    }
}

/// `a` came to n1 at 10,000 and is gone at 20,000; `b` came to n2 at 30,000 and is open.
fn sound() -> Presence {
    Presence {
        of_sessions: vec![
            session("1", "a", "n1", true, 10_000),
            session("2", "a", "n1", false, 20_000),
            session("3", "b", "n2", true, 30_000),
        ],
        of_users: vec![
            user("4", "u", true, 10_000),
            user("5", "u", false, 20_000),
            user("6", "u", true, 30_000),
        ],
        open: ["b".to_owned()].into(),
        online: ["u".to_owned()].into(),
        doubts: Doubts {
            all: Vec::new(),
            lease: LEASE,
        },
    }
}

/// What is wrong after a change; with these doubts it is forgiven.
fn changed(change: impl FnOnce(&mut Presence)) -> Vec<String> {
    let mut presence = sound();
    change(&mut presence);
    faults(&presence)
}

/// It is wrong by itself, and of another node, and not with the doubt.
fn is_forgiven_by(change: impl Fn(&mut Presence), doubts: &[Doubt]) {
    assert_ne!(changed(&change), NONE, "without a reason");
    let with = |doubts: &[Doubt]| {
        changed(|presence| {
            change(presence);
            presence.doubts.all = doubts.to_vec();
        })
    };
    assert_eq!(with(doubts), NONE);
    let shifted = |node: Option<&str>, by: i64| -> Vec<Doubt> {
        let shifted = doubts.iter().map(|one| Doubt {
            node: node.map_or_else(|| one.node.clone(), str::to_owned),
            from: one.from + by,
            to: one.to.saturating_add(by),
            ..one.clone()
        });
        shifted.collect()
    };
    assert_ne!(with(&shifted(None, 100_000)), NONE, "long after");
    assert_ne!(with(&shifted(None, -100_000)), NONE, "long before");
    assert_ne!(with(&shifted(Some("n9"), 0)), NONE, "another node");
}

const NONE: [String; 0] = [];

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_eq!(changed(|_| {}), NONE);
}

#[test]
fn each_session_is_told_as_opened_and_closed_once() {
    let without = |place: usize| {
        changed(|presence| {
            presence.of_sessions.remove(place);
        })
    };
    for place in 0..3 {
        assert_ne!(without(place), NONE, "{place}");
    }
    let wrong = changed(|presence| _ = presence.open.remove("b"));
    assert_eq!(wrong.len(), 1, "b is gone, and untold: {wrong:?}");
    let wrong = changed(|presence| _ = presence.open.insert("a".to_owned()));
    assert_eq!(wrong.len(), 1, "a is open, and told as closed: {wrong:?}");
    let again = session("7", "a", "n1", false, 21_000);
    assert_ne!(changed(|presence| presence.of_sessions.push(again)), NONE);
    let again = session("7", "a", "n1", true, 11_000);
    assert_ne!(changed(|presence| presence.of_sessions.push(again)), NONE);
}

#[test]
fn sessions_of_a_killed_node_are_told_as_closed() {
    let untold = |presence: &mut Presence| {
        presence.of_sessions.remove(1);
    };
    // It was there for long when its node was killed.
    let killed = |presence: &mut Presence| {
        untold(presence);
        presence.doubts.all = vec![doubt("n1", Why::Killed, 15_000, 35_000)];
    };
    assert_eq!(changed(killed).len(), 1);
    // The store had not heard of it.
    is_forgiven_by(untold, &[doubt("n1", Why::Killed, 10_300, 35_000)]);
    let cut = [
        doubt("n1", Why::Away, 9_000, 15_500),
        doubt("n1", Why::Killed, 15_000, 35_000),
    ];
    is_forgiven_by(untold, &cut);
    // It was cut only later.
    let later = |presence: &mut Presence| {
        killed(presence);
        let cut = doubt("n1", Why::Away, 12_000, 13_000);
        presence.doubts.all.push(cut);
    };
    assert_eq!(changed(later).len(), 1);
}

#[test]
fn what_a_killed_node_had_not_published_may_be_missing() {
    let unopened = |presence: &mut Presence| {
        presence.of_sessions[0].id = "2".to_owned();
        presence.of_sessions[0] = lost("2", "a", "n1", 20_000);
        presence.of_sessions.remove(1);
    };
    is_forgiven_by(unopened, &[doubt("n1", Why::Killed, 15_500, 35_000)]);
    let held = [
        doubt("n1", Why::Untaken, 14_000, 18_500),
        doubt("n1", Why::Killed, 18_000, 35_000),
    ];
    is_forgiven_by(unopened, &held);
    let long_ago = |presence: &mut Presence| {
        unopened(presence);
        presence.doubts.all = vec![doubt("n1", Why::Killed, 18_000, 35_000)];
    };
    assert_eq!(changed(long_ago).len(), 1);
}

#[test]
fn a_node_that_goes_on_as_another_tells_its_sessions_anew() {
    let anew = |presence: &mut Presence| {
        let told = [
            lost("7", "b", "n2", 40_000),
            session("8", "b", "n2", true, 41_000),
        ];
        presence.of_sessions.extend(told);
    };
    let reborn = doubt("n2", Why::Reborn, 40_800, 41_200);
    assert_ne!(changed(anew), NONE);
    let with = |presence: &mut Presence| {
        anew(presence);
        presence.doubts.all.push(reborn.clone());
    };
    assert_eq!(changed(with), NONE);
    // Told as closed, and not as opened anew.
    let closed = |presence: &mut Presence| {
        with(presence);
        presence.of_sessions.pop();
    };
    assert_eq!(changed(closed).len(), 1);
    // It has gone, and only others have told so.
    let gone = |presence: &mut Presence| {
        with(presence);
        presence.open.clear();
    };
    assert_eq!(changed(gone).len(), 1);
    // It went while it was told anew.
    let crossed = |presence: &mut Presence| {
        gone(presence);
        presence
            .of_sessions
            .push(session("9", "b", "n2", false, 40_900));
    };
    assert_eq!(changed(crossed), NONE);
}

#[test]
fn users_come_and_go_in_turn() {
    for place in 0..3 {
        let wrong = changed(|presence| {
            presence.of_users.remove(place);
        });
        assert_ne!(wrong, NONE, "{place}");
    }
    let wrong = changed(|presence| presence.online.clear());
    assert_eq!(wrong.len(), 1, "told as online, and is not: {wrong:?}");
    let other = changed(|presence| _ = presence.online.insert("v".to_owned()));
    assert_eq!(other.len(), 1, "{other:?}");
    // Of two of one moment, in whichever order they were read.
    let at_once = |presence: &mut Presence| {
        presence.of_users[1].time = 30_000;
        presence.of_users.swap(1, 2);
    };
    assert_eq!(changed(at_once), NONE);
}

#[test]
fn who_was_with_a_node_in_doubt_may_be_told_again() {
    let again = |presence: &mut Presence| presence.of_users.push(user("7", "u", true, 40_000));
    is_forgiven_by(again, &[doubt("n2", Why::Away, 39_000, 40_100)]);
    is_forgiven_by(again, &[doubt("n2", Why::Reborn, 39_900, 40_100)]);
    // It had gone from n1 by then.
    let elsewhere = changed(|presence| {
        again(presence);
        presence.doubts.all = vec![doubt("n1", Why::Away, 39_000, 40_100)];
    });
    assert_ne!(elsewhere, NONE);
    // That it came back was not published.
    let missing = |presence: &mut Presence| {
        presence.of_users[2] = user("6", "u", false, 36_000);
        presence.online.clear();
        let closed = lost("7", "b", "n2", 36_000);
        presence.of_sessions.push(closed);
        presence.open.clear();
    };
    is_forgiven_by(missing, &[doubt("n2", Why::Killed, 30_500, 36_500)]);
    // It came back to n1, whose end others told, and went on with n2.
    let moved = |presence: &mut Presence| {
        presence.of_users.pop();
        let opened = session("7", "c", "n1", true, 29_000);
        let closed = lost("8", "c", "n1", 34_000);
        presence.of_sessions.extend([opened, closed]);
    };
    is_forgiven_by(moved, &[doubt("n1", Why::Killed, 29_500, 34_500)]);
    // With nobody between, n2 was the first.
    let apart = changed(|presence| {
        moved(presence);
        presence.of_sessions[2].time = 40_000;
        presence.doubts.all = vec![doubt("n1", Why::Killed, 29_500, 34_500)];
    });
    assert_ne!(apart, NONE);
    // At last all is as it is told.
    let last = changed(|presence| {
        presence.of_users.pop();
        presence.doubts.all = vec![doubt("n2", Why::Away, 0, i64::MAX)];
    });
    assert_eq!(last.len(), 1);
}

#[test]
fn nothing_is_told_twice_while_no_second_node_dies() {
    let dies = doubt("n1", Why::Killed, 16_000, 21_000);
    let twice = |presence: &mut Presence| {
        let told = lost("2", "a", "n1", 20_000);
        presence.of_sessions[1] = told.clone();
        presence.of_sessions.push(told);
        presence.doubts.all.push(dies.clone());
    };
    let with = |doubts: &[Doubt]| {
        changed(|presence| {
            twice(presence);
            presence.doubts.all.extend_from_slice(doubts);
        })
    };
    assert_eq!(with(&[]).len(), 1, "one node died");
    for why in [Why::Killed, Why::Away] {
        assert_eq!(with(&[doubt("n2", why, 21_000, 22_000)]), NONE);
        assert_eq!(with(&[doubt("n2", why, 30_000, 31_000)]).len(), 1);
        assert_eq!(with(&[doubt("n1", why, 21_000, 22_000)]).len(), 1);
    }
    assert_eq!(with(&[doubt("n2", Why::Reborn, 21_000, 22_000)]).len(), 1);
    // The brokers did not say whether they had it.
    assert_eq!(with(&[doubt("n2", Why::Untaken, 19_000, 22_000)]), NONE);
    assert_eq!(with(&[doubt("n2", Why::Untaken, 9_000, 12_000)]).len(), 1);
    // The same of its user.
    let offline = |doubts: &[Doubt]| {
        changed(|presence| {
            let told = presence.of_users[1].clone();
            presence.of_users.push(told);
            presence.doubts.all.push(dies.clone());
            presence.doubts.all.extend_from_slice(doubts);
        })
    };
    assert_eq!(offline(&[]).len(), 1);
    let second = [doubt("n2", Why::Killed, 21_000, 22_000)];
    assert_eq!(offline(&second), NONE);
}

#[test]
fn who_comes_is_told_twice_only_where_brokers_do_not_answer() {
    let twice = |presence: &mut Presence| {
        let told = presence.of_sessions[0].clone();
        presence.of_sessions.push(told);
    };
    is_forgiven_by(twice, &[doubt("n1", Why::Untaken, 9_000, 12_000)]);
    let killed = changed(|presence| {
        twice(presence);
        presence.doubts.all = vec![doubt("n1", Why::Killed, 9_000, 12_000)];
    });
    assert_eq!(killed.len(), 1);
    let renamed = changed(|presence| presence.of_sessions[1].id = "1".to_owned());
    assert_ne!(renamed, NONE);
}

#[test]
fn a_node_and_others_tell_one_end_only_where_it_is_in_doubt() {
    let both = |presence: &mut Presence| {
        let told = lost("2", "a", "n1", 22_000);
        presence.of_sessions.push(told);
    };
    is_forgiven_by(both, &[doubt("n1", Why::Away, 18_000, 23_000)]);
    is_forgiven_by(both, &[doubt("n1", Why::Killed, 20_300, 23_000)]);
    // They tell of it at the time at which the store was told, before it was killed.
    let told_at = |time| {
        move |presence: &mut Presence| {
            let told = lost("2", "a", "n1", time);
            presence.of_sessions.push(told);
        }
    };
    let killed = [doubt("n1", Why::Killed, 20_010, 23_000)];
    is_forgiven_by(told_at(20_004), &killed);
    is_forgiven_by(told_at(20_000), &killed);
    let of_user = |presence: &mut Presence| {
        let told = presence.of_users[1].clone();
        presence.of_users.push(told);
    };
    is_forgiven_by(of_user, &killed);
    // It had the time to have it dropped.
    let late = changed(|presence| {
        both(presence);
        presence.doubts.all = vec![doubt("n1", Why::Killed, 21_500, 23_000)];
    });
    assert_eq!(late.len(), 1);
    // And none, because the store was away.
    let held = [
        doubt("n1", Why::Killed, 21_500, 23_000),
        doubt("n1", Why::Untaken, 19_000, 21_500),
    ];
    is_forgiven_by(both, &held);
    // It was published long after, and then the store was away before it could drop it; or long after that.
    let behind = |away: i64| {
        [
            doubt("n1", Why::Untaken, 19_000, 40_000),
            doubt("n1", Why::Away, away, away + 3_000),
        ]
    };
    is_forgiven_by(both, &behind(41_000));
    let late = changed(|presence| {
        both(presence);
        presence.doubts.all = behind(50_000).to_vec();
    });
    assert_eq!(late.len(), 1);
}

#[test]
fn where_claims_last_brokers_that_are_away_are_no_reason_for_all() {
    let mut presence = sound();
    presence.doubts.all = vec![
        doubt("n3", Why::Killed, 38_000, 45_000),
        doubt("n2", Why::Untaken, 39_000, 50_000),
    ];
    let mut judged = |count: usize, claims_last| {
        presence.of_sessions.truncate(3);
        for name in ["x", "y", "z"].iter().take(count) {
            let told = lost(&format!("l{name}"), name, "n3", 40_000);
            presence.of_sessions.extend([told.clone(), told]);
        }
        let mut faults = Vec::new();
        judge_with(&presence, claims_last, &mut faults);
        faults.len()
    };
    assert_eq!(judged(3, false), 0);
    assert_eq!(judged(2, true), 0);
    assert_eq!(judged(3, true), 1);
}
