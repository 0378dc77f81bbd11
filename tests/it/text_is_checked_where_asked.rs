//! With `text: utf8` a text message that is none ends the session with 1007 to its sender, and the
//! receiver never takes a part of it for a whole frame.

use std::time::Instant;

use tidegate_tests::frame::{BINARY, CONTINUATION, PING, TEXT};
use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, Wire};

async fn session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

fn reason(close: &Frame) -> &[u8] {
    assert!(close.close_code().is_some());
    &close.payload[2..]
}

/// Texts that are not UTF-8, as the frames of one message.
fn wrong() -> Vec<Vec<Frame>> {
    let text = |bytes: &[u8]| Frame::new(TEXT, bytes);
    let part = |bytes: &[u8]| Frame::new(CONTINUATION, bytes);
    let long = [vec![b'a'; 100_000], vec![0xff], vec![b'a'; 100_000]].concat();
    vec![
        vec![text(b"\xff")],
        vec![text(b"good\xc0\xaf")],
        vec![text(b"surrogate \xed\xa0\x80")],
        vec![text(b"too high \xf4\x90\x80\x80")],
        vec![text(b"unfinished \xe2\x82")],
        vec![text(&long)],
        vec![
            text(b"\xe2").unfinished(),
            part(b"\x82").unfinished(),
            part(b"x"),
        ],
        vec![text(b"\xe2\x82").unfinished(), part(b"")],
        vec![
            text(b"\xc3").unfinished(),
            Frame::new(PING, b"\xff"),
            part(b"\xc3"),
        ],
    ]
}

/// A long text comes in more than one read, so a part of it may have gone on: then its receiver is
/// reset. Otherwise the goodbye is the first that it hears.
async fn expect_no_whole(receiver: &mut Wire) {
    match receiver.read_frame_or_end().await {
        Ok(told) => assert_eq!(told.close_code(), Some(1001)),
        Err(end) => assert_eq!(end, End::Reset, "half a text looks whole"),
    }
}

#[tokio::test]
async fn wrong_text_of_a_client_is_1007_and_goes_nowhere() {
    for frames in wrong() {
        let (_upstream, _gateway, mut client, mut peer) = session("text: utf8").await;
        let (bad, good) = frames.split_last().unwrap();
        for frame in good {
            let sent = frame.clone().from_client().bytes();
            client.send(&sent).await;
            peer.expect(&sent).await;
        }
        let bad = bad.clone().from_client().bytes();
        if bad.len() > 1000 {
            client.try_send(&bad).await.ok();
            assert_eq!(client.read_close().await, Some(1007));
            expect_no_whole(&mut peer).await;
            continue;
        }
        client.send(&bad).await;
        let told = peer.read_frame().await;
        assert_eq!(told.close_code(), Some(1001), "{frames:?}");
        assert_eq!(reason(&told), b"protocol_error");
        let told = client.read_frame().await;
        assert_eq!(told.close_code(), Some(1007), "{frames:?}");
        assert_eq!(reason(&told), b"protocol_error");
    }
}

#[tokio::test]
async fn wrong_text_of_an_upstream_is_1007_and_goes_nowhere() {
    for frames in wrong() {
        let (_upstream, _gateway, mut client, mut peer) = session("text: utf8").await;
        let (bad, good) = frames.split_last().unwrap();
        for frame in good {
            peer.send_frame(frame).await;
            client.expect(frame.bytes()).await;
        }
        if bad.payload.len() > 1000 {
            peer.try_send(bad.bytes()).await.ok();
            assert_eq!(peer.read_close().await, Some(1007));
            expect_no_whole(&mut client).await;
            continue;
        }
        peer.send_frame(bad).await;
        assert_eq!(client.read_close().await, Some(1001), "{frames:?}");
        assert_eq!(peer.read_close().await, Some(1007), "{frames:?}");
    }
}

/// What has begun to pass cannot be taken back, and must not look whole: the receiver is reset as
/// soon as the first wrong byte is there, not at the end of the message.
#[tokio::test]
async fn wrong_byte_by_byte_resets_the_receiver_at_once() {
    for is_client in [true, false] {
        let (_upstream, gateway, mut client, mut peer) = session("text: utf8").await;
        let mut bad = vec![b'a'; 50];
        bad.extend(b"\xed\xa0");
        bad.extend([b'a'; 100]);
        let frame = Frame::new(TEXT, &bad);
        let frame = if is_client {
            frame.from_client()
        } else {
            frame
        };
        let bytes = frame.bytes();
        let header = frame.header().len();
        let (from, to) = if is_client {
            (&mut client, &mut peer)
        } else {
            (&mut peer, &mut client)
        };
        for byte in &bytes[..header + 51] {
            from.send([*byte]).await;
        }
        to.expect(&bytes[..header + 51]).await;
        let begun = Instant::now();
        from.send([bytes[header + 51]]).await;
        assert_eq!(to.expect_end().await, End::Reset);
        assert_eq!(from.read_close().await, Some(1007));
        assert!(begun.elapsed() < SLACK, "after {:?}", begun.elapsed());
        drop((client, peer));
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn right_text_passes_however_it_is_cut() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("text: utf8, max_control_frames: none").await;
    let text = "a\u{e4}\u{20ac}\u{1f600}\u{0}z".as_bytes();
    for cut in 0..=text.len() {
        let (first, rest) = text.split_at(cut);
        let frames = [
            Frame::new(TEXT, first).unfinished(),
            Frame::new(PING, "\u{e4}"),
            Frame::new(CONTINUATION, rest),
            Frame::new(BINARY, [0xff; 5]),
        ];
        let up: Vec<u8> = frames
            .iter()
            .flat_map(|frame| frame.clone().from_client().bytes())
            .collect();
        let down: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        for byte in &up {
            client.send([*byte]).await;
        }
        peer.expect(&up).await;
        for piece in down.chunks(3) {
            peer.send(piece).await;
        }
        client.expect(&down).await;
    }
}

#[tokio::test]
async fn nothing_is_looked_at_by_default() {
    for keys in ["", "text: any"] {
        let (_upstream, _gateway, mut client, mut peer) = session(keys).await;
        for frames in wrong() {
            for frame in frames {
                let up = frame.clone().from_client().bytes();
                client.send(&up).await;
                peer.expect(&up).await;
            }
        }
    }
}

/// Compressed text is no text yet.
#[tokio::test]
async fn compressed_text_is_not_looked_at() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", "websocket: { text: utf8 }");
    let mut client = gateway.connect().await;
    let offer = Request::handshake("/").with("Sec-WebSocket-Extensions", "permessage-deflate");
    client.request(&offer).await;
    let mut peer = upstream.accept().await;
    let accept = "Sec-WebSocket-Extensions: permessage-deflate";
    peer.accept_handshake_with(&[accept]).await;
    assert_eq!(client.read_head().await.status(), 101);
    for frame in [
        Frame::new(TEXT, [0xf2, 0x48]).reserved(4).unfinished(),
        Frame::new(CONTINUATION, [0xcd, 0xff]),
    ] {
        let up = frame.from_client().bytes();
        client.send(&up).await;
        peer.expect(&up).await;
    }
    // The next one is not compressed.
    let bad = Frame::new(TEXT, [0xff]).from_client();
    client.send_frame(&bad).await;
    assert_eq!(client.read_close().await, Some(1007));
}
