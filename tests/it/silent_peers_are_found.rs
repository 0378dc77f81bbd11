//! A side that says nothing is asked whether it is still there, and let go when it does not answer;
//! the other side never notices the asking.

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, CLOSE, PING, PONG};
use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, Wire};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Timers are looked at once a second.
const TICK: Duration = Duration::from_secs(1);

async fn session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

fn pong(ping: &Frame) -> Frame {
    assert_eq!((ping.opcode, ping.payload.len()), (PING, 8), "{ping:?}");
    Frame::new(PONG, &ping.payload)
}

/// The reason of a close frame.
fn reason(close: &Frame) -> String {
    assert_eq!(close.opcode, CLOSE, "{close:?}");
    String::from_utf8(close.payload[2..].to_vec()).unwrap()
}

#[tokio::test]
async fn each_side_is_asked_and_its_answer_is_kept() {
    // The time for an answer does not delay the next question.
    let before = Instant::now();
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { interval: 1s, timeout: 6s }").await;
    let begun = Instant::now();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for round in 1..=3 {
        let (to_client, to_upstream) = (client.read_frame().await, peer.read_frame().await);
        assert!(before.elapsed() >= INTERVAL * round, "too soon");
        assert!(to_client.mask.is_none() && to_upstream.mask.is_some());
        client.send_frame(&pong(&to_client).from_client()).await;
        peer.send_frame(&pong(&to_upstream)).await;
        seen.extend([to_client.payload, to_upstream.payload]);
    }
    assert!(begun.elapsed() < (INTERVAL + TICK) * 3 + SLACK, "too late");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "no two pings are alike");
    // Their answers went nowhere.
    let up = Frame::text("up").from_client().bytes();
    client.send(&up).await;
    peer.expect(&up).await;
    let down = Frame::text("down").bytes();
    peer.send(&down).await;
    client.expect(&down).await;
}

#[tokio::test]
async fn silent_client_is_let_go_and_the_upstream_told() {
    let before = Instant::now();
    let (_upstream, gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }").await;
    let begun = Instant::now();
    assert_eq!(client.read_frame().await.opcode, PING);
    let told = peer.read_frame().await;
    assert!(before.elapsed() >= INTERVAL + TIMEOUT, "too soon");
    let latest = INTERVAL + TIMEOUT + 2 * TICK + SLACK;
    assert!(begun.elapsed() < latest, "after {:?}", begun.elapsed());
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(reason(&told), "ping_timeout");
    // Best effort: it may hear after all.
    assert_eq!(client.read_close().await, Some(1001));
    peer.send_frame(&Frame::close(1001, "")).await;
    drop(peer);
    client.read_to_end().await;
    gateway.is_empty().await;
    let limit = latest + Duration::from_secs(5);
    assert!(begun.elapsed() < limit, "gone after {:?}", begun.elapsed());
}

#[tokio::test]
async fn silent_upstream_is_let_go_and_the_client_told() {
    let before = Instant::now();
    let (_upstream, gateway, mut client, mut peer) =
        session("keep_alive: { client: none, upstream: { interval: 1s, timeout: 2s } }").await;
    let begun = Instant::now();
    let told = client.read_frame().await;
    assert!(before.elapsed() >= INTERVAL + TIMEOUT, "too soon");
    let latest = INTERVAL + TIMEOUT + 2 * TICK + SLACK;
    assert!(begun.elapsed() < latest, "after {:?}", begun.elapsed());
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(reason(&told), "ping_timeout");
    assert_eq!(peer.read_frame().await.opcode, PING);
    assert_eq!(peer.read_close().await, Some(1001));
    drop(client);
    peer.read_to_end().await;
    gateway.is_empty().await;
}

/// Who talks is not asked, and any byte is talk: here of a frame that takes its time.
#[tokio::test]
async fn any_byte_is_a_sign_of_life() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 2s, timeout: 1s }, upstream: none }").await;
    let up = Frame::new(BINARY, vec![7; 1000]).from_client().bytes();
    client.send(&up[..500]).await;
    peer.expect(&up[..500]).await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for byte in &up[500..520] {
        ticks.tick().await;
        client.send([*byte]).await;
        peer.expect([*byte]).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(4500));
    client.stays_silent().await;
    client.send(&up[520..]).await;
    peer.expect(&up[520..]).await;
}

