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
    // Each call has its one last frame all the same.
    let answer = busy.receive().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!("session_ended")),
        "{answer}"
    );
    assert_eq!(close_code(&mut busy).await, Some(1012));
}

/// Clients of the old protocol cannot be told, and their calls are waited for as those of others.
#[tokio::test]
async fn and_old_ones_have_their_answers() {
    let beside = "drain: { delay: none, spread: none, timeout: 15s }";
    let test = "and_old_ones_have_their_answers";
    let Some(mut setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let calls = [
        json!({"id": 1, "baseUrl": "up", "uri": "/"}),
        json!({"baseUrl": "up", "uri": "/"}),
    ];
    let mut idle = setting.old("u1").await;
    let mut busy = Vec::new();
    for call in &calls {
        let mut client = setting.old("u1").await;
        client.send(call).await;
        let mut service = setting.upstream.accept().await;
        service.read_head().await;
        busy.push((client, service));
    }
    setting.gateway.drain();
    assert_eq!(close_code(&mut idle).await, Some(1012));
    for (mut client, mut service) in busy {
        service
            .send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n7")
            .await;
        assert_eq!(client.receive().await["body"], 7);
        assert_eq!(close_code(&mut client).await, Some(1012));
    }
}

/// While those who choose a gateway notice, it can still be come back to.
#[tokio::test]
async fn while_they_can_come_back_still() {
    let test = "while_they_can_come_back_still";
    let beside = "drain: { delay: 1h, spread: none, timeout: 15s }";
    let Some(setting) = Setting::with(test, "", beside).await else {
        return;
    };
    let handshake = setting.handshake("u1");
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut old = Client::open(&setting.gateway, &handshake).await;
    let welcome = old.receive().await;
    setting.gateway.drain();
    let (window, deadline) = window(&old.receive().await);
    assert!((3_000_000..=3_600_000).contains(&window), "{window}");
    assert!(window <= deadline && deadline <= 3_615_000, "{deadline}");
    let push = json!({"event": "n", "data": 1});
    setting.push("/v1/users/u1/push", &push).await;
    let mut new = Client::open(&setting.gateway, &handshake).await;
    assert_eq!(new.receive().await["op"], "welcome");
    let resume =
        json!({"session": welcome["session"], "token": welcome["resume"]["token"], "seq": 0});
    let welcome = new
        .ask(&json!({"op": "hello", "v": 1, "resume": resume}))
        .await;
    assert_eq!(welcome["resume"]["recovered"], true, "{welcome}");
    assert_eq!(new.receive().await["data"], 1);
    // Once the listeners are closed it is told for its part.
    let Setting { gateway, .. } = setting;
    let told = async {
        assert_eq!(new.receive().await["op"], "goaway");
        assert_eq!(close_code(&mut new).await, Some(1012));
    };
    tokio::join!(gateway.stop(), told);
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

/// Whoever follows loses no answer, and neither does who cannot be told.
#[tokio::test]
async fn and_their_calls_are_waited_for() {
    let push = " }, timeout: 60s, websocket: { max_age: 2s";
    let test = "and_their_calls_are_waited_for";
    let Some(mut setting) = Setting::new(test, push).await else {
        return;
    };
    let (new, _) = setting.new_session("u1").await;
    let mut busy = vec![new, setting.old("u1").await];
    let mut services = Vec::new();
    for client in &mut busy {
        client
            .send(&json!({"id": 1, "baseUrl": "up", "uri": "/"}))
            .await;
        let mut service = setting.upstream.accept().await;
        service.read_head().await;
        services.push(service);
    }
    assert_eq!(busy[0].receive().await["op"], "goaway");
    // Two of them, one after the other, are older in all.
    for _ in 0..2 {
        let mut idle = setting.old("u2").await;
        assert_eq!(close_code(&mut idle).await, Some(1001));
    }
    for (mut client, mut service) in busy.into_iter().zip(services) {
        service
            .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(client.receive().await["status"], 200);
        assert_eq!(close_code(&mut client).await, Some(1001));
    }
}

/// For as long as a call may take, and no longer.
#[tokio::test]
async fn but_not_for_ever() {
    let push = " }, timeout: 3s, websocket: { max_age: 2s";
    let Some(mut setting) = Setting::new("but_not_for_ever", push).await else {
        return;
    };
    let (mut client, _) = setting.new_session("u1").await;
    client
        .send(&json!({"id": 1, "baseUrl": "up", "uri": "/", "stream": true}))
        .await;
    let mut service = setting.upstream.accept().await;
    service.read_head().await;
    service
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.receive().await["stream"], true);
    assert_eq!(client.receive().await["op"], "goaway");
    let end = client.receive().await;
    assert_eq!(
        (&end["op"], &end["id"], &end["error"]["code"]),
        (&json!("end"), &json!(1), &json!("session_ended")),
        "{end}"
    );
    assert_eq!(close_code(&mut client).await, Some(1001));
}
