//! A bridge's client may say who it is in its first message. Before that nothing is done for it.

use serde_json::{Value, json};
use tidegate_tests::mint::from_now;
use tidegate_tests::{Mint, Request, Token};

use super::{Client, ending, gateway, revoked, told, upstream, version_1};

const TEST: &str = "hello_says_who_it_is";
const FROM: &str = "token_from: [header, first_message]";

/// A handshake without any credential.
fn bare() -> Request {
    Request::handshake("/bridged").with("Sec-WebSocket-Protocol", "tidegate.v1.json")
}

fn hello(token: &str) -> Value {
    json!({"op": "hello", "v": 1, "token": token, "client": {"name": "x"}, "features": ["stream"]})
}

#[tokio::test]
async fn it_is_served_from_a_good_hello_on() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, FROM, "", "");
    let end = from_now(300);
    let token = mint.sign(&Token::secret().claim("exp", end));
    let mut client = Client::open(&gateway, &bare()).await;
    // Nothing is sent unasked, and no call is made.
    let call = json!({"id": 1, "baseUrl": "up", "uri": "/a"});
    let answer = client.ask(&call).await;
    assert_eq!((&answer["id"], &answer["status"]), (&json!(1), &json!(401)));
    assert_eq!(answer["error"]["code"], "unauthenticated");
    let answer = client
        .ask(&json!({"op": "auth", "id": 2, "token": token}))
        .await;
    assert_eq!(answer["error"]["code"], "unauthenticated");
    assert_eq!(client.ask(&json!({"op": "ping"})).await["op"], "error");
    assert!(upstream.heads().is_empty());
    let welcome = client.ask(&hello(&token)).await;
    assert_eq!(welcome["op"], "welcome");
    assert_eq!(
        (&welcome["user"], &welcome["exp"]),
        (&json!("u42"), &json!(end))
    );
    assert!(
        welcome["features"]
            .as_array()
            .unwrap()
            .contains(&json!("auth"))
    );
    assert_eq!(client.ask(&call).await["status"], 200);
    let head = upstream.only_head().await;
    assert_eq!(
        head.field("Authorization"),
        Some(&*format!("Bearer {token}"))
    );
    // It is known to those who operate the gateway, and ends with its token.
    let sessions = gateway.admin().get("/v1/sessions?user=u42").await;
    let sessions: Value = serde_json::from_slice(&sessions.body).unwrap();
    assert_eq!(sessions["sessions"][0]["id"], welcome["session"]);
    assert_eq!(revoked(gateway.admin(), &json!({"token": token})).await, 1);
    assert_eq!(client.closed().await, told(4440, "token_revoked"));
}

#[tokio::test]
async fn what_stands_behind_the_hello_is_served_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, FROM, "", "");
    let token = mint.sign(&Token::secret());
    let call = json!({"id": 1, "baseUrl": "up", "uri": "/a"});
    let mut client = Client::open(&gateway, &bare()).await;
    client.send(&json!([hello(&token), call])).await;
    client
        .send(&json!({"id": 2, "baseUrl": "up", "uri": "/b"}))
        .await;
    assert_eq!(client.receive().await["op"], "welcome");
    let mut ids = [client.receive().await, client.receive().await].map(|one| {
        assert_eq!(one["status"], 200, "{one}");
        one["id"].as_u64().unwrap()
    });
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn a_bad_hello_is_told_why() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, FROM, "", "");
    let taken_back = mint.sign(&Token::secret().claim("jti", "gone"));
    revoked(gateway.admin(), &json!({"jti": "gone"})).await;
    let poor = mint.sign(&Token::secret().claim("roles", json!(["guest"])));
    for (hello, code, reason) in [
        (hello("x"), 4401, "invalid_token"),
        (hello(&ending(&mint, -60)), 4401, "token_expired"),
        (hello(&taken_back), 4401, "token_revoked"),
        (hello(&poor), 4403, "forbidden"),
        (json!({"op": "hello", "v": 1}), 4401, "unauthenticated"),
    ] {
        let mut client = Client::open(&gateway, &bare()).await;
        client.send(&hello).await;
        // What stands behind it is not looked at.
        client
            .send(&json!({"id": 1, "baseUrl": "up", "uri": "/a"}))
            .await;
        assert_eq!(client.next().await, Err(told(code, reason)), "{hello}");
        client.wire.read_to_end().await;
    }
    assert!(upstream.heads().is_empty());
    let series = "tidegate_ws_connections_closed_total{route=\"bridged\",code=\"4xxx\",cause=\"auth_failed\",initiator=\"gateway\"}";
    gateway.admin().counts(series, 5.0).await;
}

