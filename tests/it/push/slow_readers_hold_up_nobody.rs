//! Who does not read is let go, or loses what it was told it may lose; nobody else notices.

use serde_json::{Value, json};
use tidegate_tests::frame::{CLOSE, Frame};
use tidegate_tests::wire::Wire;

use super::super::bridge::Client;
use super::Setting;

/// Bytes of one push: so many of them fill whatever the system keeps for a socket.
const SIZE: usize = 16 << 10;
/// Pushes of one batch, and the most batches.
const BATCH: usize = 100;
const MOST: usize = 60;

/// A session of version 1 of a client that takes little at a time, behind its welcome.
async fn narrow(setting: &Setting, user: &str) -> Wire {
    let mut wire = Wire::connect_narrow(setting.gateway.address()).await;
    let handshake = setting.handshake(user);
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    wire.request(&handshake).await;
    assert_eq!(wire.read_head().await.status(), 101);
    assert_eq!(said(&wire.read_frame().await)["op"], "welcome");
    wire
}

fn said(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.payload).unwrap()
}

/// Numbered pushes to a user, each with one of two keys.
fn batch(user: &str, from: usize) -> Value {
    let data = "x".repeat(SIZE);
    let pushes = (from..from + BATCH).map(|number| {
        let key = if number % 2 == 0 { "a" } else { "b" };
        json!({"user": user, "event": "n", "source": number.to_string(), "data": data, "key": key})
    });
    pushes.collect()
}

/// Pushes to `slow` until this has happened, while somebody else is told each time.
async fn until(setting: &Setting, slow: &str, result: &str) -> usize {
    let (mut quick, _) = setting.new_session("quick").await;
    let series = format!("tidegate_push_messages_total{{source=\"api\",result=\"{result}\"}}");
    for round in 0..MOST {
        setting.push("/v1/push", &batch(slow, round * BATCH)).await;
        tell(setting, &mut quick, round).await;
        let metrics = setting.gateway.admin().metrics().await;
        if metrics.get(&series) > Some(0.0) {
            return (round + 1) * BATCH;
        }
    }
    panic!("{MOST} batches wait for a client that does not read");
}

async fn tell(setting: &Setting, quick: &mut Client, round: usize) {
    let told = setting
        .push(
            "/v1/users/quick/push",
            &json!({"event": "q", "data": round}),
        )
        .await;
    assert_eq!(told["matched"], 1);
    let push = quick.receive().await;
    assert_eq!(
        (&push["data"], &push["seq"]),
        (&json!(round), &json!(round + 1))
    );
}

#[tokio::test]
async fn closed_with_all_that_came_before_in_order() {
    let Some(setting) = Setting::new("closed_with_all_that_came_before_in_order", "").await else {
        return;
    };
    let mut slow = narrow(&setting, "slow").await;
    until(&setting, "slow", "overflowed").await;
    let mut seq = 0;
    let close = loop {
        let frame = slow.read_frame().await;
        if frame.opcode == CLOSE {
            break frame;
        }
        let push = said(&frame);
        seq += 1;
        assert_eq!(push["seq"], seq);
        assert_eq!(push["source"], (seq - 1).to_string());
    };
    assert_eq!(close.close_code(), Some(1013));
    assert_eq!(&close.payload[2..], b"slow_consumer");
    let series = "tidegate_ws_slow_consumers_total{action=\"close\"}";
    drop(slow);
    setting.gateway.admin().counts(series, 1.0).await;
}

/// Reads to the push that is numbered `last`; what came.
async fn read_to(slow: &mut Wire, last: usize) -> Vec<usize> {
    let (mut numbers, mut before) = (Vec::new(), 0);
    while numbers.last() != Some(&last) {
        let push = said(&slow.read_frame().await);
        let seq = push["seq"].as_u64().unwrap();
        assert!(seq > before, "{seq} behind {before}");
        before = seq;
        let number: usize = push["source"].as_str().unwrap().parse().unwrap();
        assert_eq!(seq, number as u64 + 1);
        numbers.push(number);
    }
    numbers
}

#[tokio::test]
async fn or_without_the_oldest() {
    let push = "slow_consumer: drop_oldest, outbox: 128KiB";
    let Some(setting) = Setting::new("or_without_the_oldest", push).await else {
        return;
    };
    let mut slow = narrow(&setting, "slow").await;
    let pushed = until(&setting, "slow", "dropped_oldest").await;
    let numbers = read_to(&mut slow, pushed - 1).await;
    assert!(numbers.len() < pushed, "nothing was dropped");
    // What is thrown away is what has waited longest.
    let newest: Vec<_> = (pushed - 4..pushed).collect();
    assert!(numbers.ends_with(&newest), "{numbers:?}");
}

#[tokio::test]
async fn or_with_the_newest_of_each_key() {
    let push = "slow_consumer: conflate, outbox: 128KiB";
    let Some(setting) = Setting::new("or_with_the_newest_of_each_key", push).await else {
        return;
    };
    let mut slow = narrow(&setting, "slow").await;
    let pushed = until(&setting, "slow", "replaced").await;
    setting.push("/v1/push", &batch("slow", pushed)).await;
    let last = pushed + BATCH - 1;
    let numbers = read_to(&mut slow, last).await;
    assert!(numbers.ends_with(&[last - 1, last]), "{numbers:?}");
}

