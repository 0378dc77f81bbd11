//! `/metrics` tells how well the peers of sessions do: how soon they answer our pings, how much waits
//! for them, and which were too slow.

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, PING, PONG};
use tidegate_tests::{Admin, Frame, Request, ScriptedUpstream, TestGateway, Wire};

const RTT: &str = "tidegate_ws_ping_rtt_seconds";
const QUEUE: &str = "tidegate_ws_send_queue_bytes";
const SLOW: &str = "tidegate_ws_slow_consumers_total{action=\"close\"}";

fn yaml(keys: &str) -> String {
    format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n\
         services: {{ up: {{ endpoints: ['http://UP'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up, websocket: {{ {keys} }} }} }}]\n"
    )
}

/// A value of a leg; 0 where nothing was observed.
async fn of(admin: Admin, name: &str, leg: &str) -> f64 {
    let series = format!("{name}{{route=\"r\",leg=\"{leg}\"}}");
    admin.metrics().await.get(&series).unwrap_or_default()
}

fn pong(ping: &Frame) -> Frame {
    assert_eq!(ping.opcode, PING, "{ping:?}");
    Frame::new(PONG, &ping.payload)
}

#[tokio::test]
async fn by_the_pongs_to_pings_of_ours() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "keep_alive: { interval: 1s, timeout: 1h }";
    let gateway = TestGateway::start(&upstream, &yaml(keys));
    let admin = gateway.admin();
    let begun = Instant::now();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let counts = |leg: &str| format!("{RTT}_count{{route=\"r\",leg=\"{leg}\"}}");
    let ping = client.read_frame().await;
    // What comes between is no answer.
    let other = Frame::new(PONG, vec![0; 8]).from_client();
    client.send_frame(&other).await;
    let (mut passed, mut to_peer) = (false, None);
    while !passed || to_peer.is_none() {
        let frame = peer.read_frame().await;
        match frame.opcode {
            PING => to_peer = Some(frame),
            _ => passed = true,
        }
    }
    assert_eq!(of(admin, &format!("{RTT}_count"), "client").await, 0.0);
    client.send_frame(&pong(&ping).from_client()).await;
    admin.counts(&counts("client"), 1.0).await;
    let sum = of(admin, &format!("{RTT}_sum"), "client").await;
    let open = begun.elapsed().as_secs_f64();
    assert!(sum > 0.0 && sum < open, "{sum} of {open}");
    // The upstream's has a histogram of its own. Only answers count.
    peer.send_frame(&pong(&to_peer.unwrap())).await;
    admin.counts(&counts("upstream"), 1.0).await;
    assert_eq!(of(admin, &format!("{RTT}_count"), "client").await, 1.0);
}

/// Sends to `wire` until the gateway takes no more of it.
async fn fill(wire: &mut Wire) {
    let words = Frame::new(BINARY, vec![7; 1 << 16]).bytes();
    wire.send_until_full(&words, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn by_what_waits_for_them_and_whether_they_were_too_slow() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "write_timeout: 3s, close_timeout: 1s, keep_alive: none";
    let gateway = TestGateway::start(&upstream, &yaml(keys));
    let admin = gateway.admin();
    let (mut quick, mut answers) = gateway.open(&mut upstream).await;
    let mut slow = Wire::connect_narrow(gateway.address()).await;
    slow.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(slow.read_head().await.status(), 101);
    assert_eq!(admin.metrics().await.get(SLOW), Some(0.0));
    fill(&mut peer).await;
    admin.counts(SLOW, 1.0).await;
    let count = of(admin, &format!("{QUEUE}_count"), "client").await;
    let sum = of(admin, &format!("{QUEUE}_sum"), "client").await;
    assert!(count >= 1.0, "nothing waited");
    assert!(sum >= count, "{count} times nothing waited: {sum}");
    assert!(sum <= count * f64::from(256 << 10), "{count}: {sum}");
    // A side that takes what comes has nothing that waits, and no other side's is its own.
    let frame = Frame::text("x").from_client();
    quick.send_frame(&frame).await;
    answers.expect(&frame.bytes()).await;
    assert_eq!(of(admin, &format!("{QUEUE}_count"), "upstream").await, 0.0);
    let ends = "tidegate_ws_connections_closed_total{route=\"r\",code=\"1013\",cause=\"slow_consumer\",initiator=\"gateway\"}";
    admin.counts(ends, 1.0).await;
    drop((slow, peer));
}
