//! Who comes back to a room and says up to where it has everything gets the rest, in order, or is told
//! that it cannot.

use serde_json::{Value, json};

use super::{Setting, ask, go, join};
use crate::bridge::Client;

const ALL: &str = "{ match: '**', subscribe: all }";

async fn since(client: &mut Client, room: &str, since: &Value) -> Value {
    let sub = json!({"op": "sub", "id": 3, "room": room, "since": since});
    let mut answer = client.ask(&sub).await;
    assert_eq!(answer["status"], 200, "{answer}");
    answer["body"].take()
}

#[tokio::test]
async fn in_order_where_it_is_kept() {
    let history = "rooms: { history: { messages: 5 } }";
    let Some(setting) = Setting::with("in_order_where_it_is_kept", ALL, history, "").await else {
        return;
    };
    let mut first = setting.session("u1").await;
    let begin = join(&mut first, "a").await;
    for n in 1..=3 {
        setting.push("a", &json!(n)).await;
    }
    let mut at = Value::Null;
    for n in 1..=3 {
        let mut push = first.receive().await;
        assert_eq!(
            (&push["seq"], &push["data"]),
            (&json!(n), &json!(n)),
            "{push}"
        );
        assert_eq!(push["at"], json!({"epoch": begin["epoch"], "seq": n}));
        at = push["at"].take();
    }
    // Nobody is there meanwhile.
    go(first).await;
    tidegate_tests::eventually_does("it has gone", async || {
        setting.look("/v1/rooms/a").await.1["members"] == 0
    })
    .await;
    for n in 4..=5 {
        setting.push("a", &json!(n)).await;
    }
    let mut back = setting.session("u1").await;
    let told = since(&mut back, "a", &at).await;
    let expected = json!({"epoch": begin["epoch"], "seq": 5, "recovered": true, "members": 1});
    assert_eq!(told, expected);
    setting.push("a", &json!(6)).await;
    for n in 4..=6 {
        let push = back.receive().await;
        assert_eq!(
            (&push["data"], &push["at"]["seq"]),
            (&json!(n), &json!(n)),
            "{push}"
        );
    }
    // Asked once more by a member, nothing comes twice.
    assert_eq!(since(&mut back, "a", &at).await["recovered"], true);
    let state = setting.look("/v1/rooms/a").await.1;
    assert_eq!(
        (&state["kept"], &state["seq"]),
        (&json!(5), &json!(6)),
        "{state}"
    );
    every_place_counts(&setting, &begin["epoch"]).await;
}

/// Where the room has had six pushes in that epoch, and keeps five.
async fn every_place_counts(setting: &Setting, epoch: &Value) {
    // It had nothing yet when it was there first; that, too, is a place.
    for (seq, is_held) in [(0, false), (1, true), (6, true), (7, false)] {
        let mut client = setting.session("u2").await;
        let place = json!({"epoch": epoch, "seq": seq});
        assert_eq!(
            since(&mut client, "a", &place).await["recovered"],
            is_held,
            "{seq}"
        );
        if is_held {
            setting.push("b", &json!(0)).await;
            for n in seq + 1..=6 {
                assert_eq!(client.receive().await["data"], n);
            }
        }
        // Nothing else was for it.
        assert_eq!(
            ask(&mut client, "unsub", "a").await["body"],
            json!({"left": true})
        );
    }
    let mut client = setting.session("u2").await;
    let other = json!({"epoch": "e0000000000000000", "seq": 6});
    assert_eq!(since(&mut client, "a", &other).await["recovered"], false);
    let invented = json!({"epoch": "mine", "seq": 6});
    assert_eq!(since(&mut client, "c", &invented).await["recovered"], false);
}

