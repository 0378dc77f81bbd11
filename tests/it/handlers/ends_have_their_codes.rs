//! However a session with a handler ends, its client is told why, and the metrics say the same.

use std::time::{Duration, Instant};

use tidegate::handler::{BoxError, Message, WebSocketSession};
use tidegate_tests::frame::{BINARY, PING, TEXT};
use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, TestGateway, Wire, eventually};

use super::{echo, echoes, farewell, gateway, open, yaml};

/// Waits until `tidegate_ws_connections_closed_total` says so.
async fn counted(gateway: &TestGateway, code: &str, cause: &str, initiator: &str, count: f64) {
    let series = format!(
        "tidegate_ws_connections_closed_total{{route=\"chat\",code=\"{code}\",\
         cause=\"{cause}\",initiator=\"{initiator}\"}}"
    );
    gateway.admin().counts(&series, count).await;
}

/// Does as it is told.
async fn obey(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        let Message::Text(order) = message? else {
            continue;
        };
        match order.as_str() {
            "return" => return Ok(()),
            "fail" => return Err("it failed on purpose".into()),
            "panic" => std::panic::resume_unwind(Box::new("clumsy on purpose")),
            "close" => {
                session.close(4321, "enough").await;
            }
            _ => session.send(order).await?,
        }
    }
    Ok(())
}

#[tokio::test]
async fn by_the_handler() {
    let gateway = gateway(&yaml("", "", ""), obey);
    let mut bystander = open(&gateway).await;
    for (order, code, reason) in [
        ("return", 1000, ""),
        ("close", 4321, "enough"),
        ("fail", 1011, "internal"),
        ("panic", 1011, "internal"),
    ] {
        for _ in 0..3 {
            let mut client = open(&gateway).await;
            client.send_frame(&Frame::text(order).from_client()).await;
            let told = farewell(&mut client).await;
            assert_eq!(told, (Some(code), reason.to_owned()), "{order}");
            assert_eq!(client.expect_end().await, End::Fin, "{order}");
        }
        eventually("the bystander is left", || gateway.sessions() == 1).await;
        echoes(&mut bystander, order.trim_end_matches(order)).await;
    }
    assert_eq!(gateway.panics(), 3, "each is counted");
    counted(&gateway, "1000", "upstream_close", "upstream", 3.0).await;
    counted(&gateway, "4xxx", "upstream_close", "upstream", 3.0).await;
    counted(&gateway, "1011", "internal", "gateway", 6.0).await;
    bystander.close_session().await;
    counted(&gateway, "1000", "client_close", "client", 1.0).await;
}

#[tokio::test]
async fn by_a_client_that_breaks_a_rule() {
    let keys = "max_message: 1KiB, max_frame: 512, max_control_frames: 10";
    let gateway = gateway(&yaml("", "", keys), echo);
    let flood: Vec<u8> = (0..30)
        .flat_map(|_| Frame::new(PING, "x").from_client().bytes())
        .collect();
    let long = Frame::new(BINARY, [0; 512]).from_client();
    let whole: Vec<u8> = [
        long.clone().unfinished(),
        Frame::new(0, [0; 512]).unfinished().from_client(),
        Frame::new(0, [0; 1]).from_client(),
    ]
    .iter()
    .flat_map(Frame::bytes)
    .collect();
    for (words, code, cause) in [
        (Frame::text("unmasked").bytes(), 1002, "protocol_error"),
        (
            Frame::new(3, "").from_client().bytes(),
            1002,
            "protocol_error",
        ),
        (
            Frame::new(TEXT, [0xff]).from_client().bytes(),
            1007,
            "protocol_error",
        ),
        (
            Frame::new(BINARY, [0; 513]).from_client().bytes(),
            1009,
            "message_too_big",
        ),
        (whole, 1009, "message_too_big"),
        (flood, 4429, "rate_limited"),
    ] {
        let mut client = open(&gateway).await;
        client.send(&words).await;
        let (code_told, reason) = loop {
            let frame = client.read_frame().await;
            if frame.opcode == 8 {
                let reason = String::from_utf8_lossy(&frame.payload[2..]).into_owned();
                break (frame.close_code(), reason);
            }
        };
        assert_eq!((code_told, &*reason), (Some(code), cause));
        client.finish().await;
        client.read_to_end().await;
        drop(client);
        gateway.is_empty().await;
    }
    counted(&gateway, "1002", "protocol_error", "client", 2.0).await;
    counted(&gateway, "1007", "protocol_error", "client", 1.0).await;
    counted(&gateway, "1009", "message_too_big", "client", 2.0).await;
    counted(&gateway, "4xxx", "rate_limited", "client", 1.0).await;
}

