//! What is pushed to a room reaches each of its members once, and nobody else.

use serde_json::json;
use tidegate_tests::eventually_does;

use super::{Setting, ask, go, join};

const CHAT: &str = "{ match: 'chat:*', subscribe: all, publish: { roles: writer } }";

#[tokio::test]
async fn members_alone_and_as_long_as_they_are() {
    let test = "members_alone_and_as_long_as_they_are";
    let Some(setting) = Setting::new(test, CHAT).await else {
        return;
    };
    let (mut one, welcome) = setting.welcomed("u1", &json!({})).await;
    let features = welcome["features"].as_array().unwrap();
    assert!(features.contains(&json!("rooms")), "{welcome}");
    assert!(!features.contains(&json!("presence")), "{welcome}");
    let mut two = setting.anybody().await;
    let mut other = setting.session("u1").await;
    let mut first = join(&mut one, "chat:1").await;
    let epoch = first["epoch"].take();
    assert!(epoch.is_string(), "{epoch}");
    let expected = json!({"epoch": null, "seq": 0, "recovered": false, "members": 1});
    assert_eq!(first, expected);
    let second = join(&mut two, "chat:1").await;
    assert_eq!((&second["epoch"], &second["members"]), (&epoch, &json!(2)));
    assert_eq!(join(&mut other, "chat:2").await["members"], 1);
    // Once more changes nothing.
    assert_eq!(join(&mut two, "chat:1").await["members"], 2);
    assert_eq!(setting.push("chat:1", &json!({"n": 1})).await["matched"], 2);
    for client in [&mut one, &mut two] {
        let mut push = client.receive().await;
        assert!(push["ts"].take().is_u64());
        let expected = json!({"op": "push", "seq": 1, "room": "chat:1", "event": "told",
            "ts": null, "data": {"n": 1}});
        assert_eq!(push, expected);
    }
    assert_eq!(
        ask(&mut one, "unsub", "chat:1").await["body"],
        json!({"left": true})
    );
    assert_eq!(
        ask(&mut one, "unsub", "chat:1").await["body"],
        json!({"left": false})
    );
    assert_eq!(setting.push("chat:1", &json!({"n": 2})).await["matched"], 1);
    assert_eq!(two.receive().await["data"], json!({"n": 2}));
    assert_eq!(setting.push("chat:9", &json!(0)).await["matched"], 0);
    // The next that the others get is the answer to what they ask: nothing was for them.
    for client in [&mut one, &mut other] {
        assert_eq!(join(client, "chat:3").await["recovered"], false);
    }
    let both = json!(["chat:1", "chat:3"]);
    let body = json!({"room": both, "event": "x"}).to_string();
    let answer = setting.admin("POST", "/v1/push", &body).await;
    assert!(answer.text().contains("\"matched\":3"), "{}", answer.text());
    assert_eq!(two.receive().await["room"], "chat:1");
    assert_eq!(one.receive().await["room"], "chat:3");
    assert_eq!(other.receive().await["room"], "chat:3");
}

#[tokio::test]
async fn the_end_of_a_session_leaves_all_rooms() {
    let test = "the_end_of_a_session_leaves_all_rooms";
    let Some(setting) = Setting::new(test, CHAT).await else {
        return;
    };
    let mut stays = setting.session("u1").await;
    let epoch = join(&mut stays, "chat:1").await["epoch"].take();
    let mut goes = setting.session("u2").await;
    for room in 1..=20 {
        join(&mut goes, &format!("chat:{room}")).await;
    }
    go(goes).await;
    eventually_does("the session leaves", async || {
        setting.look("/v1/rooms").await.1["rooms_open"] == 1
    })
    .await;
    assert_eq!(setting.push("chat:1", &json!(1)).await["matched"], 1);
    assert_eq!(setting.look("/v1/rooms/chat:1").await.1["members"], 1);
    let mut later = setting.session("u2").await;
    assert_eq!(join(&mut later, "chat:1").await["epoch"], epoch);
    // A room that was closed is another when it is opened again.
    let before = join(&mut later, "chat:2").await["epoch"].take();
    ask(&mut later, "unsub", "chat:2").await;
    assert_ne!(join(&mut later, "chat:2").await["epoch"], before);
}

#[tokio::test]
async fn who_may_publishes_once_by_each_key() {
    let Some(setting) = Setting::new("who_may_publishes_once_by_each_key", CHAT).await else {
        return;
    };
    let writer = json!({"roles": ["writer"]});
    let mut one = setting.welcomed("u1", &writer).await.0;
    let mut two = setting.session("u2").await;
    join(&mut one, "chat:1").await;
    join(&mut two, "chat:1").await;
    let publish = |key: &str, n: u32| {
        json!({"op": "pub", "id": n, "room": "chat:1", "event": "msg", "data": {"n": n},
            "key": key, "unknown": [true]})
    };
    let first = one.ask(&publish("k", 1)).await;
    assert_eq!(
        (&first["id"], &first["status"]),
        (&json!(1), &json!(200)),
        "{first}"
    );
    let push = one.receive().await;
    assert_eq!(
        (&push["from"], &push["data"]),
        (&json!("u1"), &json!({"n": 1})),
        "{push}"
    );
    let again = one.ask(&publish("k", 1)).await;
    assert_eq!(again, first);
    // Another session of the same user has the same keys; what is refused uses none.
    let mut tab = setting.welcomed("u1", &writer).await.0;
    assert_eq!(tab.ask(&publish("k", 1)).await, first);
    assert_eq!(two.receive().await["data"], json!({"n": 1}));
    let refused = two.ask(&publish("l", 2)).await;
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!(403), &json!("forbidden"))
    );
    assert_eq!(one.ask(&publish("l", 3)).await["status"], 200);
    assert_eq!(two.receive().await["data"], json!({"n": 3}));
    let metrics = setting.admin("GET", "/metrics", "").await.text();
    let line = "tidegate_push_messages_total{source=\"client\",result=\"queued\"} 4";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("\ntidegate_rooms 1\n"), "{metrics}");
    assert!(metrics.contains("\ntidegate_room_members 2\n"), "{metrics}");
}

