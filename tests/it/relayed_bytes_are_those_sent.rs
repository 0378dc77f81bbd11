//! The bytes at the far end, masking keys included, equal those sent, however they were cut on
//! their way (`SECURITY.md`, promise 2).

use tidegate_tests::frame::{BINARY, CONTINUATION, PING, PONG, TEXT};
use tidegate_tests::time::within_limit;
use tidegate_tests::wire::switching;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// More pings and pongs in a second than a session may have by default.
const UNBOUND: &str = "websocket: { max_control_frames: none }";

async fn session() -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

#[tokio::test]
async fn every_length_with_its_masking_key() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    for length in [
        0, 1, 2, 124, 125, 126, 127, 1000, 65_534, 65_535, 65_536, 65_537, 300_000,
    ] {
        for opcode in [TEXT, BINARY] {
            let mut payload = vec![0; length];
            payload.fill_with(|| fastrand::u8(b' '..b'~'));
            let frame = Frame::new(opcode, payload);
            let bytes = frame.bytes();
            peer.send(&bytes).await;
            client.expect(&bytes).await;
            for key in [[0; 4], [0xff; 4], fastrand::u32(..).to_be_bytes()] {
                let bytes = frame.clone().masked(key).bytes();
                client.send(&bytes).await;
                peer.expect(&bytes).await;
            }
        }
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    let up = [
        Frame::text("hello").masked([1, 2, 3, 4]).bytes(),
        Frame::new(BINARY, [7; 130]).masked([5, 6, 7, 8]).bytes(),
        Frame::new(PING, "p").masked([9, 9, 9, 9]).bytes(),
    ]
    .concat();
    let down = [
        Frame::text("hello").bytes(),
        Frame::new(BINARY, [7; 130]).bytes(),
    ]
    .concat();
    for byte in &up {
        client.send([*byte]).await;
    }
    peer.expect(&up).await;
    for byte in &down {
        peer.send([*byte]).await;
    }
    client.expect(&down).await;
}

/// A frame is not collected: what came of it goes on before the rest is there.
#[tokio::test]
async fn payload_streams() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    let bytes = Frame::new(BINARY, vec![7; 1000]).from_client().bytes();
    let header = bytes.len() - 1000;
    client.send(&bytes[..=header]).await;
    peer.expect(&bytes[..=header]).await;
    for byte in &bytes[header + 1..] {
        client.send([*byte]).await;
        peer.expect([*byte]).await;
    }
}

#[tokio::test]
async fn cut_anywhere() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", UNBOUND);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let frames = [
        Frame::text("hel").unfinished().masked([1, 2, 3, 4]).bytes(),
        Frame::new(PING, "ping").masked([1, 0, 3, 0]).bytes(),
        Frame::new(CONTINUATION, [b'l'; 126])
            .masked([0, 0, 0, 1])
            .bytes(),
        Frame::new(BINARY, "").masked([4, 3, 2, 1]).bytes(),
    ]
    .concat();
    for cut in 1..frames.len() {
        client.send(&frames[..cut]).await;
        client.send(&frames[cut..]).await;
        peer.expect(&frames).await;
    }
}

#[tokio::test]
async fn many_frames_in_one_segment() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    let up: Vec<u8> = (0..2000)
        .flat_map(|number| Frame::text(&number.to_string()).from_client().bytes())
        .collect();
    let down: Vec<u8> = (0..2000)
        .flat_map(|number| Frame::text(&number.to_string()).bytes())
        .collect();
    client.send(&up).await;
    peer.expect(&up).await;
    peer.send(&down).await;
    client.expect(&down).await;
}

