//! A cursor says what a client had last of its user's pushes: any node of the same bus sends what came
//! behind, or says that it cannot.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::bus::MemoryBus;
use tidegate::config::plan::BusHistory;
use tidegate_tests::mint::SECRET;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

use super::super::bridge::Client;
use super::Setting;

const KEY: &str = "resume: { key: 0123456789abcdef0123456789abcdef }";

/// These keys of `bridge` in place of those of `bridge.push`.
fn beside_push(options: &str) -> String {
    format!(" }}, {}", options.strip_suffix(" }").unwrap())
}

/// Two gateways that share a bus, and the key of cursors.
struct Nodes {
    one: Setting,
    two: Setting,
}

impl Nodes {
    async fn new(test: &str) -> Option<Self> {
        Self::with(test, MemoryBus::default(), [KEY, KEY]).await
    }

    /// With these keys of `bridge`.
    async fn with(test: &str, bus: MemoryBus, [one, two]: [&str; 2]) -> Option<Self> {
        let (bus, options) = (Arc::new(bus), [one, two].map(beside_push));
        let other = format!("{test}_other");
        Some(Self {
            one: Setting::on_bus(test, (&options[0], ""), &bus).await?,
            two: Setting::on_bus(&other, (&options[1], ""), &bus).await?,
        })
    }
}

/// A session, and the cursor of its first `welcome`.
async fn opened(setting: &Setting, user: &str) -> (Client, Value) {
    let handshake = setting.handshake(user);
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = Client::open(&setting.gateway, &handshake).await;
    let welcome = client.receive().await;
    assert_eq!(welcome["op"], "welcome", "{welcome}");
    (client, welcome["resume"]["cursor"].clone())
}

/// A session that comes back by `resume`, and the `resume` of the `welcome` that answers it. What came
/// in between is nothing, or came with a cursor and comes again.
async fn back(setting: &Setting, user: &str, resume: &Value) -> (Client, Value) {
    let (mut client, _) = opened(setting, user).await;
    let hello = json!({"op": "hello", "resume": resume});
    let mut welcome = client.ask(&hello).await;
    while welcome["op"] == "push" {
        assert!(welcome["cursor"].is_string(), "{welcome}");
        welcome = client.receive().await;
    }
    assert_eq!(welcome["op"], "welcome", "{welcome}");
    (client, welcome["resume"].clone())
}

/// Whether it goes on, whether nothing is lost, and the last number.
fn told(resume: &Value) -> (bool, bool, u64) {
    let is = |name: &str| resume[name].as_bool().unwrap();
    let seq = resume["seq"].as_u64().unwrap();
    (is("continued"), is("recovered"), seq)
}

async fn tell(setting: &Setting, user: &str, data: u64) {
    let push = json!({"event": "n", "data": data});
    setting.push(&format!("/v1/users/{user}/push"), &push).await;
}

/// The next is this push; its cursor.
async fn expect(client: &mut Client, seq: u64, data: u64) -> Value {
    let push = client.receive().await;
    let said = (&push["seq"], &push["data"]);
    assert_eq!(said, (&json!(seq), &json!(data)), "{push}");
    assert!(push["cursor"].is_string(), "{push}");
    push["cursor"].clone()
}

