//! Whatever kind of frame a client floods with, it is answered in bounds, and sent away with a code that says
//! why; and a session that only shows signs of life is idle.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::frame::{CLOSE, PING};
use tidegate_tests::{Frame, ScriptedUpstream};

use super::{Client, bridged};

/// What comes until the session is closed; then the code and the reason.
async fn until_closed(client: &mut Client) -> (Vec<Value>, Option<u16>, String) {
    let mut told = Vec::new();
    loop {
        let frame = client.0.read_frame().await;
        if frame.opcode == CLOSE {
            let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
            return (told, frame.close_code(), reason);
        }
        if let Ok(value) = serde_json::from_slice(&frame.payload) {
            told.push(value);
        }
    }
}

async fn flood(client: &mut Client, text: &str, count: usize) {
    let frame = Frame::text(text).from_client().bytes();
    // Whoever is sent away in the middle cannot say it all.
    let _ = client.0.try_send(frame.repeat(count)).await;
}

#[tokio::test]
async fn ops_that_come_too_fast_are_refused() {
    let upstream = ScriptedUpstream::mirror().await;
    let options = "rates: { messages: { rate: 1/m, burst: 2 }, over: reject }";
    for op in ["ping", "nonsense"] {
        let gateway = bridged(&upstream, options);
        let mut client = Client::new(&gateway).await;
        flood(&mut client, &json!({"op": op, "id": 7}).to_string(), 1500).await;
        let (told, code, reason) = until_closed(&mut client).await;
        assert_eq!(told.len(), 3, "two in time, and one that tells: {told:?}");
        assert_eq!(
            (&told[2]["op"], &told[2]["error"]["code"]),
            (&json!("error"), &json!("rate_limited"))
        );
        assert_eq!(told[2]["error"]["status"], 429);
        assert_eq!((code, &*reason), (Some(4429), "rate_limited"));
    }
}

/// They are heard whatever the rate is, but none is free.
#[tokio::test]
async fn what_is_always_heard_is_charged() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "rates: { bytes: 1KB, over: reject }");
    let mut client = Client::new(&gateway).await;
    flood(
        &mut client,
        &json!({"op": "cancel", "id": "x".repeat(500)}).to_string(),
        100,
    )
    .await;
    let told = client
        .ask(&json!({"id": 1, "baseUrl": "account-service", "uri": "/a"}))
        .await;
    assert_eq!(told["error"]["code"], "rate_limited", "{told}");
    assert!(
        told["error"]["retry_after"].as_u64().unwrap() > 30,
        "{told}"
    );
}

#[tokio::test]
async fn pings_of_the_websocket_too() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    let mut client = Client::new(&gateway).await;
    let _ = client
        .0
        .try_send(Frame::new(PING, "x").from_client().bytes().repeat(2000))
        .await;
    let (_, code, reason) = until_closed(&mut client).await;
    assert_eq!((code, &*reason), (Some(4429), "rate_limited"));
}

#[tokio::test]
async fn what_is_no_envelope_ends_it() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    for (mut client, expected) in [
        (Client::new(&gateway).await, 4400),
        (Client::old(&gateway).await, 1007),
    ] {
        flood(&mut client, "{", 11).await;
        let (told, code, reason) = until_closed(&mut client).await;
        assert_eq!(told.len(), 11);
        assert_eq!((code, &*reason), (Some(expected), "protocol_error"));
    }
}

#[tokio::test]
async fn an_error_names_the_frame_that_it_is_about() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    let mut client = Client::new(&gateway).await;
    for (id, told_id) in [
        (json!(7), json!(7)),
        (json!("a"), json!("a")),
        (json!([]), json!(null)),
        (json!(null), json!(null)),
    ] {
        let told = client.ask(&json!({"op": "nonsense", "id": id})).await;
        assert_eq!(
            (&told["op"], &told["id"]),
            (&json!("error"), &told_id),
            "{told}"
        );
    }
}

/// Neither our pings nor their answers, nor those of the client, are use.
#[tokio::test]
async fn signs_of_life_are_no_use() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(
        &upstream,
        "ping_interval: 100ms, websocket: { idle_timeout: 2s }",
    );
    let mut client = Client::new(&gateway).await;
    let (mut pings, mut pongs) = (0, 0);
    let (code, reason) = loop {
        let frame = client.0.read_frame().await;
        if frame.opcode == CLOSE {
            break (
                frame.close_code(),
                String::from_utf8(frame.payload[2..].to_vec()).unwrap(),
            );
        }
        let told: Value = serde_json::from_slice(&frame.payload).unwrap();
        match told["op"].as_str() {
            Some("ping") => {
                pings += 1;
                flood(
                    &mut client,
                    &json!({"op": "pong", "t": told["t"]}).to_string(),
                    1,
                )
                .await;
                flood(&mut client, r#"{"op":"ping"}"#, 1).await;
            }
            Some("pong") => pongs += 1,
            _ => panic!("{told}"),
        }
    };
    assert_eq!((code, &*reason), (Some(1001), "idle_timeout;after=2s"));
    assert!(pings > 1 && pongs > 0, "{pings} {pongs}");
}

#[tokio::test]
async fn calls_are_use() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "websocket: { idle_timeout: 4s }");
    let mut client = Client::new(&gateway).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        let told = client
            .ask(&json!({"id": 1, "baseUrl": "account-service", "uri": "/a"}))
            .await;
        assert_eq!(told["status"], 200, "{told}");
    }
}