#[tokio::test]
async fn by_silence() {
    const IDLE: Duration = Duration::from_secs(2);
    let gateway = gateway(&yaml("", "", "idle_timeout: 2s, keep_alive: none"), echo);
    let mut rounds = 0;
    // On a machine that holds us up for so long silence is no wonder.
    let (mut client, moved) = loop {
        let mut client = open(&gateway).await;
        let mut moved = Instant::now();
        let mut is_held_up = false;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(800)).await;
            if moved.elapsed() > IDLE - Duration::from_millis(500) {
                is_held_up = true;
                break;
            }
            moved = Instant::now();
            echoes(&mut client, "still here").await;
        }
        rounds += 1;
        if !is_held_up {
            break (client, moved);
        }
        assert!(rounds < 10, "held up again and again");
    };
    let told = farewell(&mut client).await;
    assert_eq!(told, (Some(1001), "idle_timeout;after=2s".to_owned()));
    assert!(moved.elapsed() >= IDLE, "too soon");
    let latest = IDLE * 2 + SLACK;
    assert!(moved.elapsed() < latest, "after {:?}", moved.elapsed());
    client.expect_end().await;
    if rounds == 1 {
        counted(&gateway, "1001", "idle_timeout", "gateway", 1.0).await;
    }
}

#[tokio::test]
async fn by_age() {
    let gateway = gateway(&yaml("", "", "max_age: 2s"), echo);
    let begun = Instant::now();
    let mut client = open(&gateway).await;
    let told = loop {
        client.send_frame(&Frame::text("on").from_client()).await;
        let frame = client.read_frame().await;
        if frame.opcode == 8 {
            break frame;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(&told.payload[2..], b"max_age;after=2s");
    assert!(begun.elapsed() < Duration::from_secs(4) + SLACK);
    client
        .send_frame(&Frame::close(1001, "").from_client())
        .await;
    client.read_to_end().await;
    counted(&gateway, "1001", "max_age", "gateway", 1.0).await;
}

#[tokio::test]
async fn by_a_drain_and_evenly() {
    let drain = "drain: { delay: none, spread: 2s, timeout: 5s }";
    let gateway = gateway(&yaml(drain, "", ""), echo);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(open(&gateway).await);
    }
    let begun = Instant::now();
    gateway.drain();
    let mut ends: Vec<Duration> = Vec::new();
    for mut client in clients {
        let told = farewell(&mut client).await;
        ends.push(begun.elapsed());
        assert_eq!(told, (Some(1012), "drain".to_owned()));
        assert_eq!(client.expect_end().await, End::Fin);
    }
    assert_eq!(gateway.drained().await, 0, "nothing was cut");
    let span = *ends.iter().max().unwrap();
    assert!(span >= Duration::from_millis(1500), "all within {span:?}");
}

/// A handler that never returns keeps nobody.
#[tokio::test]
async fn by_a_drain_that_the_handler_does_not_hear() {
    let drain = "drain: { delay: none, spread: none, timeout: 8s }";
    let gateway = gateway(&yaml(drain, "", ""), async |session: WebSocketSession| {
        let _kept = session;
        std::future::pending().await
    });
    let mut client = open(&gateway).await;
    gateway.drain();
    assert_eq!(farewell(&mut client).await.0, Some(1012));
    client.expect_end().await;
    assert_eq!(gateway.drained().await, 0, "it was dropped in time");
}

/// Says more and more to a client that takes nothing.
async fn pour(mut session: WebSocketSession) -> Result<(), BoxError> {
    loop {
        session.send(vec![7_u8; 32 * 1024]).await?;
    }
}

#[tokio::test]
async fn by_a_client_that_takes_nothing() {
    let gateway = gateway(&yaml("", "", "write_timeout: 2s, keep_alive: none"), pour);
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client.upgrade("/chat/1").await;
    counted(&gateway, "1013", "slow_consumer", "gateway", 1.0).await;
    let (_, end) = client.read_to_end().await;
    assert_eq!(end, End::Reset, "what it got is not the whole");
    gateway.is_empty().await;
}

#[tokio::test]
async fn by_a_client_that_answers_no_ping() {
    let keys = "keep_alive: { interval: 1s, timeout: 5s }";
    let gateway = gateway(&yaml("", "", keys), echo);
    let begun = Instant::now();
    let (mut silent, mut other) = (open(&gateway).await, open(&gateway).await);
    let answering = async {
        loop {
            let Ok(frame) = other.read_frame_or_end().await else {
                panic!("it answered, and was let go");
            };
            assert_eq!((frame.opcode, frame.payload.len()), (PING, 8));
            let pong = Frame::new(10, frame.payload).from_client();
            other.send_frame(&pong).await;
        }
    };
    let waiting = async {
        assert_eq!(silent.read_frame().await.opcode, PING);
        let told = farewell(&mut silent).await;
        assert_eq!(told, (Some(1001), "ping_timeout".to_owned()));
        assert!(begun.elapsed() >= Duration::from_secs(6), "too soon");
        assert!(begun.elapsed() < Duration::from_secs(10) + SLACK);
        silent.expect_end().await;
        counted(&gateway, "1001", "ping_timeout", "gateway", 1.0).await;
    };
    tokio::select! {
        () = waiting => {}
        () = answering => {}
    }
    assert_eq!(gateway.sessions(), 1);
}
