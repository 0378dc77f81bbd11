//! A client that was lost comes back to all that it missed, in order, or is told that something is lost.

use serde_json::{Value, json};
use tidegate_tests::Request;
use tidegate_tests::frame::{CLOSE, Frame};

use super::super::bridge::Client;
use super::Setting;

/// These keys of `bridge` in place of those of `bridge.push`.
fn beside_push(options: &str) -> String {
    format!(" }}, {}", options.strip_suffix(" }").unwrap())
}

/// What its `welcome` says to come back with, and how much it has.
#[derive(Debug, Clone)]
pub(super) struct Back {
    pub(super) session: String,
    token: String,
    pub(super) seq: u64,
}

impl Back {
    fn of(welcome: &Value) -> Self {
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        Self {
            session: welcome["session"].as_str().unwrap().to_owned(),
            token: welcome["resume"]["token"].as_str().unwrap().to_owned(),
            seq: 0,
        }
    }

    fn hello(&self) -> Value {
        json!({"op": "hello", "v": 1,
            "resume": {"session": self.session, "token": self.token, "seq": self.seq}})
    }
}

/// A session, and what to come back with.
pub(super) async fn opened(setting: &Setting, user: &str) -> (Client, Back) {
    let handshake = setting.handshake(user);
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = Client::open(&setting.gateway, &handshake).await;
    let welcome = client.receive().await;
    let resume = &welcome["resume"];
    let told = (&resume["recovered"], &resume["continued"], &resume["seq"]);
    assert_eq!(told, (&json!(false), &json!(false), &json!(0)), "{welcome}");
    (client, Back::of(&welcome))
}

/// A session in which `back` comes back, and what it is told: whether it goes on, whether nothing is
/// lost, and the last number.
pub(super) async fn resumed(
    setting: &Setting,
    user: &str,
    back: &Back,
) -> (Client, Back, (bool, bool, u64)) {
    let (mut client, _) = opened(setting, user).await;
    let welcome = client.ask(&back.hello()).await;
    let resume = &welcome["resume"];
    let told = (
        resume["continued"].as_bool().unwrap(),
        resume["recovered"].as_bool().unwrap(),
        resume["seq"].as_u64().unwrap(),
    );
    let mut next = Back::of(&welcome);
    next.seq = if told.0 { back.seq } else { 0 };
    (client, next, told)
}

pub(super) async fn tell(setting: &Setting, user: &str, data: u64) {
    let push = json!({"event": "n", "data": data});
    setting.push(&format!("/v1/users/{user}/push"), &push).await;
}

async fn end_all(setting: &Setting, user: &str) {
    let admin = setting.gateway.admin();
    let target = format!("/v1/users/{user}/sessions");
    let request = Request::new("DELETE", &target).set("Host", &admin.0.to_string());
    assert_eq!(admin.ask(&request).await.status(), 202);
}

/// The next is this push.
pub(super) async fn expect(client: &mut Client, seq: u64, data: u64) {
    let push = client.receive().await;
    assert_eq!(
        (&push["seq"], &push["data"]),
        (&json!(seq), &json!(data)),
        "{push}"
    );
}

#[tokio::test]
async fn with_what_it_has_not_and_no_more() {
    let Some(setting) = Setting::new("with_what_it_has_not_and_no_more", "").await else {
        return;
    };
    let (mut client, mut back) = opened(&setting, "u1").await;
    for data in 1..=3 {
        tell(&setting, "u1", data).await;
        expect(&mut client, data, data).await;
    }
    // It has processed two of three, and said so of one.
    client.send(&json!({"op": "ack", "seq": 1})).await;
    assert_eq!(client.ask(&json!({"op": "ping"})).await["op"], "pong");
    back.seq = 2;
    client.0.reset();
    for data in 4..=5 {
        tell(&setting, "u1", data).await;
    }
    let (mut client, mut back, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 5));
    for data in 3..=5 {
        expect(&mut client, data, data).await;
    }
    // And again, by the token that it was told now.
    back.seq = 4;
    client.0.cut();
    let (mut client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 5));
    expect(&mut client, 5, 5).await;
    tell(&setting, "u1", 6).await;
    expect(&mut client, 6, 6).await;
    let series = "tidegate_sessions_resumed_total{result=\"recovered\"}";
    setting.gateway.admin().counts(series, 2.0).await;
}

#[tokio::test]
async fn that_had_received_nothing_before() {
    let Some(setting) = Setting::new("that_had_received_nothing_before", "").await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    client.0.reset();
    let admin = setting.gateway.admin();
    admin.counts("tidegate_sessions_suspended", 1.0).await;
    let push = json!({"event": "n", "data": 1});
    let told = setting.push("/v1/users/u1/push", &push).await;
    assert_eq!(told["matched"], 0, "nobody is there");
    let (mut client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 1));
    expect(&mut client, 1, 1).await;
    admin.counts("tidegate_sessions_suspended", 0.0).await;
}