/// It has not answered the ping, but it lives; and once it is silent again it has to answer.
#[tokio::test]
async fn words_without_a_pong_are_a_sign_of_life_too() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }").await;
    let ping = client.read_frame().await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while begun.elapsed() < Duration::from_secs(4) {
        ticks.tick().await;
        let up = Frame::text("busy").from_client().bytes();
        client.send(&up).await;
        peer.expect(&up).await;
    }
    // The late answer is still swallowed.
    client.send_frame(&pong(&ping).from_client()).await;
    let up = Frame::text("mark").from_client().bytes();
    client.send(&up).await;
    peer.expect(&up).await;
}

/// RFC 6455 section 5.5.3: a peer may answer the latest ping alone, so ours must not hide another.
#[tokio::test]
async fn none_of_ours_behind_a_forwarded_ping_without_an_answer() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }").await;
    let asked = Frame::new(PING, "the upstream asks");
    let before = Instant::now();
    peer.send_frame(&asked).await;
    client.expect(asked.bytes()).await;
    let begun = Instant::now();
    // It counts as ours: its answer is waited for as long.
    let told = peer.read_frame().await;
    assert!(before.elapsed() >= INTERVAL + TIMEOUT, "too soon");
    let latest = INTERVAL + TIMEOUT + 2 * TICK + SLACK;
    assert!(begun.elapsed() < latest, "after {:?}", begun.elapsed());
    assert_eq!(reason(&told), "ping_timeout");
    assert_eq!(client.read_close().await, Some(1001), "a ping came between");
}

#[tokio::test]
async fn ours_comes_once_the_forwarded_ping_is_answered() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }").await;
    for payload in ["first", "second"] {
        let asked = Frame::new(PING, payload);
        peer.send_frame(&asked).await;
        client.expect(asked.bytes()).await;
    }
    // The latest alone.
    let answer = Frame::new(PONG, "second").from_client().bytes();
    client.send(&answer).await;
    peer.expect(&answer).await;
    let ping = client.read_frame().await;
    client.send_frame(&pong(&ping).from_client()).await;
    peer.stays_silent().await;
}

/// Nor does a frame that stands still keep a side that says nothing. No ping stands in it, and the
/// side's end is a reset, because it has half a frame.
#[tokio::test]
async fn frame_that_stands_still_keeps_nobody() {
    let (_upstream, gateway, mut client, mut peer) = session(
        "close_timeout: 2s, keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }",
    )
    .await;
    let down = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&down[..500]).await;
    client.expect(&down[..500]).await;
    let begun = Instant::now();
    let told = peer.read_frame().await;
    assert!(begun.elapsed() >= INTERVAL + TIMEOUT, "too soon");
    let latest = INTERVAL + TIMEOUT + 2 * TICK + SLACK;
    assert!(begun.elapsed() < latest, "after {:?}", begun.elapsed());
    assert_eq!(reason(&told), "ping_timeout");
    let (added, end) = client.read_to_end().await;
    assert_eq!((added.len(), end), (0, End::Reset));
    drop(peer);
    gateway.is_empty().await;
}

/// No ping within a frame: it waits for the boundary, as long as the frame goes on.
#[tokio::test]
async fn ping_waits_for_the_boundary() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }").await;
    let down = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&down[..500]).await;
    client.expect(&down[..500]).await;
    for at in 500..506 {
        let quiet = tokio::time::timeout(TICK, client.something_came()).await;
        assert!(quiet.is_err(), "something was put into a frame");
        peer.send(&down[at..=at]).await;
        client.expect(&down[at..=at]).await;
    }
    peer.send(&down[506..]).await;
    client.expect(&down[506..]).await;
    let ping = client.read_frame().await;
    client.send_frame(&pong(&ping).from_client()).await;
    peer.stays_silent().await;
}

/// Neither our pings nor their answers keep a session from being idle.
#[tokio::test]
async fn asking_is_no_activity() {
    let before = Instant::now();
    let (_upstream, _gateway, mut client, mut peer) =
        session("idle_timeout: 3s, keep_alive: { interval: 1s, timeout: 10s }").await;
    let begun = Instant::now();
    let answering = async |wire: &mut Wire, is_client: bool| loop {
        let frame = wire.read_frame().await;
        if frame.opcode == CLOSE {
            return frame;
        }
        let answer = pong(&frame);
        let answer = if is_client {
            answer.from_client()
        } else {
            answer
        };
        wire.send_frame(&answer).await;
    };
    let (told, _) = tokio::join!(answering(&mut client, true), answering(&mut peer, false));
    assert!(before.elapsed() >= Duration::from_secs(3), "too soon");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4) + SLACK, "after {took:?}");
    assert_eq!(reason(&told), "idle_timeout;after=3s");
}