#[tokio::test]
async fn a_quiet_room_is_remembered() {
    let history = "rooms: { history: {} }";
    let Some(setting) = Setting::with("a_quiet_room_is_remembered", ALL, history, "").await else {
        return;
    };
    let mut client = setting.session("u1").await;
    let mut told = join(&mut client, "a").await;
    ask(&mut client, "unsub", "a").await;
    let place = json!({"epoch": told["epoch"].take(), "seq": 0});
    assert_eq!(since(&mut client, "a", &place).await["recovered"], true);
    ask(&mut client, "unsub", "a").await;
    // Live pushes have no number there, and are not told again.
    let live = json!({"room": "a", "event": "x", "class": "live"}).to_string();
    setting.admin("POST", "/v1/push", &live).await;
    assert_eq!(since(&mut client, "a", &place).await["recovered"], true);
    setting.admin("POST", "/v1/push", &live).await;
    assert_eq!(client.receive().await.get("at"), None);
    setting.push("a", &json!(1)).await;
    assert_eq!(client.receive().await["at"]["seq"], 1);
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_with_its_room() {
    let test = "what_is_too_old_is_forgotten_with_its_room";
    let history = "rooms: { history: { age: 1s } }";
    let Some(setting) = Setting::with(test, ALL, history, "").await else {
        return;
    };
    let mut client = setting.session("u1").await;
    let mut told = join(&mut client, "a").await;
    setting.push("a", &json!(1)).await;
    assert_eq!(client.receive().await["data"], 1);
    tidegate_tests::eventually_does("its push is forgotten", async || {
        setting.look("/v1/rooms/a").await.1["kept"] == 0
    })
    .await;
    let mut late = setting.session("u2").await;
    let place = json!({"epoch": told["epoch"].take(), "seq": 0});
    assert_eq!(since(&mut late, "a", &place).await["recovered"], false);
    go(client).await;
    go(late).await;
    setting.push("never-seen", &json!(1)).await;
    tidegate_tests::eventually_does("there is no room", async || {
        setting.look("/v1/rooms").await.1["rooms_open"] == 0
    })
    .await;
}

#[tokio::test]
async fn what_all_rooms_keep_is_bounded() {
    let test = "what_all_rooms_keep_is_bounded";
    let history = "rooms: { history: { memory: 64KiB } }";
    let Some(setting) = Setting::with(test, ALL, history, "").await else {
        return;
    };
    let data = json!("x".repeat(5000));
    for n in 0..40 {
        setting.push(&format!("r{n}"), &data).await;
    }
    let rooms = setting.look("/v1/rooms").await.1;
    let names: Vec<_> = rooms["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["room"])
        .collect();
    assert!((3..13).contains(&names.len()), "{names:?}");
    assert!(
        names.contains(&&json!("r39")) && !names.contains(&&json!("r0")),
        "{names:?}"
    );
    // More at once than may wait for a session is not offered at all, rather than end it.
    let keys = "push: { outbox: 4KiB }";
    let history = "rooms: { history: {} }";
    let Some(setting) = Setting::with(test, ALL, history, keys).await else {
        return;
    };
    let mut client = setting.session("u1").await;
    let mut told = join(&mut client, "a").await;
    ask(&mut client, "unsub", "a").await;
    for _ in 0..3 {
        setting.push("a", &json!("x".repeat(2000))).await;
    }
    let place = json!({"epoch": told["epoch"].take(), "seq": 0});
    assert_eq!(since(&mut client, "a", &place).await["recovered"], false);
    setting.push("a", &json!(1)).await;
    assert_eq!(client.receive().await["at"]["seq"], 4);
}

#[tokio::test]
async fn without_a_history_nothing_is_kept() {
    let Some(setting) = Setting::new("without_a_history_nothing_is_kept", ALL).await else {
        return;
    };
    setting.push("a", &json!(1)).await;
    assert_eq!(setting.look("/v1/rooms").await.1["rooms_open"], 0);
    let (mut one, mut two) = (setting.session("u1").await, setting.session("u2").await);
    join(&mut one, "a").await;
    let mut told = join(&mut two, "a").await;
    ask(&mut two, "unsub", "a").await;
    let mut place = json!({"epoch": told["epoch"].take(), "seq": 0});
    // It can be known that nothing was missed, but not told what was.
    assert_eq!(since(&mut two, "a", &place).await["recovered"], true);
    ask(&mut two, "unsub", "a").await;
    setting.push("a", &json!(1)).await;
    assert_eq!(one.receive().await.get("at"), None);
    assert_eq!(since(&mut two, "a", &place).await["recovered"], false);
    ask(&mut two, "unsub", "a").await;
    place["seq"] = json!(1);
    assert_eq!(since(&mut two, "a", &place).await["recovered"], true);
    assert_eq!(setting.look("/v1/rooms/b").await.0, 404);
}

/// Who has lost something while it was a member is not told that it has all.
#[tokio::test]
async fn what_a_member_has_lost_is_not_there() {
    let (history, keys) = (
        "rooms: { history: {} }",
        "push: { buffer: { messages: 3 } }",
    );
    let test = "what_a_member_has_lost_is_not_there";
    let Some(setting) = Setting::with(test, ALL, history, keys).await else {
        return;
    };
    let (mut client, welcome) = setting.welcomed("u1", &json!({})).await;
    let epoch = join(&mut client, "a").await["epoch"].take();
    let place = |seq: u64| json!({"epoch": epoch, "seq": seq});
    setting.push("a", &json!(1)).await;
    assert_eq!(client.receive().await["at"], place(1));
    client.0.reset();
    tidegate_tests::eventually("it is away", || setting.gateway.sessions() == 0).await;
    for n in 2..=10 {
        setting.push("a", &json!(n)).await;
    }
    let resume = json!({
        "session": welcome["session"], "token": welcome["resume"]["token"], "seq": 1,
    });
    let mut client = setting.session("u1").await;
    let hello = json!({"op": "hello", "v": 1, "resume": resume});
    let welcome = client.ask(&hello).await;
    assert_eq!(
        (
            &welcome["resume"]["continued"],
            &welcome["resume"]["recovered"]
        ),
        (&json!(true), &json!(false)),
        "{welcome}"
    );
    for n in 8..=10 {
        assert_eq!(client.receive().await["at"], place(n));
    }
    // It is a member all the while, and some of its pushes are gone.
    assert_eq!(since(&mut client, "a", &place(1)).await["recovered"], false);
    // From there on it has all that it knows of.
    assert_eq!(since(&mut client, "a", &place(10)).await["recovered"], true);
    // Once more a member, it gets what is kept.
    ask(&mut client, "unsub", "a").await;
    assert_eq!(since(&mut client, "a", &place(1)).await["recovered"], true);
    setting.push("a", &json!(11)).await;
    for n in 2..=11 {
        assert_eq!(client.receive().await["at"], place(n));
    }
}
