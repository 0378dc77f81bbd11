//! A route says whether pings pass or are answered; either way the payload comes back as it
//! was, and pongs that nobody asked for pass.

use tidegate_tests::frame::{BINARY, PING, PONG};
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire};

async fn session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

fn payloads() -> Vec<Vec<u8>> {
    vec![vec![], vec![0], b"ping".to_vec(), vec![0xff; 125]]
}

/// A frame behind which whatever should not have passed would have come.
async fn expect_nothing_but(from: &mut Wire, to: &mut Wire, mark: &Frame) {
    from.send_frame(mark).await;
    to.expect(mark.bytes()).await;
}

#[tokio::test]
async fn forwarded_by_default() {
    for keys in ["", "ping: forward"] {
        let (_upstream, _gateway, mut client, mut peer) = session(keys).await;
        for payload in payloads() {
            let up = Frame::new(PING, &payload).from_client();
            client.send_frame(&up).await;
            peer.expect(up.bytes()).await;
            let down = Frame::new(PONG, &payload);
            peer.send_frame(&down).await;
            client.expect(down.bytes()).await;

            let down = Frame::new(PING, &payload);
            peer.send_frame(&down).await;
            client.expect(down.bytes()).await;
            let up = Frame::new(PONG, &payload).from_client();
            client.send_frame(&up).await;
            peer.expect(up.bytes()).await;
        }
    }
}

#[tokio::test]
async fn answered_with_the_same_payload_and_not_passed() {
    let (_upstream, _gateway, mut client, mut peer) = session("ping: answer").await;
    for payload in payloads() {
        client
            .send_frame(&Frame::new(PING, &payload).from_client())
            .await;
        client.expect(Frame::new(PONG, &payload).bytes()).await;
        peer.send_frame(&Frame::new(PING, &payload)).await;
        let pong = peer.read_frame().await;
        assert_eq!((pong.opcode, &pong.payload), (PONG, &payload));
        assert!(
            pong.mask.is_some(),
            "toward the upstream the gateway is a client"
        );
    }
    expect_nothing_but(&mut client, &mut peer, &Frame::text("up").from_client()).await;
    expect_nothing_but(&mut peer, &mut client, &Frame::text("down")).await;
}

#[tokio::test]
async fn pongs_that_nobody_asked_for_pass() {
    for keys in ["ping: forward", "ping: answer"] {
        let (_upstream, _gateway, mut client, mut peer) = session(keys).await;
        for payload in [&b""[..], b"12345678", &[7; 125]] {
            expect_nothing_but(
                &mut client,
                &mut peer,
                &Frame::new(PONG, payload).from_client(),
            )
            .await;
            expect_nothing_but(&mut peer, &mut client, &Frame::new(PONG, payload)).await;
        }
    }
}

/// Pings byte by byte and between the parts of a message are taken out, and the rest stays whole.
#[tokio::test]
async fn answered_between_the_parts_of_a_message() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("ping: answer, max_control_frames: none").await;
    let part = Frame::text("one").unfinished().from_client().bytes();
    let ping = Frame::new(PING, "there?").from_client().bytes();
    let rest = Frame::new(0, "two").from_client().bytes();
    let all = [&ping[..], &part, &ping, &rest, &ping].concat();
    let passing = [part, rest].concat();
    for step in 1..=all.len() {
        for piece in all.chunks(step) {
            client.send(piece).await;
        }
        peer.expect(&passing).await;
        // The pongs of pings that come in one segment may be one.
        let mark = Frame::new(PING, step.to_string());
        client.send_frame(&mark.clone().from_client()).await;
        let mut pongs = 0;
        loop {
            let pong = client.read_frame().await;
            assert_eq!(pong.opcode, PONG);
            if pong.payload == mark.payload {
                break;
            }
            assert_eq!(pong.payload, b"there?");
            pongs += 1;
        }
        assert!(pongs <= 3, "{pongs} pongs to three pings");
    }
}

/// Within a frame that goes to the client no pong can stand; behind it stands the latest alone
/// (RFC 6455 section 5.5.3).
#[tokio::test]
async fn pong_waits_for_the_boundary_and_is_the_latest() {
    let (_upstream, _gateway, mut client, mut peer) = session("ping: answer").await;
    let frame = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&frame[..500]).await;
    client.expect(&frame[..500]).await;
    for number in 0..20 {
        let ping = Frame::new(PING, format!("ping {number}")).from_client();
        client.send_frame(&ping).await;
    }
    // The pings have been read when what is behind them has passed.
    expect_nothing_but(&mut client, &mut peer, &Frame::text("up").from_client()).await;
    client.stays_silent().await;
    peer.send(&frame[500..]).await;
    client.expect(&frame[500..]).await;
    client.expect(Frame::new(PONG, "ping 19").bytes()).await;
    expect_nothing_but(&mut peer, &mut client, &Frame::text("down")).await;
}

/// Frames that come without a pause, cut anywhere but where they end, leave no silence between them.
#[tokio::test]
async fn pong_finds_its_place_in_a_stream() {
    use tokio::io::AsyncWriteExt as _;

    let (_upstream, _gateway, mut client, peer) = session("ping: answer").await;
    let frame = Frame::new(BINARY, vec![7; 300_001]);
    let (length, twice) = (frame.bytes().len(), frame.bytes().repeat(2));
    let mut writes = peer.into_stream();
    let stream = tokio::spawn(async move {
        let (mut at, piece) = (0, 100_003);
        while writes.write_all(&twice[at..at + piece]).await.is_ok() {
            at = (at + piece) % length;
        }
    });
    assert_eq!(client.read_frame().await, frame);
    client
        .send_frame(&Frame::new(PING, "now").from_client())
        .await;
    let mut frames = 0;
    loop {
        let read = client.read_frame().await;
        if read.opcode == PONG {
            assert_eq!(read.payload, b"now");
            break;
        }
        assert!(read == frame, "garbled");
        frames += 1;
        // What the sockets hold of the stream comes before it.
        assert!(frames < 100, "no pong among {frames} frames");
    }
    stream.abort();
}

/// Pongs that a peer does not take are not piled up.
#[tokio::test]
async fn pongs_for_a_deaf_client_are_one() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { ping: answer, max_control_frames: none }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    // 40 MB of pongs, if each ping had one, and the client reads none while it sends.
    let pings: Vec<u8> = (0..1000)
        .flat_map(|_| Frame::new(PING, [7; 125]).from_client().bytes())
        .collect();
    for _ in 0..300 {
        client.send(&pings).await;
    }
    let mark = Frame::text("all said").from_client();
    expect_nothing_but(&mut client, &mut peer, &mark).await;
    let last = Frame::new(PING, "last").from_client();
    client.send_frame(&last).await;
    let mut pongs = 0;
    while client.read_frame().await.payload != b"last" {
        pongs += 1;
    }
    // The sockets between hold some 4 MiB, which are 33,000.
    assert!(pongs < 100_000, "{pongs} pongs were kept");
}
