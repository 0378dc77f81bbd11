//! Whoever takes nothing, trickles, floods, vanishes or never ends keeps neither the
//! other side nor the gateway for longer than the route says.

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, CLOSE, CONTINUATION, PING, TEXT};
use tidegate_tests::sockets;
use tidegate_tests::time::{SLACK, within};
use tidegate_tests::{End, Frame, ScriptedUpstream, TestGateway, Wire, eventually};
use tokio::io::AsyncWriteExt as _;

/// Timers are looked at once a second.
const TICK: Duration = Duration::from_secs(1);
/// How long nothing is taken from a full socket before it is believed that nothing will be.
const STILL: Duration = Duration::from_millis(500);
const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

async fn session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

/// As [`session`], where the client's socket takes little.
async fn narrow_session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client
        .request(&tidegate_tests::Request::handshake("/"))
        .await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    (upstream, gateway, client, peer)
}

/// Sends frames of `frame` until its socket is full and nothing is taken of it any more; since when.
async fn fill(wire: &mut Wire, frame: &[u8]) -> Instant {
    wire.narrow();
    within("the sockets to be full", wire.send_until_full(frame, STILL)).await
}

async fn no_socket_is_left(gateway: &TestGateway, upstream: &ScriptedUpstream) {
    gateway.is_empty().await;
    for port in [gateway.address().port(), upstream.address().port()] {
        eventually("no socket is left", || sockets::open_on(port) == 0).await;
    }
}

/// The gateway does not read the client, because the upstream takes nothing; all the same it
/// notices that the client is gone.
#[tokio::test]
async fn reset_of_a_client_whose_upstream_is_deaf_is_noticed() {
    let (upstream, gateway, mut client, mut peer) = session("").await;
    let frame = Frame::new(BINARY, vec![7; 1 << 16]).from_client().bytes();
    fill(&mut client, &frame).await;
    let begun = Instant::now();
    client.reset();
    gateway.is_empty().await;
    let limit = 2 * TICK + SLACK;
    assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
    assert_eq!(peer.read_to_end().await.1, End::Reset, "it has half of it");
    drop(peer);
    no_socket_is_left(&gateway, &upstream).await;
}

#[tokio::test]
async fn reset_of_an_upstream_whose_client_is_deaf_is_noticed() {
    let (upstream, gateway, mut client, mut peer) = narrow_session("").await;
    let frame = Frame::new(BINARY, vec![7; 1 << 16]).bytes();
    fill(&mut peer, &frame).await;
    let begun = Instant::now();
    peer.reset();
    gateway.is_empty().await;
    let limit = 2 * TICK + SLACK;
    assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
    assert_eq!(
        client.read_to_end().await.1,
        End::Reset,
        "it has half of it"
    );
    drop(client);
    no_socket_is_left(&gateway, &upstream).await;
}

/// A receiver that is slow, but takes, gets what there is, and is told.
#[tokio::test]
async fn slow_reader_of_a_reset_client_is_told_between_frames() {
    let (_upstream, gateway, mut client, mut peer) = session("").await;
    let frame = Frame::new(BINARY, vec![7; 1 << 10]).from_client().bytes();
    fill(&mut client, &frame.repeat(64)).await;
    client.reset();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let mut frames = 0;
    // Bytes that a reset has overtaken are lost to it, and then nothing can be said any more.
    let told = loop {
        ticks.tick().await;
        match peer.read_frame_or_end().await {
            Ok(frame) if frame.opcode == CLOSE => break Some(frame),
            Ok(_) => frames += 1,
            Err(End::Reset) => break None,
            Err(End::Fin) => panic!("a FIN behind {frames} frames"),
        }
    };
    assert!(frames > 0);
    if let Some(told) = told {
        assert_eq!(told.close_code(), Some(1001));
    }
    drop(peer);
    gateway.is_empty().await;
}