/// Who shows what is not theirs begins anew, and nothing else happens to them.
#[tokio::test]
async fn only_by_its_own_user_with_the_last_token() {
    let Some(setting) = Setting::new("only_by_its_own_user_with_the_last_token", "").await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    client.0.reset();
    tell(&setting, "u1", 1).await;
    let fresh = (false, false, 0);
    let (mut other, _, told) = resumed(&setting, "u2", &back).await;
    assert_eq!(told, fresh);
    tell(&setting, "u2", 9).await;
    expect(&mut other, 1, 9).await;
    let nonsense = [
        json!({"session": back.session, "token": "r_AAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"session": "s_AAAAAAAAAAAAAAAA", "token": back.token}),
        json!({"session": 7}),
        json!([1]),
    ];
    for resume in nonsense {
        let (mut client, _) = opened(&setting, "u1").await;
        let welcome = client.ask(&json!({"op": "hello", "resume": resume})).await;
        let told = (
            &welcome["resume"]["continued"],
            &welcome["resume"]["recovered"],
        );
        assert_eq!(told, (&json!(false), &json!(false)), "{welcome}");
        client.0.close_session().await;
    }
    let (mut client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 1), "none of them took it");
    expect(&mut client, 1, 1).await;
    let (_client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, fresh, "the token was good once");
}

#[tokio::test]
async fn not_once_it_said_goodbye_or_was_sent_away() {
    let Some(setting) = Setting::new("not_once_it_said_goodbye", "").await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    client.0.close_session().await;
    let (kicked, of_kicked) = opened(&setting, "u2").await;
    let admin = setting.gateway.admin();
    end_all(&setting, "u2").await;
    drop(kicked);
    // One that is gone already is forgotten too.
    let (lost, of_lost) = opened(&setting, "u3").await;
    lost.0.reset();
    admin.counts("tidegate_sessions_suspended", 1.0).await;
    end_all(&setting, "u3").await;
    admin.counts("tidegate_sessions_suspended", 0.0).await;
    admin.counts("tidegate_users_online", 0.0).await;
    for (user, back) in [("u1", back), ("u2", of_kicked), ("u3", of_lost)] {
        let (_client, _, told) = resumed(&setting, user, &back).await;
        assert_eq!(told, (false, false, 0), "{user}");
    }
}

#[tokio::test]
async fn or_is_told_that_something_is_lost() {
    let push = "buffer: { messages: 4 }";
    let Some(setting) = Setting::new("or_is_told_that_something_is_lost", push).await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    client.0.reset();
    for data in 1..=10 {
        tell(&setting, "u1", data).await;
    }
    let (mut client, mut back, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, false, 10));
    for data in 7..=10 {
        expect(&mut client, data, data).await;
    }
    // What was lost is not lost again.
    back.seq = 9;
    client.0.reset();
    let (mut client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 10));
    expect(&mut client, 10, 10).await;
}

#[tokio::test]
async fn not_later_than_it_may() {
    let push = beside_push("resume: { ttl: 1s }");
    let Some(setting) = Setting::new("not_later_than_it_may", &push).await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    client.0.reset();
    let admin = setting.gateway.admin();
    let offline = "tidegate_users_online";
    admin.counts(offline, 0.0).await;
    admin.counts("tidegate_sessions_suspended", 0.0).await;
    let (_client, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (false, false, 0));
}

/// While the old socket is still there, the newer one has the session.
#[tokio::test]
async fn the_newer_socket_takes_over() {
    let Some(mut setting) = Setting::new("the_newer_socket_takes_over", "").await else {
        return;
    };
    let (mut old, mut back) = opened(&setting, "u1").await;
    tell(&setting, "u1", 1).await;
    expect(&mut old, 1, 1).await;
    back.seq = 1;
    old.send(&json!({"id": 1, "baseUrl": "up", "uri": "/"}))
        .await;
    let mut service = setting.upstream.accept().await;
    service.read_head().await;
    let (mut new, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 1));
    for data in 2..=3 {
        tell(&setting, "u1", data).await;
        expect(&mut new, data, data).await;
    }
    service
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    // Its answer is the next that the old one gets, and the last.
    let answer = old.receive().await;
    assert_eq!((&answer["id"], &answer["status"]), (&json!(1), &json!(200)));
    let close = old.0.read_frame().await;
    assert_eq!(
        (close.opcode, close.close_code()),
        (CLOSE, Some(1000)),
        "{close:?}"
    );
    old.0
        .send_frame(&Frame::close(1000, "").from_client())
        .await;
    tell(&setting, "u1", 4).await;
    expect(&mut new, 4, 4).await;
}

