//! The predecessor's contract, byte for byte: clients without a subprotocol are answered as ever.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::ScriptedUpstream;
use tidegate_tests::frame::Frame;

use super::{Client, asked, bridged, http_answer, is_like};

const TRANSCRIPTS: &str = include_str!("legacy_transcripts.json");

async fn play(case: &Value, client: &mut Client, upstream: &mut ScriptedUpstream) {
    match case["send_text"].as_str() {
        Some(text) => client.send_text(text).await,
        None => client.send(&case["send"]).await,
    }
    let expected = &case["upstream"];
    if !expected.is_null() {
        let mut wire = upstream.accept().await;
        let (head, body) = asked(&mut wire).await;
        assert_eq!(head.method(), expected["method"], "{case}");
        assert_eq!(head.target(), expected["target"], "{case}");
        assert_eq!(body, expected["body"].as_str().unwrap(), "{case}");
        if let Some(media_type) = expected.get("content_type") {
            assert_eq!(head.field("Content-Type"), media_type.as_str(), "{case}");
        }
        if expected["reply"] != "never" {
            let mut answer = http_answer(&expected["reply"]);
            if head.method() == "HEAD" {
                let end = answer
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .unwrap()
                    + 4;
                answer.truncate(end);
            }
            wire.send(answer).await;
        } else {
            let told = client.receive().await;
            assert!(is_like(&told, &case["receive"]), "{told} for {case}");
            return;
        }
        let told = client.receive().await;
        assert!(is_like(&told, &case["receive"]), "{told} for {case}");
        wire.finish().await;
        return;
    }
    let told = client.receive().await;
    assert!(is_like(&told, &case["receive"]), "{told} for {case}");
}

#[tokio::test]
async fn every_transcript() {
    let mut upstream = ScriptedUpstream::bind().await;
    // Long enough for a machine under load, and waited for once.
    let gateway = bridged(&upstream, "timeout: 5s");
    let transcripts: Value = serde_json::from_str(TRANSCRIPTS).unwrap();
    let cases = transcripts["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 23);
    for case in cases {
        let mut client = Client::old(&gateway).await;
        play(case, &mut client, &mut upstream).await;
        // The session lives, whatever the answer was.
        client
            .0
            .send_frame(&Frame::new(9, "alive?").from_client())
            .await;
        assert_eq!(client.0.read_frame().await.payload, b"alive?");
    }
}

/// Answers each request with its target, those below `/late` only when told to.
async fn telling_targets() -> ScriptedUpstream {
    ScriptedUpstream::serve(|mut wire| async move {
        while let Ok(head) = wire.read_head_or_end().await {
            let body = format!("{:?}", head.target());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn binary_frames_are_text() {
    let upstream = telling_targets().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::old(&gateway).await;
    let envelope = json!({"baseUrl": "account-service", "uri": "/a"}).to_string();
    client
        .0
        .send_frame(&Frame::new(2, envelope).from_client())
        .await;
    assert_eq!(client.receive().await["body"], "/a");
    client
        .0
        .send_frame(&Frame::new(2, b"\xff").from_client())
        .await;
    assert_eq!(client.receive().await["status"], 400);
}

#[tokio::test]
async fn an_id_is_enough_for_status_and_headers() {
    let upstream = telling_targets().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::old(&gateway).await;
    let told = client
        .ask(&json!({"id": 7, "baseUrl": "account-service", "uri": "/a", "tag": 1}))
        .await;
    assert_eq!(
        told,
        json!({"id": 7, "status": 200, "type": "GET", "baseUrl": "account-service", "uri": "/a", "tag": 1,
               "headers": {"content-type": "application/json"}, "body": "/a"})
    );
}

#[tokio::test]
async fn endless_nonsense_ends_the_session() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::old(&gateway).await;
    for _ in 0..10 {
        client.send_text("nonsense").await;
        assert_eq!(client.receive().await["error"]["code"], "malformed_frame");
    }
    client.send_text("nonsense").await;
    assert_eq!(client.receive().await["status"], 400);
    assert_eq!(client.0.read_close().await, Some(1007));
}

#[tokio::test]
async fn silence_where_it_is_asked_for() {
    let upstream = telling_targets().await;
    let gateway = bridged(&upstream, "legacy_errors: silent");
    let mut client = Client::old(&gateway).await;
    client
        .send(&json!({"baseUrl": "other-service", "uri": "/x"}))
        .await;
    client
        .send(&json!({"baseUrl": "account-service", "uri": "http://x"}))
        .await;
    // Who names an id wants to know.
    let told = client
        .ask(&json!({"id": 1, "baseUrl": "other-service"}))
        .await;
    assert_eq!((&told["id"], &told["status"]), (&json!(1), &json!(403)));
    let told = client
        .ask(&json!({"baseUrl": "account-service", "uri": "/b"}))
        .await;
    assert_eq!(told["body"], "/b");
}

#[tokio::test]
async fn the_handshake_goes_along() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let handshake = tidegate_tests::Request::handshake("/ws")
        .with("Authorization", "Bearer abc")
        .with("Accept-Language", "de")
        .with("Cookie", "a=b")
        .with("X-Own", "1");
    let mut client = Client::open(&gateway, &handshake).await;
    client
        .ask(&json!({"baseUrl": "account-service", "uri": "/x", "username": "root",
                     "headers": {"authorization": "Bearer mine", "x-tenant": "acme", "x-forwarded-for": "1.2.3.4"}}))
        .await;
    let head = upstream.only_head().await;
    assert_eq!(head.field("Authorization"), Some("Bearer abc"));
    assert_eq!(head.field("Accept-Language"), Some("de"));
    assert_eq!(head.field("X-Tenant"), Some("acme"));
    assert_eq!(head.field("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!((head.field("Cookie"), head.field("X-Own")), (None, None));
    assert!(head.field("Host").unwrap().starts_with("127.0.0.1"));
}

#[tokio::test]
async fn without_a_service_the_routes_are_asked() {
    let upstream = telling_targets().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::old(&gateway).await;
    assert_eq!(
        client.ask(&json!({"uri": "/api/x?y=1"})).await["body"],
        "/x?y=1"
    );
    let told = client.ask(&json!({"uri": "/nowhere"})).await;
    assert_eq!(told["error"]["code"], "route_not_found");
    let told = client.ask(&json!({"uri": "/ws"})).await;
    assert_eq!(told["status"], 426);
}

#[tokio::test]
async fn clients_that_leave_take_their_calls_along() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = bridged(&upstream, "timeout: 60s");
    let mut client = Client::old(&gateway).await;
    client
        .send(&json!({"baseUrl": "account-service", "uri": "/slow"}))
        .await;
    let mut wire = upstream.accept().await;
    asked(&mut wire).await;
    client.0.reset();
    tokio::time::timeout(Duration::from_secs(5), wire.expect_end())
        .await
        .unwrap();
    gateway.is_empty().await;
}
