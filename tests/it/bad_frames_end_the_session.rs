//! A frame that RFC 6455 forbids is not passed on. Who sent it hears 1002, the other side what
//! `docs/statuses.md` says.

use tidegate_tests::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use tidegate_tests::{Frame, ScriptedUpstream, TestGateway, Wire};

/// What is forbidden whoever sends it: bytes of frames, of which the last is bad. `key` masks them,
/// as a client must.
fn forbidden(key: Option<[u8; 4]>) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let bytes = |frame: Frame| Frame { mask: key, ..frame }.bytes();
    let mut cases = Vec::new();
    let mut case = |what: &str, good: Vec<u8>, bad: Vec<u8>| {
        cases.push((what.to_owned(), good, bad));
    };
    for bits in [4, 2, 1, 7] {
        case(
            "a reserved bit",
            vec![],
            bytes(Frame::text("x").reserved(bits)),
        );
    }
    case(
        "a reserved bit on a ping",
        vec![],
        bytes(Frame::new(PING, "").reserved(4)),
    );
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        case("a reserved opcode", vec![], bytes(Frame::new(opcode, "x")));
    }
    for opcode in [CLOSE, PING, PONG] {
        let long = Frame::new(opcode, [3; 126]);
        case("a long control frame", vec![], bytes(long));
        let parted = Frame::new(opcode, "").unfinished();
        case("a control frame in parts", vec![], bytes(parted));
    }
    case(
        "a part of nothing",
        vec![],
        bytes(Frame::new(CONTINUATION, "x")),
    );
    let open = bytes(Frame::text("a").unfinished());
    for opcode in [TEXT, BINARY] {
        let bad = bytes(Frame::new(opcode, "b"));
        case("a message within a message", open.clone(), bad);
    }
    let whole = [open, bytes(Frame::new(CONTINUATION, "b"))].concat();
    case(
        "a part too many",
        whole,
        bytes(Frame::new(CONTINUATION, "c")),
    );
    case("a close of one byte", vec![], bytes(Frame::new(CLOSE, [3])));
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535,
    ] {
        let what = format!("close {code}");
        case(&what, vec![], bytes(Frame::close(code, "x")));
    }
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut huge = vec![0x82, mask_bit | 127, 0x80, 0, 0, 0, 0, 0, 0, 1];
    huge.extend_from_slice(&key.unwrap_or_default()[..]);
    case("a length of 2^63", vec![], huge);
    cases
}

/// Runs `check` for every case at once: each takes the time that an offender is still given.
async fn all<F>(
    cases: Vec<(String, Vec<u8>, Vec<u8>)>,
    check: impl Fn(String, Vec<u8>, Vec<u8>, Wire, Wire) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut checks = tokio::task::JoinSet::new();
    for (what, good, bad) in cases {
        let (client, peer) = gateway.open(&mut upstream).await;
        checks.spawn(check(what, good, bad, client, peer));
    }
    checks.join_all().await;
}

#[tokio::test]
async fn of_the_client() {
    let mut cases = forbidden(Some([0x11, 0x22, 0x33, 0x44]));
    let unmasked = Frame::text("x").bytes();
    cases.push(("an unmasked frame".to_owned(), vec![], unmasked));
    all(cases, |what, good, bad, mut client, mut peer| async move {
        client.send(&[good.clone(), bad].concat()).await;
        assert_eq!(
            client.read_close().await,
            Some(1002),
            "{what}, to the client"
        );
        peer.expect(&good).await;
        let told = peer.read_frame().await;
        assert_eq!(told.close_code(), Some(1001), "{what}, to the upstream");
        assert!(told.mask.is_some());
    })
    .await;
}

#[tokio::test]
async fn of_the_upstream() {
    let mut cases = forbidden(None);
    let masked = Frame::text("x").masked([1, 2, 3, 4]).bytes();
    cases.push(("a masked frame".to_owned(), vec![], masked));
    all(cases, |what, good, bad, mut client, mut peer| async move {
        peer.send(&[good.clone(), bad].concat()).await;
        let told = peer.read_frame().await;
        assert_eq!(told.close_code(), Some(1002), "{what}, to the upstream");
        assert!(told.mask.is_some());
        client.expect(&good).await;
        assert_eq!(
            client.read_close().await,
            Some(1011),
            "{what}, to the client"
        );
    })
    .await;
}

/// RSV1 is deflate's, and only on the first frame of a message (RFC 7692 section 6).
#[tokio::test]
async fn deflate_bit_where_it_was_not_negotiated() {
    use tidegate_tests::Request;
    use tidegate_tests::wire::switching;

    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let offer = Request::handshake("/").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let mut client = gateway.connect().await;
    client.request(&offer).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    peer.send(switching(&asked, &[])).await; // declined
    assert_eq!(client.read_head().await.status(), 101);
    client
        .send_frame(&Frame::text("x").reserved(4).from_client())
        .await;
    assert_eq!(client.read_close().await, Some(1002));

    let mut client = gateway.connect().await;
    client.request(&offer).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let line = "Sec-WebSocket-Extensions: permessage-deflate";
    peer.send(switching(&asked, &[line])).await;
    assert_eq!(client.read_head().await.status(), 101);
    let part = Frame::text("x").reserved(4).unfinished().from_client();
    client.send_frame(&part).await;
    peer.expect(part.bytes()).await;
    client
        .send_frame(&Frame::new(CONTINUATION, "x").reserved(4).from_client())
        .await;
    assert_eq!(client.read_close().await, Some(1002));
}