#[tokio::test]
async fn side_that_takes_nothing_is_let_go_after_write_timeout() {
    for is_client in [true, false] {
        let keys = "write_timeout: 8s, close_timeout: 2s";
        let (upstream, gateway, mut client, mut peer) = narrow_session(keys).await;
        let frame = Frame::new(BINARY, vec![7; 1 << 16]);
        let (since, deaf, other) = if is_client {
            let since = fill(&mut peer, &frame.bytes()).await;
            (since, &mut client, &mut peer)
        } else {
            let since = fill(&mut client, &frame.from_client().bytes()).await;
            (since, &mut peer, &mut client)
        };
        let told = other.read_frame().await;
        let took = since.elapsed();
        // What was taken last was taken before the queue behind it was full.
        assert!(took + SLACK >= WRITE_TIMEOUT, "after {took:?}");
        assert!(took < WRITE_TIMEOUT + TICK + SLACK, "after {took:?}");
        let code = if is_client { 1001 } else { 1013 };
        assert_eq!(told.close_code(), Some(code));
        assert_eq!(told.payload[2..], *b"slow_consumer");
        gateway.is_empty().await;
        let limit = WRITE_TIMEOUT + Duration::from_secs(2) + TICK + SLACK;
        assert!(since.elapsed() < limit, "gone after {:?}", since.elapsed());
        assert_eq!(deaf.read_to_end().await.1, End::Reset);
        drop((client, peer));
        no_socket_is_left(&gateway, &upstream).await;
    }
}

/// Each time far less than what makes the kernel say that there is room again, and yet it takes.
#[tokio::test]
async fn side_that_takes_little_is_not_let_go() {
    let (_upstream, gateway, mut client, mut peer) = narrow_session("write_timeout: 1s").await;
    fill(&mut peer, &Frame::new(BINARY, vec![7; 1 << 16]).bytes()).await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.read_exact(1 << 13).await;
    }
    assert_eq!(gateway.sessions(), 1, "it was let go");
    peer.reset();
    client.read_to_end().await;
    gateway.is_empty().await;
}

/// A side that takes nothing is not excused by the other one's taking much.
#[tokio::test]
async fn talkative_side_that_takes_nothing_is_let_go_too() {
    let (_upstream, _gateway, client, mut peer) =
        narrow_session("write_timeout: 8s, close_timeout: 2s").await;
    let (_reads, mut writes) = client.into_stream().into_split();
    let talk = tokio::spawn(async move {
        let word = Frame::text("word").from_client().bytes();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while writes.write_all(&word).await.is_ok() {
            ticks.tick().await;
        }
    });
    let since = fill(&mut peer, &Frame::new(BINARY, vec![7; 1 << 16]).bytes()).await;
    let told = loop {
        let frame = peer.read_frame().await;
        if frame.opcode == CLOSE {
            break frame;
        }
    };
    let limit = WRITE_TIMEOUT + TICK + SLACK;
    assert!(since.elapsed() < limit, "after {:?}", since.elapsed());
    assert_eq!(told.payload[2..], *b"slow_consumer");
    talk.abort();
}

