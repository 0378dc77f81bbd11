//! What a user may do in which rooms is what the rules say, and nothing that a token says makes it more.

use serde_json::{Value, json};

use super::{Setting, ask};

const RULES: &str = "{ match: 'orders:{claims.tenant}:*', subscribe: all }, \
    { match: 'user:{user}', subscribe: all, publish: all }, \
    { match: 'staff:**', subscribe: { roles: [staff, admin] } }, \
    { match: 'level:*', subscribe: { expr: \"subject.claims.level >= 3 && room != 'level:9'\" } }, \
    { match: 'news', subscribe: all }";

#[tokio::test]
async fn by_what_a_token_says() {
    let Some(setting) = Setting::new("by_what_a_token_says", RULES).await else {
        return;
    };
    let acme = json!({"tenant": "acme"});
    for (claims, room, is_granted) in [
        (&acme, "orders:acme:7", true),
        (&acme, "orders:other:7", false),
        (&acme, "orders:acme", false),
        (&acme, "orders:acme:", false),
        (&acme, "orders:acme:7:8", false),
        (&acme, "orders:acme:*", true),
        (&acme, "orders:*:7", false),
        (&acme, "orders:{claims.tenant}:7", false),
        (&json!({"tenant": "*"}), "orders:acme:7", false),
        (&json!({"tenant": "**"}), "orders:acme:7", false),
        (&json!({"tenant": "acme:7"}), "orders:acme:7", false),
        (
            &json!({"tenant": "{claims.tenant}"}),
            "orders:acme:7",
            false,
        ),
        (&json!({"tenant": ""}), "orders::7", false),
        (&json!({"tenant": null}), "orders:null:7", false),
        (&json!({"tenant": {}}), "orders:{}:7", false),
        (&json!({"tenant": ["acme", "b"]}), "orders:b:7", true),
        (&json!({"tenant": ["acme", "*"]}), "orders:c:7", false),
        (&json!({"tenant": [["acme"]]}), "orders:acme:7", false),
        (&json!({}), "orders:acme:7", false),
        (&json!({}), "orders::7", false),
        (&json!({}), "orders:undefined:7", false),
        (&json!({}), "user:u1", true),
        (&json!({"user": "u2"}), "user:u2", false),
        (&json!({"roles": ["admin"]}), "staff:a:b", true),
        (&json!({"roles": ["staffer"]}), "staff:a", false),
        (&json!({"level": 3}), "level:1", true),
        (&json!({"level": 3}), "level:9", false),
        (&json!({"level": 2}), "level:1", false),
        (&json!({"level": "3"}), "level:1", false),
        (&json!({}), "level:1", false),
        (&json!({}), "news", true),
        (&json!({}), "anything", false),
    ] {
        let (mut client, _) = setting.welcomed("u1", claims).await;
        let answer = ask(&mut client, "sub", room).await;
        let status = if is_granted { 200 } else { 403 };
        assert_eq!(answer["status"], status, "{claims} {room}: {answer}");
        assert_eq!(answer["id"], 9);
        let publish = json!({"op": "pub", "id": 1, "room": room, "event": "x"});
        let status = if room == "user:u1" { 200 } else { 403 };
        assert_eq!(
            client.ask(&publish).await["status"],
            status,
            "{claims} {room}"
        );
    }
}

#[tokio::test]
async fn nobody_in_particular_is_granted_little() {
    let test = "nobody_in_particular_is_granted_little";
    let Some(setting) = Setting::new(test, RULES).await else {
        return;
    };
    let mut client = setting.anybody().await;
    for (room, status) in [
        ("news", 200),
        ("orders:acme:7", 403),
        ("orders::7", 403),
        ("user:", 403),
        ("user:u1", 403),
        ("staff:a", 403),
        ("level:1", 403),
    ] {
        assert_eq!(
            ask(&mut client, "sub", room).await["status"],
            status,
            "{room}"
        );
    }
    // Whoever is told of a refusal is told of no room.
    assert_eq!(
        ask(&mut client, "unsub", "user:u1").await["body"],
        json!({"left": false})
    );
    let rooms = setting.look("/v1/rooms").await.1;
    let names: Vec<&Value> = rooms["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["room"])
        .collect();
    assert_eq!(names, [&json!("news")]);
}