#[tokio::test]
async fn what_came_behind_comes_from_another_node() {
    let Some(nodes) = Nodes::new("what_came_behind_comes_from_another_node").await else {
        return;
    };
    let (mut client, _) = opened(&nodes.one, "u1").await;
    tell(&nodes.one, "u1", 1).await;
    tell(&nodes.two, "u1", 2).await;
    let cursor = expect(&mut client, 1, 1).await;
    expect(&mut client, 2, 2).await;
    tell(&nodes.one, "u2", 77).await;
    client.0.reset();
    tell(&nodes.two, "u1", 3).await;
    // It has worked on the first of two alone.
    let resume =
        json!({"session": "s_AAAAAAAAAAAAAAAA", "token": "r_x", "seq": 1, "cursor": cursor});
    let (mut client, resume) = back(&nodes.two, "u1", &resume).await;
    assert_eq!(told(&resume), (false, true, 2));
    assert_eq!(resume["cursor"], cursor, "it has nothing more yet");
    expect(&mut client, 1, 2).await;
    let cursor = expect(&mut client, 2, 3).await;
    tell(&nodes.one, "u1", 4).await;
    expect(&mut client, 3, 4).await;
    // Who has all is told so.
    tell(&nodes.one, "u1", 5).await;
    let of_last = expect(&mut client, 4, 5).await;
    let (_client, resume) = back(&nodes.one, "u1", &json!({"cursor": of_last})).await;
    assert_eq!(told(&resume), (false, true, 0));
    // And a cursor is good as often as it is shown.
    for node in [&nodes.one, &nodes.two] {
        let (mut client, resume) = back(node, "u1", &json!({"cursor": cursor})).await;
        assert_eq!(told(&resume), (false, true, 2));
        expect(&mut client, 1, 4).await;
        expect(&mut client, 2, 5).await;
        client.0.close_session().await;
    }
    let series = "tidegate_sessions_resumed_total{result=\"replayed\"}";
    nodes.one.gateway.admin().counts(series, 2.0).await;
}

#[tokio::test]
async fn also_where_nothing_was_received_yet() {
    let Some(nodes) = Nodes::new("also_where_nothing_was_received_yet").await else {
        return;
    };
    tell(&nodes.one, "u1", 1).await;
    let (client, cursor) = opened(&nodes.one, "u1").await;
    client.0.reset();
    tell(&nodes.one, "u1", 2).await;
    let (mut client, resume) = back(&nodes.two, "u1", &json!({"cursor": cursor})).await;
    assert_eq!(told(&resume), (false, true, 1));
    expect(&mut client, 1, 2).await;
}

/// Each push comes once, in order, behind the `welcome` that counts, whoever pushes meanwhile.
#[tokio::test]
async fn nothing_is_missed_and_nothing_comes_twice_while_pushes_go_on() {
    const PUSHES: u64 = 600;
    let Some(nodes) = Nodes::new("nothing_is_missed_and_nothing_comes_twice").await else {
        return;
    };
    let (client, mut cursor) = opened(&nodes.one, "u1").await;
    let publishing = async {
        for data in 1..=PUSHES {
            let node = if data % 3 == 0 {
                &nodes.two
            } else {
                &nodes.one
            };
            tell(node, "u1", data).await;
        }
    };
    let receiving = async {
        let (mut client, mut last, mut replayed) = (client, 0, 0);
        for hop in 0.. {
            // So many of a socket, and then another on the other node.
            for _ in 0..=hop % 7 {
                let push = client.receive().await;
                assert_eq!(push["data"], last + 1, "{push} behind {last}");
                (last, cursor) = (last + 1, push["cursor"].clone());
                if last == PUSHES {
                    return replayed;
                }
            }
            client.0.reset();
            let node = if hop % 2 == 0 { &nodes.two } else { &nodes.one };
            let resume;
            (client, resume) = back(node, "u1", &json!({"cursor": cursor})).await;
            assert!(told(&resume).1, "{resume}");
            replayed += resume["seq"].as_u64().unwrap();
        }
        replayed
    };
    let ((), replayed) = tokio::join!(publishing, receiving);
    assert!(replayed > 0, "nothing was ever replayed");
}