/// A client that is not read, because the upstream takes nothing, cannot be heard: it is no silent
/// one.
#[tokio::test]
async fn client_that_is_held_back_is_not_silent() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { write_timeout: 30s, keep_alive: { client: { interval: 1s, timeout: 1s }, upstream: none } }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let (client, mut peer) = gateway.open(&mut upstream).await;
    let frame = Frame::new(BINARY, vec![7; 1 << 20]).from_client().bytes();
    let (mut reads, mut writes) = client.into_stream().into_split();
    let expected = frame.clone();
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        for _ in 0..32 {
            writes.write_all(&frame).await.unwrap();
        }
        writes
    });
    let mut byte = [0];
    let quiet = {
        use tokio::io::AsyncReadExt as _;
        tokio::time::timeout(Duration::from_secs(5), reads.read(&mut byte)).await
    };
    assert!(quiet.is_err(), "a client that talks was asked or let go");
    assert!(!writer.is_finished(), "the writer was not held back");
    for _ in 0..32 {
        peer.expect(&expected).await;
    }
    writer.await.unwrap();
}

/// A client that reads steadily, but slower than it is sent to, is neither silent nor a slow
/// consumer: its ping stands behind what it has not read.
#[tokio::test]
async fn client_that_reads_slowly_is_there() {
    use tokio::io::AsyncWriteExt as _;
    let (_upstream, _gateway, mut client, peer) = session(
        "write_timeout: 3s, keep_alive: { client: { interval: 1s, timeout: 2s }, upstream: none }",
    )
    .await;
    let (mut reads, mut writes) = peer.into_stream().into_split();
    let frame = Frame::new(BINARY, vec![7; 16_000]).bytes();
    let writer = tokio::spawn(async move { while writes.write_all(&frame).await.is_ok() {} });
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.read_exact(30_000).await;
    }
    let mut byte = [0];
    let told = tokio::io::AsyncReadExt::read(&mut reads, &mut byte);
    let quiet = tokio::time::timeout(Duration::from_millis(100), told).await;
    assert!(quiet.is_err(), "the session was ended");
    assert!(!writer.is_finished(), "the writer was let go");
    writer.abort();
}

#[tokio::test]
async fn nobody_is_asked_where_keep_alive_is_none() {
    let (_upstream, _gateway, mut client, mut peer) = session("keep_alive: none").await;
    let quiet = async {
        tokio::select! {
            () = client.something_came() => {}
            () = peer.something_came() => {}
        }
    };
    let quiet = tokio::time::timeout(Duration::from_secs(4), quiet).await;
    assert!(quiet.is_err(), "something came");
}

/// A peer that says half a frame and no more.
#[tokio::test]
async fn silence_within_a_frame_is_silence() {
    let (_upstream, gateway, mut client, mut peer) = session(
        "close_timeout: 2s, keep_alive: { client: { interval: 1s, timeout: 1s }, upstream: none }",
    )
    .await;
    let up = Frame::new(BINARY, vec![7; 1000]).from_client().bytes();
    client.send(&up[..500]).await;
    peer.expect(&up[..500]).await;
    let begun = Instant::now();
    // The boundary never comes, so the upstream cannot be told.
    let (added, end) = peer.read_to_end().await;
    assert_eq!((added.len(), end), (0, End::Reset));
    let limit = Duration::from_secs(1 + 1 + 2 + 2) + SLACK;
    assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
    assert_eq!(client.read_frame().await.opcode, PING);
    assert_eq!(client.read_close().await, Some(1001));
    drop(client);
    gateway.is_empty().await;
}

/// Bytes behind the handshakes are heard like others, and a deflated session is asked too.
#[tokio::test]
async fn deflated_sessions_are_asked() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { keep_alive: { interval: 1s, timeout: 2s } }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let mut client = gateway.connect().await;
    let offer = Request::handshake("/").with("Sec-WebSocket-Extensions", "permessage-deflate");
    client.request(&offer).await;
    let mut peer = upstream.accept().await;
    let accept = "Sec-WebSocket-Extensions: permessage-deflate";
    peer.accept_handshake_with(&[accept]).await;
    assert_eq!(client.read_head().await.status(), 101);
    pong(&client.read_frame().await);
    pong(&peer.read_frame().await);
}