#[tokio::test]
async fn both_directions_at_once() {
    let (_upstream, _gateway, client, peer) = session().await;
    let make = |is_client: bool| -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < 4 << 20 {
            let mut frame = Frame::new(BINARY, vec![fastrand::u8(..); fastrand::usize(..70_000)]);
            if is_client {
                frame = frame.from_client();
            }
            bytes.extend_from_slice(&frame.bytes());
        }
        bytes
    };
    let (up, down) = (make(true), make(false));
    let (mut client_reads, mut client_writes) = client.into_stream().into_split();
    let (mut peer_reads, mut peer_writes) = peer.into_stream().into_split();
    let (mut got_up, mut got_down) = (vec![0; up.len()], vec![0; down.len()]);
    // Over TLS what was written may wait for room in the socket until it is flushed.
    let send_up = async {
        client_writes.write_all(&up).await?;
        client_writes.flush().await
    };
    let send_down = async {
        peer_writes.write_all(&down).await?;
        peer_writes.flush().await
    };
    let all = async {
        tokio::try_join!(
            send_up,
            send_down,
            peer_reads.read_exact(&mut got_up),
            client_reads.read_exact(&mut got_down),
        )
    };
    tidegate_tests::within("both directions", all)
        .await
        .unwrap();
    assert!(got_up == up, "the way up is garbled");
    assert!(got_down == down, "the way down is garbled");
}

#[tokio::test]
async fn message_of_64_mib() {
    let (_upstream, _gateway, client, peer) = session().await;
    let mut bytes = Frame::new(BINARY, vec![0; 64 << 20])
        .masked([1, 2, 3, 4])
        .header();
    let header = bytes.len();
    bytes.resize(header + (64 << 20), 0);
    for (index, byte) in bytes[header..].chunks_exact_mut(8).enumerate() {
        byte.copy_from_slice(&(index as u64).to_be_bytes());
    }
    let (mut client, mut peer) = (client.into_stream(), peer.into_stream());
    let mut got = vec![0; bytes.len()];
    let send = async {
        client.write_all(&bytes).await?;
        client.flush().await
    };
    let all = async { tokio::try_join!(send, peer.read_exact(&mut got)) };
    tidegate_tests::within("64 MiB", all).await.unwrap();
    assert!(got == bytes, "the message is garbled");
}

#[tokio::test]
async fn fragments_with_pings_between_them() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    let mut frames = Vec::new();
    for message in 0..20_u8 {
        frames.push(Frame::new(TEXT, [b'a' + message]).unfinished());
        frames.push(Frame::new(PING, [message]));
        frames.push(Frame::new(CONTINUATION, "").unfinished());
        frames.push(Frame::new(CONTINUATION, [b'A' + message; 200]).unfinished());
        frames.push(Frame::new(PONG, [message, message]));
        frames.push(Frame::new(CONTINUATION, "end"));
    }
    for frame in frames {
        let down = frame.bytes();
        peer.send(&down).await;
        client.expect(&down).await;
        let up = frame.from_client().bytes();
        client.send(&up).await;
        peer.expect(&up).await;
    }
}

#[tokio::test]
async fn pings_and_pongs_go_end_to_end() {
    let (_upstream, _gateway, mut client, mut peer) = session().await;
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        let (ping, pong) = (Frame::new(PING, payload), Frame::new(PONG, payload));
        let asked = ping.clone().from_client().bytes();
        client.send(&asked).await;
        peer.expect(&asked).await;
        client.stays_silent().await; // the gateway does not answer for the upstream
        peer.send(pong.bytes()).await;
        client.expect(pong.bytes()).await;

        peer.send(ping.bytes()).await;
        client.expect(ping.bytes()).await;
        peer.stays_silent().await;
        let answer = pong.clone().from_client().bytes();
        client.send(&answer).await;
        peer.expect(&answer).await;

        // A pong that nobody asked for (RFC 6455 section 5.5.3).
        peer.send(pong.bytes()).await;
        client.expect(pong.bytes()).await;
        let unasked = pong.from_client().bytes();
        client.send(&unasked).await;
        peer.expect(&unasked).await;
    }
}

#[tokio::test]
async fn deflated_bytes_pass_as_they_are() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let offer = "permessage-deflate; client_max_window_bits";
    let request = Request::handshake("/").with("Sec-WebSocket-Extensions", offer);
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let line = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover";
    peer.send(switching(&asked, &[line])).await;
    assert_eq!(client.read_head().await.status(), 101);

    // RFC 7692 section 7.2.3.1: "Hello", and the same in two fragments.
    let deflated = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let frames = [
        Frame::new(TEXT, deflated).reserved(4),
        Frame::new(TEXT, &deflated[..3]).reserved(4).unfinished(),
        Frame::new(CONTINUATION, &deflated[3..]),
        Frame::text("not compressed"),
    ];
    for frame in frames {
        peer.send(frame.bytes()).await;
        client.expect(frame.bytes()).await;
        let up = frame.from_client().bytes();
        client.send(&up).await;
        peer.expect(&up).await;
    }
}