#[tokio::test]
async fn a_cursor_that_is_not_theirs_is_none() {
    let other = KEY.replace("0123", "3210");
    let nodes = Nodes::with(
        "a_cursor_that_is_not_theirs",
        MemoryBus::default(),
        [KEY, &other],
    );
    let Some(nodes) = nodes.await else { return };
    let (mut client, _) = opened(&nodes.one, "u1").await;
    tell(&nodes.one, "u1", 1).await;
    tell(&nodes.one, "u1", 2).await;
    let cursor = expect(&mut client, 1, 1).await;
    let text = cursor.as_str().unwrap();
    let mut changed = text.to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    let nothing = (false, false, 0);
    for (node, user, wrong) in [
        (&nodes.one, "u2", cursor.clone()),
        (&nodes.two, "u1", cursor.clone()),
        (&nodes.one, "u1", changed.into()),
        (&nodes.one, "u1", text[..text.len() - 1].into()),
        (&nodes.one, "u1", "p_".into()),
        (&nodes.one, "u1", "".into()),
        (&nodes.one, "u1", "x".repeat(900).into()),
        (&nodes.one, "u1", json!(7)),
        (&nodes.one, "u1", json!({})),
    ] {
        let (mut client, resume) = back(node, user, &json!({"cursor": wrong})).await;
        assert_eq!(told(&resume), nothing, "{wrong}");
        // It is a session like any other, and tells by what it can be resumed.
        assert!(resume["cursor"].is_string(), "{resume}");
        assert_eq!(client.ask(&json!({"op": "ping"})).await["op"], "pong");
        client.0.close_session().await;
    }
    let (_client, resume) = back(&nodes.one, "u1", &json!({"cursor": cursor})).await;
    assert_eq!(told(&resume), (false, true, 1));
}

/// As when a process was started anew: the key is the same, and nothing of what was is there.
#[tokio::test]
async fn of_another_bus_it_is_said_that_nothing_is_known() {
    let test = "of_another_bus_it_is_said";
    let (Some(before), Some(now)) = (Nodes::new(test).await, Nodes::new(test).await) else {
        return;
    };
    let (mut client, _) = opened(&before.one, "u1").await;
    tell(&before.one, "u1", 1).await;
    let cursor = expect(&mut client, 1, 1).await;
    tell(&now.one, "u1", 2).await;
    let (mut client, resume) = back(&now.one, "u1", &json!({"cursor": cursor})).await;
    assert_eq!(told(&resume), (false, false, 0));
    tell(&now.two, "u1", 3).await;
    expect(&mut client, 1, 3).await;
    let series = "tidegate_sessions_resumed_total{result=\"unknown\"}";
    now.one.gateway.admin().counts(series, 1.0).await;
}

#[tokio::test]
async fn who_was_away_for_more_than_is_kept_is_told() {
    let bus = MemoryBus::new(Some(BusHistory {
        events: 3,
        ..BusHistory::default()
    }));
    let few = "resume: { key: 0123456789abcdef0123456789abcdef, messages: 2 }";
    let nodes = Nodes::with("who_was_away_for_more_than_is_kept", bus, [KEY, few]).await;
    let Some(nodes) = nodes else { return };
    let (mut client, first) = opened(&nodes.one, "u1").await;
    let mut cursors = vec![first];
    for data in 1..=4 {
        tell(&nodes.one, "u1", data).await;
        cursors.push(expect(&mut client, data, data).await);
    }
    // Of the first one nothing is kept any more.
    for (node, had, comes) in [
        (&nodes.one, 0, None),
        (&nodes.one, 1, Some(2)),
        (&nodes.two, 1, None),
        (&nodes.two, 2, Some(3)),
    ] {
        let (mut client, resume) = back(node, "u1", &json!({"cursor": cursors[had]})).await;
        let (_, recovered, seq) = told(&resume);
        assert_eq!(recovered, comes.is_some(), "{had}: {resume}");
        assert_eq!(seq, comes.map_or(0, |next| 5 - next), "{had}: {resume}");
        if let Some(next) = comes {
            expect(&mut client, 1, next).await;
        }
        client.0.close_session().await;
    }
}

