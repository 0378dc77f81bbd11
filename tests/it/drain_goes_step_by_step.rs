//! A drain: not ready at once, accepting for a while still, then nothing new; what is under way is
//! finished, sessions are told, and whoever does not follow is cut at the deadline.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{
    Admin, End, Frame, Head, Request, ScriptedUpstream, TestGateway, Wire, eventually,
};
use tokio::net::TcpStream;

const ROUTES: &str = "admin: { bind: '127.0.0.1:0' }\n\
    services: { up: { endpoints: ['http://UP'] } }\n\
    routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";

/// A gateway that drains by these keys.
fn gateway(upstream: &ScriptedUpstream, drain: &str) -> TestGateway {
    TestGateway::start(upstream, &format!("drain: {{ {drain} }}\n{ROUTES}"))
}

async fn has_closed(gateway: &TestGateway) {
    let begun = Instant::now();
    while TcpStream::connect(gateway.address()).await.is_ok() {
        assert!(begun.elapsed() < tidegate_tests::DEADLINE, "it accepts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn expect_draining(admin: Admin) {
    let answer = admin.get("/readyz").await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert_eq!(admin.get("/livez").await.status(), 200);
    let metrics = admin.metrics().await;
    assert_eq!(metrics.get("tidegate_draining"), Some(1.0));
    assert!(
        admin
            .get("/v1/info")
            .await
            .text()
            .contains("\"draining\":true")
    );
}

/// Reads the goodbye of a drain and answers it; the connection ends in order.
async fn says_goodbye(mut wire: Wire, is_client: bool) {
    let told = wire.read_frame().await;
    assert_eq!(told.close_code(), Some(1001), "{told:?}");
    assert_eq!(&told.payload[2..], b"drain", "{told:?}");
    let answer = Frame::close(1001, "");
    let answer = if is_client {
        answer.from_client()
    } else {
        answer
    };
    wire.send_frame(&answer).await;
    assert_eq!(wire.expect_end().await, End::Fin);
}

#[tokio::test]
async fn it_is_not_ready_at_once_and_serves_for_the_delay() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: 3s, spread: none");
    let admin = gateway.admin();
    assert_eq!(admin.get("/readyz").await.status(), 200);
    let early = gateway.open(&mut upstream).await;
    let begun = Instant::now();
    gateway.drain();
    expect_draining(admin).await;

    // Connections, requests and sessions are still welcome, and asked to come anew elsewhere.
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let answer = client.read_answer().await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.head.field("Connection"), Some("close"));
    assert_eq!(client.expect_end().await, End::Fin);
    let late = gateway.open(&mut upstream).await;
    let mut sessions = [early, late];
    for (client, peer) in &mut sessions {
        let word = Frame::text("still here").from_client();
        client.send_frame(&word).await;
        assert_eq!(peer.read_frame().await, word);
    }
    for (client, peer) in sessions {
        tokio::join!(says_goodbye(client, true), says_goodbye(peer, false));
        let age = begun.elapsed();
        assert!(age >= Duration::from_secs(3), "told after {age:?}");
        assert!(age < Duration::from_secs(3) + SLACK, "told after {age:?}");
    }
    assert!(TcpStream::connect(gateway.address()).await.is_err());
    gateway.drained().await;
    assert!(TcpStream::connect(admin.0).await.is_err());
}

#[tokio::test]
async fn idle_connections_are_closed_when_the_delay_is_over() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "delay: 1s, spread: 20s, timeout: 20s");
    let mut client = gateway.connect().await;
    let answer = client.ask(&Request::get("/")).await;
    assert!(!answer.head.has("Connection"), "{:?}", answer.head);
    let begun = Instant::now();
    gateway.drain();
    assert_eq!(client.expect_end().await, End::Fin);
    let age = begun.elapsed();
    assert!(age >= Duration::from_secs(1), "closed after {age:?}");
    assert!(age < Duration::from_secs(1) + SLACK, "closed after {age:?}");
    gateway.drained().await;
    let age = begun.elapsed();
    assert!(
        age < Duration::from_secs(1) + 2 * SLACK,
        "nothing was left: {age:?}"
    );
}

/// Who has been accepted is heard, though the listener is closed meanwhile.
#[tokio::test]
async fn first_request_of_a_connection_is_served() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "delay: none, spread: none");
    let mut new = gateway.connect().await;
    let mut begun = gateway.connect().await;
    begun.send("GET /begun HTTP/1.1\r\nHost: ").await;
    let address = gateway.address();
    let ended = tokio::spawn(async move {
        gateway.drain();
        has_closed(&gateway).await;
        gateway.drained().await;
    });
    eventually("the listener is closed", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    begun.send("h\r\n\r\n").await;
    for (wire, target) in [(&mut new, "/new"), (&mut begun, "/begun")] {
        if target == "/new" {
            wire.request(&Request::get(target)).await;
        }
        let answer = wire.read_answer().await;
        assert_eq!(answer.seen().target(), target);
        assert_eq!(answer.head.field("Connection"), Some("close"));
    }
    drop((new, begun));
    ended.await.unwrap();
}