/// Much comes at once, more than may wait for long; who reads gets all of it.
#[tokio::test]
async fn and_who_reads_is_not_slow() {
    let Some(setting) = Setting::new("and_who_reads_is_not_slow", "").await else {
        return;
    };
    let (mut client, _) = setting.new_session("u1").await;
    let mut old = setting.old("u1").await;
    let data = "x".repeat(1 << 10);
    let pushes: Vec<_> = (0..1000)
        .map(|number| json!({"user": "u1", "event": number.to_string(), "data": data}))
        .collect();
    setting.push("/v1/push", &json!(pushes)).await;
    for number in 0..1000 {
        let push = client.receive().await;
        assert_eq!(push["event"], number.to_string());
        assert_eq!(old.receive().await["uri"], number.to_string());
    }
}

/// Who was sent away for it comes back to what it has not read.
#[tokio::test]
async fn closed_and_back_again_without_a_loss() {
    let test = "closed_and_back_again_without_a_loss";
    let push = "buffer: { messages: 10000, bytes: 256MiB }";
    let Some(setting) = Setting::new(test, push).await else {
        return;
    };
    let mut slow = Wire::connect_narrow(setting.gateway.address()).await;
    let handshake = setting.handshake("slow");
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    slow.request(&handshake).await;
    slow.read_head().await;
    let welcome = said(&slow.read_frame().await);
    let pushed = until(&setting, "slow", "overflowed").await;
    let mut seq = 0;
    let close = loop {
        let frame = slow.read_frame().await;
        if frame.opcode == CLOSE {
            break frame;
        }
        seq += 1;
        assert_eq!(said(&frame)["seq"], seq);
    };
    assert_eq!(close.close_code(), Some(1013));
    let mut slow = narrow(&setting, "slow").await;
    let (session, token) = (&welcome["session"], &welcome["resume"]["token"]);
    let resume = json!({"session": session, "token": token, "seq": seq});
    let hello = json!({"op": "hello", "v": 1, "resume": resume}).to_string();
    slow.send_frame(&Frame::text(&hello).from_client()).await;
    let welcome = said(&slow.read_frame().await);
    assert_eq!(welcome["resume"]["recovered"], true, "{welcome}");
    let numbers = read_to(&mut slow, pushed - 1).await;
    let missed: Vec<_> = (seq..pushed).collect();
    assert_eq!(numbers, missed);
}

/// What a client missed while it was away is not thrown away because it takes its time to read it, nor is
/// it sent away for that: it was told that it gets all.
#[tokio::test]
async fn or_reads_slowly_what_it_missed() {
    for policy in ["close", "drop_oldest", "conflate"] {
        let test = "or_reads_slowly_what_it_missed";
        let push = format!(
            "slow_consumer: {policy}, outbox: 64KiB, buffer: {{ messages: 2000, bytes: 64MiB }}"
        );
        let Some(setting) = Setting::new(test, &push).await else {
            return;
        };
        let handshake = setting.handshake("slow");
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&setting.gateway, &handshake).await;
        let welcome = client.receive().await;
        client.0.reset();
        tidegate_tests::eventually("it is away", || setting.gateway.sessions() == 0).await;
        for round in 0..10 {
            setting
                .push("/v1/push", &batch("slow", round * BATCH))
                .await;
        }
        let mut slow = narrow(&setting, "slow").await;
        let (session, token) = (&welcome["session"], &welcome["resume"]["token"]);
        let resume = json!({"session": session, "token": token, "seq": 0});
        let hello = json!({"op": "hello", "v": 1, "resume": resume}).to_string();
        slow.send_frame(&Frame::text(&hello).from_client()).await;
        let welcome = said(&slow.read_frame().await);
        assert_eq!(welcome["resume"]["recovered"], true, "{policy}: {welcome}");
        let mut one = batch("slow", 10 * BATCH);
        setting.push("/v1/push", &one[0].take()).await;
        let numbers = read_to(&mut slow, 10 * BATCH).await;
        assert_eq!(numbers.len(), 10 * BATCH + 1, "{policy}");
    }
}

/// A tab that may be about to say where it comes back from is held back for a moment: that is no fault
/// of its client.
#[tokio::test]
async fn nor_is_slow_who_is_held_back() {
    let test = "nor_is_slow_who_is_held_back";
    let Some(setting) = Setting::new(test, "outbox: 64KiB").await else {
        return;
    };
    let (mut first, _) = setting.new_session("u1").await;
    let (mut second, _) = setting.new_session("u1").await;
    let data = "x".repeat(8 << 10);
    for number in 0..40 {
        let push = json!({"user": "u1", "event": "n", "source": number.to_string(), "data": data});
        setting.push("/v1/push", &push).await;
        assert_eq!(first.receive().await["seq"], number + 1);
    }
    for number in 0..40 {
        assert_eq!(second.receive().await["seq"], number + 1);
    }
}