#[tokio::test]
async fn resumable_pushes_to_users_have_one_and_no_others() {
    let nodes = Nodes::new("resumable_pushes_to_users_have_one").await;
    let Some(Nodes { one, two }) = nodes else {
        return;
    };
    let (mut client, first) = opened(&one, "u1").await;
    for (body, has_one) in [
        (json!({"user": "u1", "event": "n", "data": 1}), true),
        (json!({"user": "u1", "event": "n", "class": "live"}), false),
        (json!({"all": true, "event": "n"}), false),
        (json!({"user": ["u2", "u1"], "event": "n", "data": 2}), true),
        (
            json!({"user": "u1", "baseUrl": "http://a", "uri": "n", "body": 3}),
            true,
        ),
    ] {
        one.push("/v1/push", &body).await;
        let push = client.receive().await;
        assert_eq!(push["cursor"].is_string(), has_one, "{push}");
    }
    let (mut client, resume) = back(&two, "u1", &json!({"cursor": first})).await;
    assert_eq!(told(&resume), (false, true, 3));
    for data in 1..=3 {
        expect(&mut client, data, data).await;
    }
    // A client of the old protocol is told nothing of it.
    let mut old = one.old("u4").await;
    tell(&one, "u4", 1).await;
    let push = old.receive().await;
    assert_eq!((&push["body"], &push["cursor"]), (&json!(1), &Value::Null));
}

/// What is left of the session goes on; where nothing is, the cursor says what comes again.
#[tokio::test]
async fn the_session_comes_before_the_cursor() {
    let ttl = "resume: { key: 0123456789abcdef0123456789abcdef, ttl: 1s }";
    let nodes = Nodes::with("the_session_comes_before", MemoryBus::default(), [KEY, ttl]).await;
    let Some(nodes) = nodes else { return };
    for (node, is_kept) in [(&nodes.one, true), (&nodes.two, false)] {
        let handshake = node.handshake("u1");
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&node.gateway, &handshake).await;
        let welcome = client.receive().await;
        tell(node, "u1", 1).await;
        let cursor = expect(&mut client, 1, 1).await;
        client.0.reset();
        let admin = node.gateway.admin();
        admin.counts("tidegate_users_online", 0.0).await;
        tell(node, "u1", 2).await;
        if !is_kept {
            admin.counts("tidegate_sessions_suspended", 0.0).await;
        }
        let resume = json!({"session": welcome["session"], "token": welcome["resume"]["token"],
            "seq": 1, "cursor": cursor});
        let (mut client, resume) = back(node, "u1", &resume).await;
        let seq = if is_kept { 2 } else { 1 };
        assert_eq!(told(&resume), (is_kept, true, seq));
        assert_eq!(resume["cursor"], cursor);
        expect(&mut client, seq, 2).await;
        client.0.close_session().await;
    }
}

#[tokio::test]
async fn without_a_history_there_is_none() {
    let nodes = Nodes::with("without_a_history", MemoryBus::new(None), [KEY, KEY]).await;
    let Some(nodes) = nodes else { return };
    let (mut client, cursor) = opened(&nodes.one, "u1").await;
    assert_eq!(cursor, Value::Null);
    tell(&nodes.one, "u1", 1).await;
    let push = client.receive().await;
    assert_eq!((&push["data"], &push["cursor"]), (&json!(1), &Value::Null));
}

/// Who says in its first message who it is says there too what it has had.
#[tokio::test]
async fn with_the_first_message() {
    let bus = Arc::new(MemoryBus::default());
    let (test, options) = ("with_the_first_message", beside_push(KEY));
    let Some(one) = Setting::on_bus(test, (&options, ""), &bus).await else {
        return;
    };
    let (mut client, _) = opened(&one, "u1").await;
    tell(&one, "u1", 1).await;
    let cursor = expect(&mut client, 1, 1).await;
    tell(&one, "u1", 2).await;
    let upstream = ScriptedUpstream::bind().await;
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}', token_from: [header, first_message] }} }}\n\
         routes: [{{ name: users, match: {{ path: /ws }}, filters: require, bridge: {{ {KEY} }} }}]\n"
    );
    let two = TestGateway::on_bus(&upstream, &yaml, Arc::clone(&bus) as _);
    let handshake = Request::handshake("/ws").with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = Client::open(&two, &handshake).await;
    let hello = json!({"op": "hello", "token": one.token("u1"), "resume": {"cursor": cursor}});
    let welcome = client.ask(&hello).await;
    assert_eq!(told(&welcome["resume"]), (false, true, 1), "{welcome}");
    expect(&mut client, 1, 2).await;
}
