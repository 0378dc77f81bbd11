//! A session that goes on by a newer token stays in the rooms that this grants, and in no others.

use serde_json::{Value, json};
use tidegate_tests::Token;

use super::super::bridge::Client;
use super::Setting;

const RULES: &str = "{ match: 'staff:*', subscribe: { roles: [staff] }, presence: { roles: [staff] } }, \
    { match: 'news', subscribe: all, presence: { roles: [staff] } }";

fn roles(roles: &[&str]) -> Value {
    json!({"roles": roles})
}

/// What the session is told when its user shows a token with these roles.
async fn renewed(setting: &Setting, client: &mut Client, roles: &[&str]) -> Value {
    let token = Token::secret()
        .claim("sub", "u1")
        .claim("roles", json!(roles));
    let token = setting.mint.sign(&token);
    let auth = json!({"op": "auth", "id": "t", "token": token});
    client.send(&auth).await;
    heard(client).await
}

/// The next frame that does not tell who is there.
async fn heard(client: &mut Client) -> Value {
    loop {
        let frame = client.receive().await;
        if frame["op"] != "presence" {
            return frame;
        }
        let is_of_u2 = frame["room"] == "news" && frame.to_string().contains("u2");
        assert!(!is_of_u2, "it may not see that: {frame}");
    }
}

/// What is answered to `sub`.
async fn subscribed(client: &mut Client, room: &str) -> Value {
    let sub = json!({"op": "sub", "id": 9, "room": room});
    client.send(&sub).await;
    heard(client).await["status"].take()
}

fn is_removal(frame: &Value, room: &str) -> bool {
    (&frame["op"], &frame["room"], &frame["error"]["code"])
        == (&json!("unsub"), &json!(room), &json!("forbidden"))
}

async fn members(setting: &Setting, room: &str) -> Value {
    let target = format!("/v1/rooms/{room}");
    setting.look(&target).await.1["members"].take()
}

#[tokio::test]
async fn in_the_session_that_is_open() {
    let Some(setting) = Setting::new("in_the_session_that_is_open", RULES).await else {
        return;
    };
    let (mut client, _) = setting.welcomed("u1", &roles(&["staff"])).await;
    for room in ["staff:1", "news"] {
        assert_eq!(subscribed(&mut client, room).await, 200);
    }
    let mut other = setting.welcomed("u2", &roles(&["staff"])).await.0;
    assert_eq!(subscribed(&mut other, "staff:1").await, 200);
    let answer = renewed(&setting, &mut client, &["staff", "more"]).await;
    assert_eq!(answer["status"], 200, "{answer}");
    // Nothing has changed with that one: what comes next is what is pushed, and who has come.
    setting.push("staff:1", &json!(1)).await;
    let push = heard(&mut client).await;
    assert_eq!(push["data"], 1, "{push}");
    let answer = renewed(&setting, &mut client, &["user"]).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let removal = heard(&mut client).await;
    assert!(is_removal(&removal, "staff:1"), "{removal}");
    assert_eq!(members(&setting, "staff:1").await, 1);
    assert_eq!(setting.push("staff:1", &json!(2)).await["matched"], 1);
    assert_eq!(subscribed(&mut client, "staff:1").await, 403);
    // In the room that it is in still, it is told no more who comes and goes.
    other
        .send(&json!({"op": "sub", "id": 9, "room": "news"}))
        .await;
    loop {
        let told = other.receive().await;
        if told["op"] == "presence" && told["room"] == "news" {
            break;
        }
    }
    setting.push("news", &json!(3)).await;
    let push = heard(&mut client).await;
    assert_eq!((&push["room"], &push["data"]), (&json!("news"), &json!(3)));
}

#[tokio::test]
async fn and_in_the_one_that_is_resumed() {
    let Some(setting) = Setting::new("and_in_the_one_that_is_resumed", RULES).await else {
        return;
    };
    let (mut client, welcome) = setting.welcomed("u1", &roles(&["staff"])).await;
    for room in ["staff:1", "news"] {
        assert_eq!(subscribed(&mut client, room).await, 200);
    }
    client.0.reset();
    let (mut client, _) = setting.welcomed("u1", &roles(&["user"])).await;
    let resume = json!({"session": welcome["session"], "token": welcome["resume"]["token"]});
    let hello = json!({"op": "hello", "resume": resume});
    let welcome = client.ask(&hello).await;
    assert_eq!(welcome["resume"]["continued"], true, "{welcome}");
    let removal = heard(&mut client).await;
    assert!(is_removal(&removal, "staff:1"), "{removal}");
    assert_eq!(members(&setting, "news").await, 1);
    assert_eq!(setting.push("staff:1", &json!(1)).await["matched"], 0);
    setting.push("news", &json!(2)).await;
    assert_eq!(heard(&mut client).await["data"], 2);
}
