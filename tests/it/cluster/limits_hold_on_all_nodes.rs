//! A limit of `scope: cluster` is one for all nodes together, and no handshake waits for Redis.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_tests::backing::Redis;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::{eventually_does, eventually_does_within};
use tidegate_tests::{Request, Wire, tools};

use super::{Client, Gate, House, LONG, SHORT_LEASE};

impl House {
    fn handshake(&mut self, user: &str) -> Request {
        let bearer = format!("Bearer {}", self.token(user));
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json")
    }

    /// Two nodes with these limits, which know of each other.
    async fn limited(&self, redis: &str, limits: &str) -> (Gate, Gate) {
        let limits = format!("limits: {{ {limits} }}");
        let a = self.node_with("a", redis, &limits).await;
        let b = self.node_with("b", redis, &limits).await;
        for gate in [&a, &b] {
            gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
        }
        (a, b)
    }
}

/// What a handshake is answered with, and with what it may be a session.
async fn asked(gate: &Gate, handshake: &Request) -> (u16, Wire) {
    let mut wire = Wire::connect(gate.public).await;
    wire.request(handshake).await;
    let status = wire.read_head().await.status();
    (status, wire)
}

/// Waits until one more is refused with this status at the door.
async fn refuses(gate: &Gate, handshake: &Request, status: u16) {
    eventually_does("one more is refused", async || {
        let (answer, wire) = asked(gate, handshake).await;
        if answer == 101 {
            // It came before it was known; it is ended.
            let code = Client(wire).closed().await;
            assert_eq!(code, Some(4429));
            return false;
        }
        assert_eq!(answer, status);
        true
    })
    .await;
}

