//! Before a session has to end its client is told to go, and what is under way in it is finished.

use serde_json::{Value, json};
use tidegate_tests::frame::CLOSE;

use super::super::bridge::Client;
use super::Setting;

async fn close_code(client: &mut Client) -> Option<u16> {
    let frame = client.0.read_frame().await;
    assert_eq!(frame.opcode, CLOSE, "{frame:?}");
    frame.close_code()
}

fn window(goaway: &Value) -> (u64, u64) {
    assert_eq!(goaway["op"], "goaway", "{goaway}");
    let after = &goaway["reconnect"]["after"];
    assert_eq!(after[0], 0, "{goaway}");
    (
        after[1].as_u64().unwrap(),
        goaway["deadline"].as_u64().unwrap(),
    )
}

/// Those that speak version 1; the others see what they always saw.
#[tokio::test]
async fn before_a_drain_and_no_answer_is_lost() {
    let beside = "drain: { delay: none, spread: none, timeout: 15s }";
    let test = "before_a_drain_and_no_answer_is_lost";
    let Some(mut setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let (mut busy, _) = setting.new_session("u1").await;
    let (mut idle, _) = setting.new_session("u2").await;
    let mut old = setting.old("u1").await;
    busy.send(&json!({"id": 1, "baseUrl": "up", "uri": "/"}))
        .await;
    let mut service = setting.upstream.accept().await;
    service.read_head().await;
    setting.gateway.drain();
    for client in [&mut busy, &mut idle] {
        let goaway = client.receive().await;
        assert_eq!(goaway["cause"], "drain", "{goaway}");
        let (window, deadline) = window(&goaway);
        assert!(
            window <= deadline && (1..=15_000).contains(&deadline),
            "{goaway}"
        );
    }
    assert_eq!(close_code(&mut old).await, Some(1012));
    assert_eq!(close_code(&mut idle).await, Some(1012));
    // What is under way is answered, and only then it is over.
    assert_eq!(busy.ask(&json!({"op": "ping"})).await["op"], "pong");
    service
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(busy.receive().await["status"], 200);
    assert_eq!(close_code(&mut busy).await, Some(1012));
}

#[tokio::test]
async fn and_at_its_deadline_it_is_over() {
    let beside = "drain: { delay: none, spread: none, timeout: 2s }";
    let test = "and_at_its_deadline_it_is_over";
    let Some(mut setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let (mut busy, _) = setting.new_session("u1").await;
    busy.send(&json!({"id": 1, "baseUrl": "up", "uri": "/"}))
        .await;
    let mut service = setting.upstream.accept().await;
    service.read_head().await;
    setting.gateway.drain();
    assert_eq!(busy.receive().await["op"], "goaway");
    assert_eq!(close_code(&mut busy).await, Some(1012));
}

#[tokio::test]
async fn before_the_end_of_their_age() {
    let push = " }, websocket: { max_age: 2s";
    let Some(setting) = Setting::new("before_the_end_of_their_age", push).await else {
        return;
    };
    let (mut new, _) = setting.new_session("u1").await;
    let mut old = setting.old("u1").await;
    let goaway = new.receive().await;
    assert_eq!(goaway["cause"], "max_age", "{goaway}");
    assert_eq!(window(&goaway), (500, 1000));
    assert_eq!(close_code(&mut new).await, Some(1001));
    assert_eq!(close_code(&mut old).await, Some(1001));
}