/// A random conversation: messages in parts, control frames between them.
fn conversation(random: &mut fastrand::Rng, is_client: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut say = |random: &mut fastrand::Rng, frame: Frame| {
        let key = random.u32(..).to_be_bytes();
        let mask = is_client.then_some(key);
        bytes.extend_from_slice(&Frame { mask, ..frame }.bytes());
    };
    for _ in 0..200 {
        let parts = random.usize(1..5);
        for part in 0..parts {
            let opcode = if part == 0 { BINARY } else { CONTINUATION };
            let length = match random.u8(..10) {
                0 => 0,
                1 => random.usize(65_500..65_600),
                2 => random.usize(..20_000),
                _ => random.usize(..300),
            };
            let mut frame = Frame::new(opcode, vec![random.u8(..); length]);
            frame.fin = part + 1 == parts;
            say(random, frame);
            if random.u8(..4) == 0 {
                let opcode = if random.bool() { PING } else { PONG };
                let payload = vec![b'c'; random.usize(..=125)];
                say(random, Frame::new(opcode, payload));
            }
        }
    }
    bytes
}

/// Writes all of `bytes` in pieces of any size.
async fn dribble(writes: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8], seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left = bytes;
    while !left.is_empty() {
        let most = if random.bool() { 20 } else { 70_000 };
        let (now, later) = left.split_at(random.usize(1..=most).min(left.len()));
        writes.write_all(now).await.unwrap();
        left = later;
        if random.u8(..8) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn any_conversation_cut_anyhow() {
    let (mut upstream, gateway) = {
        let upstream = ScriptedUpstream::bind().await;
        let yaml = format!(
            "version: 1\nworkers: 2\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
             services: {{ up: {{ endpoints: [http://{}] }} }}\n\
             routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up, {UNBOUND} }} }}]\n",
            upstream.address()
        );
        (upstream, TestGateway::from_file(&yaml))
    };
    let mut conversations = tokio::task::JoinSet::new();
    for seed in 0..16 {
        let (client, peer) = gateway.open(&mut upstream).await;
        conversations.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let up = conversation(&mut random, true);
            let down = conversation(&mut random, false);
            let (mut client_reads, mut client_writes) = client.into_stream().into_split();
            let (mut peer_reads, mut peer_writes) = peer.into_stream().into_split();
            let (mut got_up, mut got_down) = (vec![0; up.len()], vec![0; down.len()]);
            let (_, _, read_up, read_down) = tokio::join!(
                dribble(&mut client_writes, &up, seed),
                dribble(&mut peer_writes, &down, seed + 1),
                peer_reads.read_exact(&mut got_up),
                client_reads.read_exact(&mut got_down),
            );
            read_up.and(read_down).unwrap();
            assert!(got_up == up && got_down == down, "garbled with seed {seed}");
        });
    }
    // Thousands of small writes on each of them, which a loaded machine takes its time for.
    let limit = 3 * tidegate_tests::DEADLINE;
    within_limit(limit, "all conversations", conversations.join_all()).await;
}

#[tokio::test]
async fn sessions_do_not_mix() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(gateway.open(&mut upstream).await);
    }
    for round in 0..3 {
        for (number, (client, peer)) in sessions.iter_mut().enumerate() {
            let text = format!("{round} {number}");
            client.send_frame(&Frame::text(&text).from_client()).await;
            peer.send_frame(&Frame::text(&text)).await;
        }
        for (number, (client, peer)) in sessions.iter_mut().enumerate() {
            let text = format!("{round} {number}");
            assert_eq!(peer.read_frame().await.payload, text.as_bytes());
            assert_eq!(client.read_frame().await.payload, text.as_bytes());
        }
    }
}