/// Waits until one more is let in, and stays.
async fn admits(gate: &Gate, handshake: &Request) -> Client {
    let begun = Instant::now();
    loop {
        let (answer, wire) = asked(gate, handshake).await;
        if answer == 101 {
            return Client(wire);
        }
        assert!(begun.elapsed() < LONG, "answered with {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_on_all_nodes() {
    let test = "a_user_has_so_many_on_all_nodes";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let limits = "max_sessions_per_user: { most: 2, scope: cluster }";
    let (a, b) = house.limited(&redis, limits).await;
    let (first, _) = house.enter(&a, "u1").await;
    let (mut second, _) = house.enter(&b, "u1").await;
    let handshake = house.handshake("u1");
    for gate in [&a, &b] {
        gate.is_settled().await;
    }
    for gate in [&a, &b] {
        refuses(gate, &handshake, 429).await;
    }
    // A plain request to the same place says why.
    let plain = Request::get("/ws").with("Authorization", &format!("Bearer {}", house.token("u1")));
    let mut wire = Wire::connect(a.public).await;
    wire.request(&plain).await;
    let answer = wire.read_answer().await;
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!(answer.text().contains("too_many_sessions"));
    // Others are not concerned, and whoever leaves makes room, wherever that is.
    let (_other, _) = house.enter(&a, "u2").await;
    first.0.close_session().await;
    let _third = admits(&b, &handshake).await;
    a.counts_sessions("u1", 2).await;
    b.is_settled().await;
    refuses(&a, &handshake, 429).await;
    // Whoever was there stays.
    let push = r#"{"event":"x"}"#;
    a.done("POST", "/v1/users/u1/push", push).await;
    assert_eq!(second.receive().await["event"], "x");
}

#[tokio::test]
async fn the_oldest_of_a_user_goes_wherever_it_is() {
    let test = "the_oldest_of_a_user_goes";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let limits = "max_sessions_per_user: { most: 2, scope: cluster }, over: evict_oldest";
    let (a, b) = house.limited(&redis, limits).await;
    let (mut first, _) = house.enter(&a, "u1").await;
    a.is_settled().await;
    let (mut second, _) = house.enter(&b, "u1").await;
    b.is_settled().await;
    let (_third, _) = house.enter(&b, "u1").await;
    assert_eq!(first.closed().await, Some(4409));
    drop(first);
    a.counts_sessions("u1", 2).await;
    b.is_settled().await;
    let (_fourth, _) = house.enter(&a, "u1").await;
    assert_eq!(second.closed().await, Some(4409));
    drop(second);
    a.counts_sessions("u1", 2).await;
}

#[tokio::test]
async fn a_route_and_all_sessions_have_limits_of_their_own() {
    let test = "a_route_and_all_sessions";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let limits = "max_sessions: { most: 3, scope: cluster }";
    let (a, b) = house.limited(&redis, limits).await;
    let (first, _) = house.enter(&a, "u1").await;
    let (_second, _) = house.enter(&a, "u2").await;
    let (_third, _) = house.enter(&b, "u3").await;
    let handshake = house.handshake("u4");
    for gate in [&a, &b] {
        gate.is_settled().await;
    }
    for gate in [&a, &b] {
        refuses(gate, &handshake, 503).await;
    }
    first.0.close_session().await;
    let _fourth = admits(&b, &handshake).await;
    b.is_settled().await;
    refuses(&a, &handshake, 503).await;
}

#[tokio::test]
async fn the_oldest_of_all_goes_wherever_it_is() {
    let test = "the_oldest_of_all_goes";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let limits = "max_sessions: { most: 2, scope: cluster }, over: evict_oldest";
    let (a, b) = house.limited(&redis, limits).await;
    let (mut first, _) = house.enter(&a, "u1").await;
    a.is_settled().await;
    let (mut second, _) = house.enter(&b, "u2").await;
    b.is_settled().await;
    let (_third, _) = house.enter(&b, "u3").await;
    assert_eq!(first.closed().await, Some(4409));
    drop(first);
    a.counts(2).await;
    b.is_settled().await;
    let (_fourth, _) = house.enter(&a, "u4").await;
    assert_eq!(second.closed().await, Some(4409));
    drop(second);
    a.counts(2).await;
}

/// Two hundred at once, half of them on each node.
async fn rush(test: &str, limits: &str, is_one_user: bool) {
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = house.limited(&redis, limits).await;
    let mut asks = Vec::new();
    for number in 0..200 {
        let gate = if number % 2 == 0 { &a } else { &b };
        let user = if is_one_user { 0 } else { number };
        let handshake = house.handshake(&format!("u{user}"));
        asks.push(async move { asked(gate, &handshake).await });
    }
    let all = join_all(asks).await;
    let open: Vec<_> = all
        .into_iter()
        .filter(|(status, _)| *status == 101)
        .collect();
    assert!(open.len() >= 10, "{} were let in", open.len());
    // Nobody answers the close frames, and sessions end all the same.
    eventually_does_within(LONG, "ten are left on all nodes", async || {
        let mut here = 0;
        for gate in [&a, &b] {
            let all = gate.json("/v1/sessions?scope=cluster").await;
            if all["sessions"].as_array().unwrap().len() != 10 {
                return false;
            }
            let info = gate.json("/v1/info").await;
            here += info["census"]["sessions"].as_u64().unwrap();
        }
        here == 10
    })
    .await;
    // Those who are left are told what comes then, and the others were told that they are not.
    a.done("POST", "/v1/push", r#"{"all":true,"event":"over"}"#)
        .await;
    let left = join_all(open.into_iter().map(|(_, wire)| stays(Client(wire)))).await;
    assert_eq!(left.into_iter().flatten().count(), 10);
}

/// The client, where it is told that it is over before its session is ended.
async fn stays(mut client: Client) -> Option<Client> {
    loop {
        let frame = client.0.read_frame().await;
        if frame.opcode == tidegate_tests::frame::CLOSE {
            return None;
        }
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        if text.contains(r#""event":"over""#) {
            return Some(client);
        }
    }
}

#[tokio::test]
async fn a_rush_of_one_user_settles_at_the_limit() {
    let limits = "max_sessions_per_user: { most: 10, scope: cluster }";
    rush("a_rush_of_one_user", limits, true).await;
}

#[tokio::test]
async fn a_rush_of_one_user_leaves_the_newest() {
    let limits = "max_sessions_per_user: { most: 10, scope: cluster }, over: evict_oldest";
    rush("a_rush_leaves_the_newest", limits, true).await;
}

#[tokio::test]
async fn a_rush_of_all_settles_at_the_limit() {
    let limits = "max_sessions: { most: 10, scope: cluster }";
    rush("a_rush_of_all", limits, false).await;
}

#[tokio::test]
async fn a_rush_of_all_leaves_the_newest() {
    let limits = "max_sessions: { most: 10, scope: cluster }, over: evict_oldest";
    rush("a_rush_of_all_leaves_the_newest", limits, false).await;
}

#[tokio::test]
async fn without_redis_each_node_keeps_to_it_by_itself() {
    let test = "without_redis_each_node_keeps_to_it";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let limits = "max_sessions_per_user: { most: 1, scope: cluster }, \
                  max_sessions: { most: 3, scope: cluster }";
    let (a, b) = house.limited(&redis, limits).await;
    let (_first, _) = house.enter(&a, "u1").await;
    let handshake = house.handshake("u1");
    a.is_settled().await;
    refuses(&b, &handshake, 429).await;
    server.node().daemon().kill().await;
    for gate in [&a, &b] {
        gate.says_of_cluster("degraded").await;
    }
    let mut second = admits(&b, &handshake).await;
    assert_eq!(asked(&b, &handshake).await.0, 429);
    server.node().start_again().await;
    // The newer one is too many.
    assert_eq!(second.closed().await, Some(4429));
    drop(second);
    for gate in [&a, &b] {
        gate.is_connected().await;
        refuses(gate, &handshake, 429).await;
    }
    a.counts_sessions("u1", 1).await;
}

#[tokio::test]
async fn a_killed_node_counts_until_its_lease_has_lapsed() {
    let test = "a_killed_node_counts_until";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let limits = "max_sessions_per_user: { most: 1, scope: cluster }, \
                  max_sessions: { most: 2, scope: cluster }";
    let (a, b) = house.limited(&redis, limits).await;
    let (_gone, _) = house.enter(&b, "u1").await;
    let (_lost, _) = house.enter(&b, "u2").await;
    b.is_settled().await;
    let (back, other) = (house.handshake("u1"), house.handshake("u3"));
    refuses(&a, &other, 503).await;
    b.process.signal("KILL");
    let _both = (admits(&a, &back).await, admits(&a, &other).await);
    a.counts(2).await;
}

#[tokio::test]
async fn a_scope_without_redis_is_a_mistake() {
    let test = "a_scope_without_redis_is_a_mistake";
    let Some(binary) = tools::tidegate_with(test, "redis") else {
        return;
    };
    let scratch = Scratch::new();
    let cases = [
        (
            "limits: { max_sessions_per_user: { most: 2, scope: cluster } }",
            "limits.max_sessions_per_user.scope: nobody could count on other nodes: there is no `cluster.redis`",
        ),
        (
            "limits: { max_sessions_per_address: { most: 2, scope: cluster } }",
            "limits.max_sessions_per_address.scope: sessions of one address are counted on each node by itself",
        ),
        (
            "limits: { max_sessions: { most: 2, scope: planet } }",
            "limits.max_sessions.scope",
        ),
        ("limits: { max_sessions: { scope: node } }", "most: 5"),
        (
            "limits: { max_sessions: { most: none, scope: node } }",
            "leave the whole of it out: then there is no limit",
        ),
    ];
    for (limits, wanted) in cases {
        let yaml = format!(
            "version: 1\nlisteners: {{ name: public, bind: 127.0.0.1:0 }}\naccess_log: none\n{limits}\n\
             routes: {{ name: all, match: {{ path: /ws }}, bridge: {{}} }}\n"
        );
        let file = scratch.write("tidegate.yaml", &yaml);
        let mut command = Command::new(&binary);
        let command = command.arg("check").arg("--config").arg(&file);
        let (status, said) = Process::start(command).ends().await;
        assert_eq!(status.code(), Some(1), "{limits}: {said}");
        assert!(said.contains(wanted), "{limits}: {said}");
        assert!(said.contains(":4:"), "{limits}: {said}");
    }
}
