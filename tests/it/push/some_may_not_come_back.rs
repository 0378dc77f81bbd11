//! Whoever is told to go for good, or has no right any more, comes back to nothing; whoever was only lost
//! does, whatever else ends meanwhile.

use serde_json::json;
use tidegate_tests::mint::SECRET;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::super::bridge::Client;
use super::Setting;
use super::sessions_are_resumed::{opened, resumed, tell};

const SUSPENDED: &str = "tidegate_sessions_suspended";

/// Two were lost one after the other, and the older socket ends last.
#[tokio::test]
async fn the_end_of_an_older_socket_takes_nothing_along() {
    let test = "the_end_of_an_older_socket_takes_nothing_along";
    let Some(mut setting) = Setting::new(test, "").await else {
        return;
    };
    let (mut old, back) = opened(&setting, "u1").await;
    // It stays as long as a call is under way.
    old.send(&json!({"id": 1, "baseUrl": "up", "uri": "/"}))
        .await;
    let mut service = setting.upstream.accept().await;
    service.read_head().await;
    let (new, back, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 0));
    new.0.reset();
    let admin = setting.gateway.admin();
    admin.counts(SUSPENDED, 1.0).await;
    tell(&setting, "u1", 1).await;
    service
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(old.receive().await["id"], 1);
    old.0.close_session().await;
    setting.gateway.is_empty().await;
    admin.counts(SUSPENDED, 1.0).await;
    let (mut new, _, told) = resumed(&setting, "u1", &back).await;
    assert_eq!(told, (true, true, 1));
    assert_eq!(new.receive().await["data"], 1);
}

#[tokio::test]
async fn who_is_away_is_revoked_and_ended_too() {
    let test = "who_is_away_is_revoked_and_ended_too";
    let Some(setting) = Setting::new(test, "").await else {
        return;
    };
    let admin = setting.gateway.admin();
    let revoke = |what| Request::new("POST", "/v1/tokens/revoke").body(what);
    for round in 0..5 {
        let user = format!("u{round}");
        let claims = Token::secret().claim("sub", user.as_str());
        let token = setting.mint.sign(&claims.claim("jti", user.as_str()));
        let bearer = format!("Bearer {token}");
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&setting.gateway, &handshake).await;
        let welcome = client.receive().await;
        let session = welcome["session"].as_str().unwrap();
        client.0.reset();
        admin.counts(SUSPENDED, 1.0).await;
        let request = match round {
            0 => revoke(json!({"user": user}).to_string()),
            1 => revoke(json!({"jti": user}).to_string()),
            2 => revoke(json!({"token": token}).to_string()),
            3 => revoke(json!({"session": session}).to_string()),
            _ => Request::new("DELETE", &format!("/v1/sessions/{session}")),
        };
        let answer = admin.ask(&request.set("Host", &admin.0.to_string())).await;
        assert!(answer.status() < 300, "{round}: {}", answer.text());
        admin.counts(SUSPENDED, 0.0).await;
        if round == 3 {
            // Its token was revoked with it.
            let mut wire = setting.gateway.connect().await;
            wire.request(&handshake).await;
            assert_eq!(wire.read_head().await.status(), 401);
        }
    }
}

/// What it ends for first does not count once an admin has ended it.
#[tokio::test]
async fn who_is_ended_by_an_admin_while_it_closes() {
    let test = "who_is_ended_by_an_admin_while_it_closes";
    let push = "outbox: 64KiB, slow_after: 1ms";
    let Some(setting) = Setting::new(test, push).await else {
        return;
    };
    let (client, back) = opened(&setting, "u1").await;
    let admin = setting.gateway.admin();
    let overflowed = "tidegate_push_messages_total{source=\"api\",result=\"overflowed\"}";
    let data = "x".repeat(64 << 10);
    while admin.metrics().await.get(overflowed) == Some(0.0) {
        let push = json!({"event": "n", "data": data});
        setting.push("/v1/users/u1/push", &push).await;
    }
    let request = Request::new("DELETE", "/v1/users/u1/sessions");
    let answer = admin.ask(&request.set("Host", &admin.0.to_string())).await;
    assert_eq!(answer.status(), 202);
    assert!(
        answer.text().contains("\"sessions\":1"),
        "{}",
        answer.text()
    );
    client.0.reset();
    let (_client, _, told) = resumed(&setting, "u1", &back).await;
    assert!(!told.0, "{told:?}");
    admin.counts(SUSPENDED, 0.0).await;
}

#[tokio::test]
async fn a_namesake_of_another_tenant() {
    let Some(mint) = Mint::open("a_namesake_of_another_tenant") else {
        return;
    };
    let upstream = ScriptedUpstream::bind().await;
    let yaml = format!(
        "admin: {{ bind: 127.0.0.1:0 }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}', tenant_claim: tenant }} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: {{ name: users, match: {{ path: /ws }}, filters: require, bridge: {{ services: up }} }}\n"
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let handshake = |tenant: &str| {
        let token = Token::secret().claim("sub", "bob").claim("tenant", tenant);
        let bearer = format!("Bearer {}", mint.sign(&token));
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json")
    };
    let mut lost = Client::open(&gateway, &handshake("acme")).await;
    let welcome = lost.receive().await;
    lost.0.reset();
    gateway.admin().counts(SUSPENDED, 1.0).await;
    let resume =
        json!({"session": welcome["session"], "token": welcome["resume"]["token"], "seq": 0});
    let hello = json!({"op": "hello", "v": 1, "resume": resume});
    for (tenant, continued) in [("evil", false), ("acme", true)] {
        let mut client = Client::open(&gateway, &handshake(tenant)).await;
        client.receive().await;
        let welcome = client.ask(&hello).await;
        assert_eq!(
            welcome["resume"]["continued"], continued,
            "{tenant}: {welcome}"
        );
    }
}
