//! After whatever happened to nodes, links and Redis, those are online who are.

use tidegate_tests::backing::{Guard, Redis};

use super::{Client, Gate, House, SHORT_LEASE};

/// Sessions of users: one of each on every node, and one who is on a node alone.
async fn fill(house: &mut House, gates: [&Gate; 3]) -> [Vec<Client>; 3] {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for (number, gate) in gates.into_iter().enumerate() {
        for user in ["everywhere".to_owned(), format!("only{number}")] {
            let (client, _) = house.enter(gate, &user).await;
            all[number].push(client);
        }
    }
    all
}

#[tokio::test]
async fn whatever_happened() {
    let test = "whatever_happened";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(server) = Redis::guarded(test, Guard::default(), 1).await else {
        return;
    };
    let direct = format!("url: 'redis://{}'", server.node().address());
    let through = format!("timeout: 2s, url: 'redis://{}'", server.door(0).address());
    let a = house.node("a", &direct).await;
    let b = house.node("b", &through).await;
    let c = house.node("c", &direct).await;
    let [_of_a, mut of_b, _of_c] = fill(&mut house, [&a, &b, &c]).await;
    for gate in [&a, &b, &c] {
        gate.sees(3, 4, 6).await;
    }
    // A node is killed.
    c.process.signal("KILL");
    for gate in [&a, &b] {
        gate.sees(2, 3, 4).await;
        gate.counts(3).await;
        gate.counts_sessions("everywhere", 2).await;
    }
    // One is stopped for longer than its lease.
    b.process.signal("STOP");
    a.sees(1, 2, 2).await;
    b.process.signal("CONT");
    for gate in [&a, &b] {
        gate.sees(2, 3, 4).await;
    }
    // Redis loses all that it had, and then its life.
    server.node().ask(&["FLUSHALL"]).await;
    for gate in [&a, &b] {
        gate.sees(2, 3, 4).await;
    }
    server.node().ask(&["FLUSHALL"]).await;
    server.node().daemon().kill().await;
    for gate in [&a, &b] {
        gate.says_of_cluster("degraded").await;
    }
    server.node().start_again().await;
    for gate in [&a, &b] {
        gate.sees(2, 3, 4).await;
    }
    // A link is cut, sessions come and go behind it, and it is mended.
    server.door(0).cut();
    b.says_of_cluster("degraded").await;
    let seen = b.json("/v1/presence").await;
    assert_eq!(
        (&seen["degraded"], &seen["sessions"]),
        (&true.into(), &2.into()),
        "{seen}"
    );
    of_b.pop().unwrap().0.close_session().await;
    let (_comes, _) = house.enter(&b, "comes").await;
    let (_comes, _) = house.enter(&b, "comes").await;
    server.door(0).mend();
    for gate in [&a, &b] {
        gate.sees(2, 3, 5).await;
        gate.counts(3).await;
        gate.counts_sessions("everywhere", 2).await;
        gate.counts_sessions("comes", 2).await;
        let gone = gate.ask("GET", "/v1/users/only1?scope=cluster", "").await;
        gone.expect_problem(404);
    }
}

#[tokio::test]
async fn the_nodes_are_told_with_what_they_have() {
    let test = "the_nodes_are_told";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let (_here, _) = house.enter(&a, "u1").await;
    let (_there, _) = house.enter(&b, "u1").await;
    let (_other, _) = house.enter(&b, "u2").await;
    for (gate, name) in [(&a, "a"), (&b, "b")] {
        let seen = gate.sees(2, 2, 3).await;
        assert_eq!(seen["degraded"], false, "{seen}");
        for node in seen["nodes"].as_array().unwrap() {
            assert_eq!(node["this"], node["node"] == name, "{seen}");
            let sessions = if node["node"] == "a" { 1 } else { 2 };
            assert_eq!(node["sessions"], sessions, "{seen}");
            assert_eq!(node["incarnation"].as_str().unwrap().len(), 16, "{seen}");
            let left = node["lease_left_seconds"].as_f64().unwrap();
            let since = node["last_seen_seconds"].as_f64().unwrap();
            assert!((0.0..=6.0).contains(&left) && since >= 0.0, "{seen}");
        }
    }
    let wrong = a.ask("GET", "/v1/presence?scope=cluster", "").await;
    wrong.expect_problem(400);
}