#[tokio::test]
async fn what_is_too_much_or_malformed_is_answered() {
    let test = "what_is_too_much_or_malformed_is_answered";
    let rooms = "rooms: { max_per_session: 3 }";
    let Some(setting) = Setting::with(test, CHAT, rooms, "").await else {
        return;
    };
    let mut client = setting.session("u1").await;
    for room in ["chat:1", "chat:2", "chat:3", "chat:1"] {
        join(&mut client, room).await;
    }
    let refused = ask(&mut client, "sub", "chat:4").await;
    let expected = (&json!(429), &json!("too_many_rooms"));
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        expected,
        "{refused}"
    );
    ask(&mut client, "unsub", "chat:2").await;
    join(&mut client, "chat:4").await;
    let long = format!("chat:{}", "x".repeat(124));
    for (room, status) in [
        (json!(""), 400),
        (json!(7), 400),
        (json!(null), 400),
        (json!("chat:\u{0}"), 400),
        (json!(long), 400),
        (json!(&long[..128]), 429),
        (json!("talk:1"), 403),
        (json!("chat:1:2"), 403),
        (json!("chat:*"), 429),
    ] {
        let answer = client
            .ask(&json!({"op": "sub", "id": "a", "room": room}))
            .await;
        assert_eq!(
            (&answer["id"], &answer["status"]),
            (&json!("a"), &json!(status)),
            "{answer}"
        );
        assert_eq!(answer["error"]["status"], status, "{answer}");
    }
    for since in [
        json!(1),
        json!({"epoch": 1, "seq": 1}),
        json!({"epoch": "e", "seq": -1}),
    ] {
        let sub = json!({"op": "sub", "id": 1, "room": "chat:1", "since": since});
        assert_eq!(client.ask(&sub).await["status"], 400);
    }
    let answer = client.ask(&json!({"op": "sub", "room": "chat:1"})).await;
    assert_eq!(
        (&answer["op"], &answer["error"]["status"]),
        (&json!("error"), &json!(400))
    );
}

#[tokio::test]
async fn without_rules_there_are_no_rooms() {
    let Some(setting) = Setting::new("without_rules_there_are_no_rooms", "").await else {
        return;
    };
    let (mut client, welcome) = setting.welcomed("u1", &json!({})).await;
    assert!(
        !welcome["features"]
            .as_array()
            .unwrap()
            .contains(&json!("rooms")),
        "{welcome}"
    );
    for op in ["sub", "pub"] {
        let frame = json!({"op": op, "id": 1, "room": "a", "event": "x"});
        assert_eq!(client.ask(&frame).await["status"], 403);
    }
    assert_eq!(setting.look("/v1/rooms").await.1["rooms_open"], 0);
}

#[tokio::test]
async fn what_asks_in_rooms_has_a_rate_too() {
    let test = "what_asks_in_rooms_has_a_rate_too";
    let keys = "rates: { messages: { rate: 1/m, burst: 2 }, over: reject }";
    let Some(setting) = Setting::with(test, CHAT, "", keys).await else {
        return;
    };
    let mut client = setting.session("u1").await;
    join(&mut client, "chat:1").await;
    join(&mut client, "chat:2").await;
    let refused = ask(&mut client, "sub", "chat:3").await;
    assert_eq!(
        (&refused["id"], &refused["status"]),
        (&json!(9), &json!(429)),
        "{refused}"
    );
}

/// One push to two rooms is two pushes for a member of both, whatever replaces what.
#[tokio::test]
async fn a_key_is_of_one_room_and_one_event() {
    let test = "a_key_is_of_one_room_and_one_event";
    let keys = "push: { slow_consumer: conflate }";
    let Some(setting) = Setting::with(test, CHAT, "", keys).await else {
        return;
    };
    let mut client = setting.session("u1").await;
    for room in ["chat:1", "chat:2"] {
        join(&mut client, room).await;
    }
    let both = json!(["chat:1", "chat:2"]);
    for number in 0..20 {
        let pushes = ["a", "b"]
            .map(|event| json!({"room": both, "event": event, "key": "last", "data": number}));
        let answer = setting
            .admin("POST", "/v1/push", &json!(pushes).to_string())
            .await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        for event in ["a", "b"] {
            for room in ["chat:1", "chat:2"] {
                let push = client.receive().await;
                assert_eq!(
                    (&push["event"], &push["room"], &push["data"]),
                    (&json!(event), &json!(room), &json!(number)),
                );
            }
        }
    }
}