/// What it says of pushes of its new session is not about those of the one that it comes back to.
#[tokio::test]
async fn with_what_was_never_sent_again() {
    let Some(setting) = Setting::new("with_what_was_never_sent_again", "").await else {
        return;
    };
    let (mut client, back) = opened(&setting, "u1").await;
    for data in 1..=3 {
        tell(&setting, "u1", data).await;
        expect(&mut client, data, data).await;
    }
    client.0.reset();
    let (mut client, _) = opened(&setting, "u1").await;
    let both = [back.hello(), json!({"op": "ack", "seq": 3})];
    let both = both.map(|one| Frame::text(&one.to_string()).from_client().bytes());
    client.0.send(both.concat()).await;
    let welcome = client.receive().await;
    assert_eq!(welcome["resume"]["recovered"], true, "{welcome}");
    for data in 1..=3 {
        expect(&mut client, data, data).await;
    }
}

/// What is held for all who are away has a bound, and who loses by that is told.
#[tokio::test]
async fn what_is_held_for_all_is_bounded() {
    let test = "what_is_held_for_all_is_bounded";
    let beside = "limits: { resume_memory: 256KiB }";
    let Some(setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let admin = setting.gateway.admin();
    let users: Vec<_> = (0..20).map(|user| format!("u{user}")).collect();
    let mut backs = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let (client, back) = opened(&setting, user).await;
        client.0.reset();
        backs.push(back);
        // They are gone in this order.
        admin
            .counts("tidegate_sessions_suspended", (number + 1) as f64)
            .await;
    }
    let data = "x".repeat(16 << 10);
    for user in &users[1..] {
        for _ in 0..3 {
            let push = json!({"event": "n", "data": data});
            let told = setting.push(&format!("/v1/users/{user}/push"), &push).await;
            // Nobody is there, and it is kept.
            assert_eq!(told["matched"], 0);
            let held = admin.metrics().await.get("tidegate_suspended_bytes");
            assert!(held <= Some(f64::from(256 << 10)), "{held:?}");
        }
    }
    let (mut recovered, mut here) = (Vec::new(), Vec::new());
    for (user, back) in users.iter().zip(&backs) {
        let (mut client, _, told) = resumed(&setting, user, back).await;
        let missed = if *user == "u0" { 0 } else { 3 };
        assert_eq!((told.0, told.2), (true, missed), "{user}");
        recovered.push(told.1);
        for seq in 1..=missed {
            if told.1 {
                assert_eq!(client.receive().await["seq"], seq);
            }
        }
        tell(&setting, user, 1).await;
        expect(&mut client, missed + 1, 1).await;
        here.push(client);
    }
    // Who missed nothing lost nothing, and of the others those who went last have all.
    let expected: Vec<_> = (0..20).map(|user| user == 0 || user >= 15).collect();
    assert_eq!(recovered, expected);
    admin.counts("tidegate_suspended_bytes", 0.0).await;
}

/// Not even where its publisher waits for word that it came.
#[tokio::test]
async fn what_is_live_comes_once_at_most() {
    let Some(setting) = Setting::new("what_is_live_comes_once_at_most", "").await else {
        return;
    };
    for is_lost in [true, false] {
        let (mut client, back) = opened(&setting, "u1").await;
        let push = json!({"event": "n", "data": 1, "class": "live"});
        let waiting = setting.push("/v1/users/u1/push?wait=ack&timeout=20s", &push);
        let coming_back = async {
            expect(&mut client, 1, 1).await;
            let old = match is_lost {
                true => {
                    client.0.reset();
                    None
                }
                false => Some(client),
            };
            let (mut client, _, told) = resumed(&setting, "u1", &back).await;
            assert_eq!(told, (true, true, 1));
            tell(&setting, "u1", 2).await;
            expect(&mut client, 2, 2).await;
            drop(old);
            client.0.close_session().await;
        };
        let (told, ()) = tokio::join!(waiting, coming_back);
        assert_eq!(told["acked"], 0, "nobody said so: {told}");
    }
}

/// Who lost its connection finds its place taken, by itself.
#[tokio::test]
async fn also_where_it_is_the_only_one() {
    let beside = "limits: { max_sessions_per_user: 1, over: evict_oldest }";
    let test = "also_where_it_is_the_only_one";
    let Some(setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let (mut lost, back) = opened(&setting, "u1").await;
    tell(&setting, "u1", 1).await;
    expect(&mut lost, 1, 1).await;
    let (mut client, back, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 1));
    expect(&mut client, 1, 1).await;
    assert_eq!(lost.0.read_frame().await.close_code(), Some(4409));
    drop(lost);
    // The same behind the end of the one before.
    let (mut other, _) = opened(&setting, "u1").await;
    assert_eq!(client.0.read_frame().await.close_code(), Some(4409));
    drop(client);
    tell(&setting, "u1", 2).await;
    let welcome = other.receive().await;
    assert_eq!(welcome["data"], 2, "{welcome}");
    let admin = setting.gateway.admin();
    admin.counts("tidegate_sessions_suspended", 1.0).await;
    let welcome = other.ask(&back.hello()).await;
    assert_eq!(welcome["resume"]["recovered"], true, "{welcome}");
    for data in 1..=2 {
        expect(&mut other, data, data).await;
    }
}