#[tokio::test]
async fn it_has_so_much_time() {
    let upstream = upstream().await;
    let gateway = gateway(&upstream, FROM, "", "token: { hello_timeout: 300ms }");
    let mut client = Client::open(&gateway, &bare()).await;
    // What it says besides does not help.
    client
        .send(&json!({"id": 1, "baseUrl": "up", "uri": "/a"}))
        .await;
    assert_eq!(client.closed().await, told(4408, "hello_timeout"));
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn others_are_refused_as_ever() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let with = gateway(&upstream, FROM, "", "");
    let refused = |request: Request| {
        let with = &with;
        async move {
            let answer = with.ask(&request).await;
            (answer.status(), answer.code())
        }
    };
    let legacy = Request::handshake("/bridged");
    let named = legacy.clone().with(
        "Sec-WebSocket-Protocol",
        "tidegate.legacy, tidegate.v1.json",
    );
    let elsewhere =
        Request::handshake("/handled").with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    for request in [
        legacy,
        named,
        elsewhere,
        Request::get("/bridged"),
        bare().with("Authorization", "Digest x"),
    ] {
        assert_eq!(refused(request).await, (401, "unauthenticated".to_owned()));
    }
    let expired = ending(&mint, -60);
    let expired = bare().with("Authorization", &format!("Bearer {expired}"));
    assert_eq!(refused(expired).await, (401, "token_expired".to_owned()));
    let without = gateway(&upstream, "", "", "");
    let answer = without.ask(&bare()).await;
    assert_eq!((answer.status(), &*answer.code()), (401, "unauthenticated"));
}

#[tokio::test]
async fn it_may_say_header_fields_for_all_calls() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(
        &upstream,
        FROM,
        "",
        "headers: { from_client: [x-tenant, 'x-a-*', authorization, x-tidegate-user] }",
    );
    let token = mint.sign(&Token::secret());
    // With a credential in the handshake there is a welcome at once, and a hello says no more than this.
    let mut client = Client::open(&gateway, &version_1(&token)).await;
    assert_eq!(client.receive().await["op"], "welcome");
    let headers = json!({
        "X-Tenant": "acme", "x-a-1": ["1", "2"], "x-b": "3", "authorization": "Bearer mine", "x-tidegate-user": "root",
    });
    client
        .send(&json!({"op": "hello", "v": 1, "headers": headers, "resume": null, "any": [1]}))
        .await;
    let call = json!({"id": 1, "baseUrl": "up", "uri": "/a", "headers": {"x-a-1": "4"}});
    for (headers, expected) in [
        (json!({}), vec!["1", "2"]),
        (json!({"x-a-1": "4"}), vec!["4"]),
    ] {
        let mut call = call.clone();
        call["headers"] = headers;
        assert_eq!(client.ask(&call).await["status"], 200);
        let head = upstream.take_heads().pop().unwrap();
        assert_eq!(head.fields("x-tenant"), ["acme"]);
        assert_eq!(head.fields("x-a-1"), expected);
        assert!(!head.has("x-b") && !head.has("x-tidegate-user"));
        assert_eq!(head.fields("authorization"), [format!("Bearer {token}")]);
    }
    let long = json!({"op": "hello", "headers": {"x-tenant": "a".repeat(9000)}});
    assert_eq!(client.ask(&long).await["error"]["code"], "malformed_frame");
}

/// One hello says both who it is and where it comes back from.
#[tokio::test]
async fn it_may_come_back_by_it() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, FROM, "", "");
    let coming = |welcome: &Value, token: &str| {
        let mut hello = hello(token);
        hello["resume"] = json!({"session": welcome["session"], "seq": 0,
            "token": welcome["resume"]["token"]});
        hello
    };
    let [first, second] = ["a", "b"].map(|id| mint.sign(&Token::secret().claim("jti", id)));
    let mut client = Client::open(&gateway, &bare()).await;
    let welcome = client.ask(&hello(&first)).await;
    client.wire.reset();
    let mut client = Client::open(&gateway, &bare()).await;
    let welcome = client.ask(&coming(&welcome, &second)).await;
    let resume = &welcome["resume"];
    assert_eq!(
        (&resume["continued"], &resume["recovered"]),
        (&json!(true), &json!(true))
    );
    // Nobody comes back to what was revoked.
    assert_eq!(revoked(gateway.admin(), &json!({"jti": "b"})).await, 1);
    assert_eq!(client.closed().await, told(4440, "token_revoked"));
    gateway.admin().counts("tidegate_users_online", 0.0).await;
    let mut client = Client::open(&gateway, &bare()).await;
    let welcome = client.ask(&coming(&welcome, &first)).await;
    assert_eq!(welcome["resume"]["continued"], false, "{welcome}");
}

#[tokio::test]
async fn what_it_missed_before_is_said_behind_it() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let beside = format!("{FROM} }} }}\ndrain: {{ delay: 1h }}\nbus: {{ memory: {{");
    let gateway = gateway(&upstream, &beside, "", "");
    let token = mint.sign(&Token::secret());
    let mut late = Client::open(&gateway, &bare()).await;
    let mut witness = Client::open(&gateway, &version_1(&token)).await;
    assert_eq!(witness.receive().await["op"], "welcome");
    gateway.drain();
    assert_eq!(witness.receive().await["op"], "goaway");
    assert_eq!(late.ask(&hello(&token)).await["op"], "welcome");
    assert_eq!(late.receive().await["op"], "goaway");
}
