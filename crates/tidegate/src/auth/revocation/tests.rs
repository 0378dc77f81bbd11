use std::time::UNIX_EPOCH;

use super::*;

fn identity(user: &str, token: &str, id: Option<&str>, issued: Option<u64>) -> Identity {
    Identity {
        token: Some(digest_of(token)),
        id: id.map(Into::into),
        issued: issued.and_then(std::num::NonZeroU64::new),
        ..Identity::without_token(user)
    }
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn with_room(max_entries: usize) -> Revocations {
    Revocations::new(RevocationPlan {
        max_entries,
        keep: None,
    })
}

#[test]
fn each_way_takes_its_own_and_no_other() {
    let one = identity("a", "t", Some("i"), Some(1000));
    let others = [
        identity("b", "u", Some("j"), Some(1000)),
        identity("a", "v", Some("k"), Some(1001)),
        identity("b", "w", None, None),
        Identity::without_token("a"),
    ];
    for what in [
        Revoked::token("t"),
        Revoked::Id("i".into()),
        Revoked::User("a".into(), at(1000)),
    ] {
        let revocations = with_room(10);
        assert!(!revocations.hold(&one));
        revocations.add(what.clone(), None).unwrap();
        assert!(revocations.hold(&one) && what.takes(&one), "{what:?}");
        for other in &others {
            assert!(!revocations.hold(other), "{what:?} {other:?}");
        }
    }
    let revocations = with_room(10);
    let unsaid = identity("a", "x", None, None);
    revocations
        .add(Revoked::User("a".into(), at(5)), None)
        .unwrap();
    assert!(revocations.hold(&unsaid), "it may have been issued before");
    // A second one does not take back the first.
    revocations
        .add(Revoked::User("a".into(), at(3)), None)
        .unwrap();
    assert!(revocations.hold(&identity("a", "y", None, Some(5))));
}

#[test]
fn what_is_in_force_is_pushed_out_by_nothing() {
    let revocations = with_room(100);
    let later = SystemTime::now() + Duration::from_secs(3600);
    for number in 0..100 {
        let what = Revoked::token(&number.to_string());
        revocations.add(what, Some(later)).unwrap();
    }
    let full = revocations
        .add(Revoked::token("more"), None)
        .expect_err("there is no room");
    let room_in = full.room_in.unwrap();
    assert!(room_in <= Duration::from_secs(3600) && room_in > Duration::from_secs(3500));
    // What is there already needs no room.
    revocations.add(Revoked::token("7"), Some(later)).unwrap();
    for number in 0..100 {
        let one = identity("a", &number.to_string(), None, None);
        assert!(revocations.hold(&one), "{number}");
    }
}

#[test]
fn what_there_is_no_room_for_holds_until_the_sessions_were_looked_at() {
    let revocations = with_room(1);
    revocations.add(Revoked::Id("i".into()), None).unwrap();
    let others = [
        (Revoked::token("t"), identity("a", "t", None, None)),
        (Revoked::Id("j".into()), identity("a", "u", Some("j"), None)),
        (
            Revoked::User("b".into(), at(5)),
            identity("b", "v", None, None),
        ),
    ];
    for (what, one) in &others {
        let added = revocations.added();
        assert_eq!(
            revocations.add(what.clone(), None),
            Err(Full { room_in: None })
        );
        assert!(
            revocations.hold(one) && revocations.added() > added,
            "{what:?}"
        );
    }
    assert_eq!((revocations.count(), revocations.refused()), (1, 3));
    let now = Now::look();
    revocations.ticks.store(0, Ordering::Relaxed);
    revocations.tick(Now {
        wall: now.wall + PASSING,
        steady: now.steady + PASSING,
    });
    for (what, one) in &others {
        assert!(!revocations.hold(one), "{what:?}");
    }
    // Nor are these without a bound.
    for number in 0..2 * MOST_PASSING {
        let _full = revocations.add(Revoked::token(&number.to_string()), None);
    }
    assert_eq!(revocations.read().passing.len(), MOST_PASSING);
}

#[test]
fn a_user_is_taken_with_whatever_is_open() {
    let what = Revoked::User("a".into(), at(1000));
    for issued in [None, Some(1000), Some(1005)] {
        assert!(what.takes(&identity("a", "t", None, issued)), "{issued:?}");
        assert!(!what.takes(&identity("b", "t", None, issued)), "{issued:?}");
    }
}

#[test]
fn it_lasts_as_long_as_its_token_by_both_clocks() {
    let revocations = with_room(1);
    let now = Now::look();
    let hour = Duration::from_secs(3600);
    revocations
        .add(Revoked::token("t"), Some(now.wall + hour))
        .unwrap();
    let is_held = |wall: Duration, steady: Duration| {
        let then = Now {
            wall: now.wall + wall,
            steady: now.steady + steady,
        };
        revocations.ticks.store(0, Ordering::Relaxed);
        revocations.tick(then);
        revocations.hold(&identity("a", "t", None, None))
    };
    let late = hour + Duration::from_secs(1);
    assert!(is_held(late * 2, Duration::ZERO), "the wall was set ahead");
    assert!(is_held(Duration::ZERO, late * 2), "it was set back");
    assert!(!is_held(late, late));
    assert_eq!(revocations.count(), 0);
    // There is room again.
    revocations.add(Revoked::token("u"), None).unwrap();
    let revocations = with_room(1);
    revocations.add(Revoked::token("t"), None).unwrap();
    let far = Now {
        wall: now.wall + hour * 24 * 3650,
        steady: now.steady + hour * 24 * 3650,
    };
    revocations.tick(far);
    assert_eq!(revocations.count(), 1, "nobody knows when it ends");
}

#[test]
fn other_nodes_are_told_of_it_also_where_there_is_no_room() {
    let revocations = with_room(1);
    revocations.share();
    let ends = SystemTime::now() + Duration::from_secs(3600);
    revocations
        .add(Revoked::Id("kept".into()), Some(ends))
        .unwrap();
    let passing = Revoked::Id("passing".into());
    assert!(revocations.add(passing.clone(), Some(ends)).is_err());
    let (told, is_torn) = revocations.take_unshared();
    let [(first, until), (second, soon)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((first, second), (&Revoked::Id("kept".into()), &passing));
    assert!(!is_torn && until.unwrap() >= ends - Duration::from_secs(1));
    // There it ends what is open, and does no more.
    assert!(soon.unwrap() < ends - Duration::from_secs(60));
    // What comes back from there is nothing new, and nothing that is kept is told as if it were.
    assert_eq!(revocations.add_shared(passing, *soon).ok(), Some(false));
    let all = revocations.all();
    assert_eq!(all.len(), 1, "{all:?}");
}