/// A download whose end comes long after the window.
#[tokio::test]
async fn requests_under_way_are_finished() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: none, spread: 500ms, timeout: 15s");
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
        .await;
    gateway.drain();
    has_closed(&gateway).await;
    let address = gateway.admin().0;
    let ended = tokio::spawn(gateway.drained());
    let part = vec![b'x'; 1_000_000];
    let sending = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            peer.send(&part).await;
        }
    };
    let reading = async {
        let head: Head = client.read_head().await;
        assert_eq!(head.status(), 200);
        client.read_exact(1_500_000).await;
        assert_eq!(Admin(address).get("/livez").await.status(), 200);
        client.read_exact(1_500_000).await;
    };
    tokio::join!(sending, reading);
    drop(client);
    ended.await.unwrap();
}

/// Neither a session whose peers say nothing nor an answer without an end keeps the gateway. What is
/// cut does not look whole.
#[tokio::test]
async fn deadline_cuts_what_does_not_end() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: none, spread: 1s, timeout: 2s");
    let (mut session, _silent) = gateway.open(&mut upstream).await;
    let mut client = gateway.connect().await;
    client.request(&Request::get("/").version("HTTP/1.0")).await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send("HTTP/1.1 200 OK\r\n\r\nhalf of it").await;
    client.read_head().await;
    client.expect("half of it").await;
    let begun = Instant::now();
    gateway.drain();
    assert_eq!(session.read_close().await, Some(1001));
    gateway.drained().await;
    let age = begun.elapsed();
    assert!(age >= Duration::from_secs(3), "it ended after {age:?}");
    assert!(
        age < Duration::from_secs(3) + SLACK,
        "it ended after {age:?}"
    );
    assert_eq!(client.expect_end().await, End::Reset);
    drop(peer);
}

#[tokio::test]
async fn data_in_flight_arrives_before_the_goodbye() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: none, spread: none");
    let (client, mut peer) = gateway.open(&mut upstream).await;
    // More than the kernel holds, so that the goodbye finds the gateway in the midst of it.
    let message = Frame::new(2, vec![7; 32 * 1024 * 1024]).bytes();
    let half = message.len() / 2;
    peer.send(&message[..1024]).await;
    gateway.drain();
    has_closed(&gateway).await;
    let reading = tokio::spawn(async move {
        let mut client = client;
        let frame = client.read_frame().await;
        assert_eq!((frame.opcode, frame.payload.len()), (2, 32 * 1024 * 1024));
        assert!(frame.payload.iter().all(|byte| *byte == 7));
        says_goodbye(client, true).await;
    });
    peer.send(&message[1024..half]).await;
    peer.send(&message[half..]).await;
    says_goodbye(peer, false).await;
    reading.await.unwrap();
    gateway.drained().await;
}

#[tokio::test]
async fn admin_begins_it_once() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: 2s, spread: none");
    let admin = gateway.admin();
    let (client, peer) = gateway.open(&mut upstream).await;
    let order = Request::new("POST", "/v1/drain").set("Host", "localhost");
    admin.get("/v1/drain").await.expect_problem(405);
    let with_origin = order.clone().with("Origin", "http://localhost");
    admin.ask(&with_origin).await.expect_problem(403);
    let trial = Request::new("POST", "/v1/drain?dry_run=true").set("Host", "localhost");
    admin.ask(&trial).await.expect_problem(400);
    let with_body = order.clone().body("{}");
    admin.ask(&with_body).await.expect_problem(400);
    assert_eq!(admin.get("/readyz").await.status(), 200);
    let begun = Instant::now();
    for _ in 0..3 {
        let answer = admin.ask(&order).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        assert_eq!(answer.text(), "{\"draining\":true}");
        expect_draining(admin).await;
    }
    tokio::join!(says_goodbye(client, true), says_goodbye(peer, false));
    let age = begun.elapsed();
    assert!(age >= Duration::from_secs(2), "told after {age:?}");
    gateway.drained().await;
    assert!(
        begun.elapsed() < Duration::from_secs(2) + SLACK,
        "the orders do not add up"
    );
}

/// A stop that comes amid a drain has no time for the rest of it.
#[tokio::test]
async fn stop_and_cut_overtake_it() {
    for cuts in [false, true] {
        for delay in ["1h", "none"] {
            let mut upstream = ScriptedUpstream::bind().await;
            let keys = format!("delay: {delay}, spread: 1h, timeout: 1h");
            let gateway = gateway(&upstream, &keys);
            let first = gateway.open(&mut upstream).await;
            let second = gateway.open(&mut upstream).await;
            let begun = Instant::now();
            gateway.drain();
            if delay == "none" {
                has_closed(&gateway).await;
            }
            let ended = if cuts {
                tokio::spawn(gateway.cut())
            } else {
                tokio::spawn(gateway.stop())
            };
            if !cuts {
                for (client, peer) in [first, second] {
                    tokio::join!(says_goodbye(client, true), says_goodbye(peer, false));
                }
            }
            ended.await.unwrap();
            assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
        }
    }
}

/// Nothing is dialled for a session that would be ended at once.
#[tokio::test]
async fn handshakes_behind_the_delay_are_503() {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "delay: none, spread: none");
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\n").await;
    gateway.drain();
    has_closed(&gateway).await;
    let handshake = Request::handshake("/").bytes();
    let (_start_line, rest) = handshake.split_at(b"GET / HTTP/1.1\r\n".len());
    client.send(rest).await;
    let answer = client.read_answer().await;
    answer.expect_problem(503);
    assert!(answer.text().contains("\"draining\""), "{}", answer.text());
    assert!(answer.head.has("Retry-After"));
    assert_eq!(answer.head.field("Connection"), Some("close"));
    drop(client);
    gateway.drained().await;
    upstream.was_left_alone().await;
}
