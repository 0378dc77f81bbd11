//! A node that goes is missed, and one that comes back is itself again.

use tidegate_tests::backing::Redis;

use super::{House, SHORT_LEASE};

#[tokio::test]
async fn survivors_tell_the_end_of_a_killed_node() {
    let test = "survivors_tell_the_end";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let mut of_a = a.events().await;
    let (_kept, _) = house.enter(&a, "stays").await;
    // Redis has it as the first; a client is welcome before that.
    a.counts(1).await;
    let (_gone, first) = house.enter(&b, "stays").await;
    let (_lost, second) = house.enter(&b, "goes").await;
    a.counts(2).await;
    assert_eq!(of_a.next_of("user.online").await["user"], "stays");
    b.process.signal("KILL");
    let mut closed = Vec::new();
    let offline = loop {
        let event = of_a.next().await;
        match event["type"].as_str() {
            Some("session.closed") => {
                assert_eq!(
                    (&event["node"], &event["cause"]),
                    (&"b".into(), &"node_lost".into()),
                    "{event}"
                );
                assert_eq!(
                    (&event["code"], &event["route"]),
                    (&1006.into(), &"bridge".into()),
                    "{event}"
                );
                closed.push(event["session"].as_str().unwrap().to_owned());
            }
            Some("user.offline") => break event,
            _ => panic!("{event}"),
        }
    };
    assert_eq!(offline["user"], "goes");
    while closed.len() < 2 {
        let event = of_a.next_of("session.closed").await;
        closed.push(event["session"].as_str().unwrap().to_owned());
    }
    closed.sort();
    let mut expected = [first, second];
    expected.sort();
    assert_eq!(closed, expected);
    a.counts(1).await;
    a.admin.counts("tidegate_cluster_nodes", 1.0).await;
    // Nothing was told of the user who stays, and what comes next is told.
    let (_back, _) = house.enter(&a, "goes").await;
    assert_eq!(of_a.next_of("user.online").await["user"], "goes");
}

#[tokio::test]
async fn of_two_survivors_one_tells() {
    let test = "of_two_survivors_one_tells";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let [a, b, c] = [
        house.node("a", &redis).await,
        house.node("b", &redis).await,
        house.node("c", &redis).await,
    ];
    for gate in [&a, &b, &c] {
        gate.admin.counts("tidegate_cluster_nodes", 3.0).await;
    }
    let (mut there, _) = house.enter(&b, "u1").await;
    let (mut lost, _) = house.enter(&c, "u1").await;
    let (mut gone, session) = house.enter(&c, "u2").await;
    a.sees(3, 2, 3).await;
    // Each session on the two others is told once.
    for event in ["first", "last"] {
        let push = format!(r#"{{"user":["u1","u2"],"event":"{event}"}}"#);
        let told = a.done("POST", "/v1/push", &push).await;
        super::reached(&told, "matched", 3);
    }
    for client in [&mut there, &mut lost, &mut gone] {
        assert_eq!(client.receive().await["event"], "first");
        assert_eq!(client.receive().await["event"], "last");
    }
    let (mut of_a, mut of_b) = (a.events().await, b.events().await);
    c.process.signal("KILL");
    for gate in [&a, &b] {
        gate.sees(2, 1, 1).await;
        gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
    }
    // What comes now comes behind all that was told.
    let (_mark, _) = house.enter(&a, "mark-a").await;
    let (_mark, _) = house.enter(&b, "mark-b").await;
    let mut told = Vec::new();
    for (events, mark) in [(&mut of_a, "mark-a"), (&mut of_b, "mark-b")] {
        loop {
            let event = events.next().await;
            if event["type"] == "user.online" && event["user"] == mark {
                break;
            }
            told.push(event);
        }
    }
    let of = |kind: &str| told.iter().filter(|one| one["type"] == kind).count();
    assert_eq!(
        (of("user.offline"), of("session.closed")),
        (1, 2),
        "{told:?}"
    );
    let offline = told
        .iter()
        .find(|one| one["type"] == "user.offline")
        .unwrap();
    assert_eq!(offline["user"], "u2", "{told:?}");
    let mut its = told.iter();
    assert!(
        its.any(|one| one["session"] == session.as_str()),
        "{told:?}"
    );
    let ids: std::collections::BTreeSet<_> = told.iter().map(|one| one["id"].as_str()).collect();
    assert_eq!(ids.len(), told.len(), "{told:?}");
}

#[tokio::test]
async fn a_node_that_was_stopped_comes_back_with_its_sessions() {
    let test = "a_node_that_was_stopped";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let mut of_a = a.events().await;
    let (mut client, session) = house.enter(&b, "u1").await;
    a.counts(1).await;
    // Before it comes back, which is told at once.
    let mut of_b = b.events().await;
    b.process.signal("STOP");
    assert_eq!(
        of_a.next_of("session.closed").await["session"],
        session.as_str()
    );
    assert_eq!(of_a.next_of("user.offline").await["user"], "u1");
    a.counts(0).await;
    b.process.signal("CONT");
    assert_eq!(
        of_b.next_of("session.opened").await["session"],
        session.as_str()
    );
    assert_eq!(of_b.next_of("user.online").await["user"], "u1");
    a.counts(1).await;
    b.is_connected().await;
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let told = a
        .done("POST", "/v1/users/u1/push", r#"{"event":"x"}"#)
        .await;
    super::reached(&told, "matched", 1);
    assert_eq!(client.receive().await["event"], "x");
    client.0.close_session().await;
    assert_eq!(of_b.next_of("user.offline").await["user"], "u1");
    a.counts(0).await;
}

#[tokio::test]
async fn a_node_that_drains_leaves_nothing_to_tell() {
    let test = "a_node_that_drains_leaves";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let drain = "drain: { delay: 1ms, spread: 1ms, timeout: 5s }";
    let a = house.node("a", &redis).await;
    let mut b = house.node_with("b", &redis, drain).await;
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let mut of_a = a.events().await;
    let (mut client, _) = house.enter(&b, "u1").await;
    a.counts(1).await;
    b.process.signal("TERM");
    assert_eq!(client.closed().await, Some(1012));
    drop(client);
    let (status, said) = b.process.ends().await;
    assert!(status.success(), "{said}");
    a.counts(0).await;
    a.admin.counts("tidegate_cluster_nodes", 1.0).await;
    // What b told itself a need not tell: the next thing here is of a's own.
    let (_client, _) = house.enter(&a, "u2").await;
    assert_eq!(of_a.next().await["user"], "u2");
}