#[tokio::test]
async fn one_byte_writers_in_both_directions() {
    let (_upstream, _gateway, client, peer) = session("text: utf8, ping: answer").await;
    let make = |is_client: bool| -> (Vec<u8>, Vec<u8>) {
        let (mut sent, mut passing) = (Vec::new(), Vec::new());
        for number in 0..40 {
            let frames = [
                Frame::new(TEXT, "\u{20ac}".repeat(number)).unfinished(),
                Frame::new(PING, [b'p'; 5]),
                Frame::new(CONTINUATION, "\u{1f600}"),
            ];
            for frame in frames {
                let frame = if is_client {
                    frame.from_client()
                } else {
                    frame
                };
                sent.extend(frame.bytes());
                if frame.opcode != PING {
                    passing.extend(frame.bytes());
                }
            }
        }
        (sent, passing)
    };
    let ((up, up_passing), (down, down_passing)) = (make(true), make(false));
    let (client_stream, peer_stream) = (client.into_stream(), peer.into_stream());
    let (client_reads, mut client_writes) = client_stream.into_split();
    let (peer_reads, mut peer_writes) = peer_stream.into_split();
    let dribble = async |writes: &mut tidegate_tests::link::Writes, bytes: &[u8]| {
        for byte in bytes {
            writes.write_all(std::slice::from_ref(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let collect = async |mut reads: tidegate_tests::link::Reads, size: usize| {
        use tokio::io::AsyncReadExt as _;
        let (mut buffer, mut words) = (Vec::new(), Vec::<u8>::new());
        while words.len() < size {
            let read = reads.read_buf(&mut buffer);
            assert!(within("bytes", read).await.unwrap() > 0);
            while let Some((frame, length)) = Frame::parse(&buffer) {
                if frame.opcode == 10 {
                    assert_eq!(frame.payload, b"ppppp");
                } else {
                    words.extend(&buffer[..length]);
                }
                buffer.drain(..length);
            }
        }
        words
    };
    let ((), (), got_up, got_down) = tokio::join!(
        dribble(&mut client_writes, &up),
        dribble(&mut peer_writes, &down),
        collect(peer_reads, up_passing.len()),
        collect(client_reads, down_passing.len()),
    );
    assert!(got_up == up_passing && got_down == down_passing, "garbled");
}

/// Behind its close frame a peer may say what it likes: nothing of it passes, and it ends in time.
#[tokio::test]
async fn flood_behind_a_close_goes_nowhere() {
    for is_client in [true, false] {
        let (upstream, gateway, client, peer) = session("close_timeout: 2s").await;
        let (from, mut to) = if is_client {
            (client, peer)
        } else {
            (peer, client)
        };
        let close = Frame::close(1000, "bye");
        let close = if is_client {
            close.from_client()
        } else {
            close
        };
        let mut writes = from.into_stream();
        let first = close.bytes();
        let flood = tokio::spawn(async move {
            writes.write_all(&first).await.unwrap();
            while writes.write_all(&[0xff; 1 << 16]).await.is_ok() {}
        });
        to.expect(close.bytes()).await;
        let begun = Instant::now();
        // It never answers.
        let (more, _) = to.read_to_end().await;
        assert!(more.is_empty(), "{} bytes of the flood passed", more.len());
        flood.await.unwrap();
        let limit = Duration::from_secs(2) + TICK + SLACK;
        assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
        drop(to);
        no_socket_is_left(&gateway, &upstream).await;
    }
}

/// Once nothing is left to be said to it, a flood of a mebibyte is enough: it is not read on until
/// `close_timeout`.
#[tokio::test]
async fn flood_behind_the_end_is_reset() {
    for (is_client, is_answered) in [(true, true), (false, true), (true, false), (false, false)] {
        let (_upstream, gateway, client, peer) = session("close_timeout: 5m").await;
        let frame = |frame: Frame, of_client| {
            if of_client {
                frame.from_client()
            } else {
                frame
            }
        };
        let (from, mut to) = if is_client {
            (client, peer)
        } else {
            (peer, client)
        };
        let (mut reads, mut writes) = from.into_stream().into_split();
        if is_answered {
            // Its goodbye is answered, and it talks on.
            let close = frame(Frame::close(1000, "bye"), is_client).bytes();
            writes.write_all(&close).await.unwrap();
            to.expect(close).await;
            to.send_frame(&frame(Frame::close(1000, ""), !is_client))
                .await;
        } else {
            // It ignores what it is told of the other one.
            to.finish().await;
        }
        let told = tokio::io::AsyncReadExt::read_u8(&mut reads);
        assert_eq!(within("a close", told).await.unwrap(), 0x88);
        let word = frame(Frame::new(BINARY, vec![7; 1 << 16]), is_client).bytes();
        let mut sent = 0;
        while let Ok(Ok(())) =
            tokio::time::timeout(tidegate_tests::DEADLINE, writes.write_all(&word)).await
        {
            sent += word.len();
        }
        assert!(sent < 16 << 20, "{sent} bytes were taken");
        drop(to);
        gateway.is_empty().await;
    }
}

/// A flood is no reason to keep from its sender what was on its way to it.
#[tokio::test]
async fn flood_costs_its_sender_no_last_words() {
    let keys = "max_age: 1s, close_timeout: 1m";
    let (_upstream, gateway, client, mut peer) = narrow_session(keys).await;
    let word = Frame::new(BINARY, vec![7; 1 << 10]);
    fill(&mut peer, &word.bytes().repeat(8)).await;
    let (mut reads, mut writes) = client.into_stream().into_split();
    // By now the session is ended for its age.
    tokio::time::sleep(2 * TICK).await;
    let flood = tokio::spawn(async move {
        let word = Frame::new(BINARY, vec![7; 1 << 16]).from_client().bytes();
        for _ in 0..(8 << 4) {
            writes.write_all(&word).await.ok();
        }
        writes
    });
    let (mut read, mut words) = (Vec::new(), 0);
    let last = loop {
        let Some((frame, length)) = Frame::parse(&read) else {
            let mut some = [0; 1 << 14];
            let more = tokio::io::AsyncReadExt::read(&mut reads, &mut some);
            let more = within("a last word", more).await.unwrap();
            assert!(more > 0, "the end behind {words} words");
            read.extend(&some[..more]);
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        read.drain(..length);
        if frame.opcode == CLOSE {
            break frame;
        }
        assert_eq!(frame.payload, word.payload);
        words += 1;
    };
    assert_eq!(last.close_code(), Some(1001));
    assert!(words > 100, "{words}");
    drop((flood.await.unwrap(), reads, peer));
    gateway.is_empty().await;
}

/// After both have said goodbye, a peer that keeps its connection open has it cut.
#[tokio::test]
async fn connection_that_is_never_ended_is_cut_after_close_timeout() {
    let (upstream, gateway, mut client, mut peer) = session("close_timeout: 2s").await;
    let up = Frame::close(1000, "").from_client();
    client.send_frame(&up).await;
    peer.expect(up.bytes()).await;
    peer.send_frame(&Frame::close(1000, "")).await;
    assert_eq!(client.read_close().await, Some(1000));
    let begun = Instant::now();
    gateway.is_empty().await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "after {took:?}");
    assert!(took < Duration::from_secs(2) + SLACK, "after {took:?}");
    drop((client, peer));
    no_socket_is_left(&gateway, &upstream).await;
}

/// Half a frame and then silence, while the end is due: no boundary comes, so both are cut.
#[tokio::test]
async fn half_a_frame_holds_up_no_end() {
    for is_client in [true, false] {
        let keys = "max_age: 1s, close_timeout: 2s, keep_alive: none";
        let (upstream, gateway, client, peer) = session(keys).await;
        let frame = Frame::new(BINARY, vec![7; 1000]);
        let frame = if is_client {
            frame.from_client()
        } else {
            frame
        };
        let half = &frame.bytes()[..500];
        let (mut from, mut to) = if is_client {
            (client, peer)
        } else {
            (peer, client)
        };
        from.send(half).await;
        to.expect(half).await;
        let begun = Instant::now();
        // Its own direction is at a boundary, so it is told.
        assert_eq!(from.read_close().await, Some(1001));
        assert_eq!(to.expect_end().await, End::Reset);
        let limit = Duration::from_secs(1 + 2) + 2 * TICK + SLACK;
        assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
        drop((from, to));
        no_socket_is_left(&gateway, &upstream).await;
    }
}

/// When a side ends its sending: before a word, between frames, within a message, behind its own
/// close, instead of answering one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    AtOnce,
    BetweenFrames,
    WithinAMessage,
    BehindItsClose,
    InPlaceOfAnAnswer,
}

#[tokio::test]
async fn half_closes_at_any_time_end_the_session() {
    use When::{AtOnce, BehindItsClose, BetweenFrames, InPlaceOfAnAnswer, WithinAMessage};
    for when in [
        AtOnce,
        BetweenFrames,
        WithinAMessage,
        BehindItsClose,
        InPlaceOfAnAnswer,
    ] {
        for is_client in [true, false] {
            let (upstream, gateway, client, peer) = session("close_timeout: 2s").await;
            half_close(when, is_client, client, peer).await;
            no_socket_is_left(&gateway, &upstream).await;
        }
    }
}

async fn half_close(when: When, is_client: bool, client: Wire, peer: Wire) {
    let say = |frame: Frame, of_client: bool| {
        if of_client {
            frame.from_client()
        } else {
            frame
        }
    };
    let (mut from, mut to) = if is_client {
        (client, peer)
    } else {
        (peer, client)
    };
    match when {
        When::AtOnce => {}
        When::BetweenFrames | When::WithinAMessage => {
            let mut word = say(Frame::text("word"), is_client);
            word.fin = when == When::BetweenFrames;
            from.send_frame(&word).await;
            to.expect(word.bytes()).await;
        }
        When::BehindItsClose => {
            let close = say(Frame::close(1000, "bye"), is_client);
            from.send_frame(&close).await;
            to.expect(close.bytes()).await;
        }
        When::InPlaceOfAnAnswer => {
            let close = say(Frame::close(1000, "bye"), !is_client);
            to.send_frame(&close).await;
            from.expect(close.bytes()).await;
        }
    }
    let begun = Instant::now();
    from.finish().await;
    match when {
        When::BehindItsClose => {
            // It may still be answered.
            let answer = say(Frame::close(1000, "answer"), !is_client);
            to.send_frame(&answer).await;
            from.expect(answer.bytes()).await;
        }
        _ => {
            let told = to.read_close().await;
            let expected = if is_client { 1001 } else { 1011 };
            assert_eq!(told, Some(expected), "{when:?} {is_client}");
        }
    }
    assert!(begun.elapsed() < SLACK, "{when:?}: {:?}", begun.elapsed());
    let (_, end) = to.read_to_end().await;
    assert_eq!(end, End::Fin, "{when:?} {is_client}");
    drop((from, to));
}
