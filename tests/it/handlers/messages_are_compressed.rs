//! permessage-deflate is agreed to where the route says so and the client offers it.

use tidegate_tests::frame::{BINARY, TEXT};
use tidegate_tests::{Frame, Head, Request, TestGateway, Wire};

use super::{echo, farewell, gateway, yaml};

/// RSV1.
const COMPRESSED: u8 = 4;
/// `Hello`, compressed (RFC 7692 section 7.2.3.1).
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

async fn offered(gateway: &TestGateway, offers: &[&str]) -> (Wire, Head) {
    let mut request = Request::handshake("/chat/1");
    for offer in offers {
        request = request.with("Sec-WebSocket-Extensions", offer);
    }
    let mut client = gateway.connect().await;
    client.request(&request).await;
    let head = client.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    (client, head)
}

#[tokio::test]
async fn what_is_agreed_stands_on_the_101() {
    let alone = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let takeover = "deflate: { server_context_takeover: true, client_context_takeover: true, \
        server_max_window_bits: 12, client_max_window_bits: 10 }";
    let cases = [
        ("", &["permessage-deflate"][..], None),
        ("deflate: none", &["permessage-deflate"], None),
        ("deflate: {}", &[], None),
        ("deflate: {}", &["x-other, x-more; a=b"], None),
        (
            "deflate: {}",
            &["x-other", "permessage-deflate"],
            Some(alone),
        ),
        ("deflate: {}", &["permessage-deflate; unknown=1"], None),
        (
            takeover,
            &["permessage-deflate; client_max_window_bits"],
            Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=10"),
        ),
    ];
    for (keys, offers, agreed) in cases {
        let gateway = gateway(&yaml("", "", keys), echo);
        let (mut client, head) = offered(&gateway, offers).await;
        let answer = head.field("Sec-WebSocket-Extensions");
        assert_eq!(answer, agreed, "{keys} {offers:?}");
        super::echoes(&mut client, "hello").await;
        let hello = Frame::text("").reserved(COMPRESSED);
        let hello = Frame {
            payload: HELLO.to_vec(),
            ..hello
        };
        client.send_frame(&hello.from_client()).await;
        if agreed.is_some() {
            assert_eq!(
                client.read_frame().await,
                Frame::text("Hello"),
                "below the threshold"
            );
            client.close_session().await;
        } else {
            assert_eq!(
                farewell(&mut client).await.0,
                Some(1002),
                "nothing was agreed"
            );
        }
    }
}

#[tokio::test]
async fn what_is_long_enough_is_made_small() {
    let gateway = gateway(&yaml("", "", "deflate: { threshold: 100B }"), echo);
    let (mut client, _) = offered(&gateway, &["permessage-deflate"]).await;
    let long = "Hello".repeat(100);
    for _ in 0..3 {
        client.send_frame(&Frame::text(&long).from_client()).await;
        let small = client.read_frame().await;
        assert_eq!((small.opcode, small.reserved), (TEXT, COMPRESSED));
        assert!(small.payload.len() < 50, "{} bytes", small.payload.len());
        // What is sent back so is the same text, and comes the same.
        client.send_frame(&small.clone().from_client()).await;
        assert_eq!(client.read_frame().await, small);
        let short = &long[..99];
        super::echoes(&mut client, short).await;
    }
    client.close_session().await;
}

/// So many times 258 zeros, compressed by hand (RFC 1951 section 3.2.6): one zero, then copies of it.
fn bomb(copies: usize) -> Vec<u8> {
    let mut bits: Vec<u8> = vec![0, 1, 0]; // not the last block; fixed codes
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]); // the literal 0
    for _ in 0..copies {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1]); // 258 bytes
        bits.extend([0; 5]); // from one byte back
    }
    bits.extend([0; 7]); // the end of the block
    bits.extend([0; 3]); // an empty one, whose 00 00 ff ff is left out
    let byte = |eight: &[u8]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
    bits.chunks(8).map(byte).collect()
}

#[tokio::test]
async fn a_bomb_is_told_1009_however_small_it_is() {
    let keys = "deflate: {}, max_message: 1MiB";
    let gateway = gateway(&yaml("", "", keys), echo);
    for (copies, goes_off) in [(4000, false), (4100, true), (100_000, true)] {
        let (mut client, _) = offered(&gateway, &["permessage-deflate"]).await;
        let bomb = Frame::new(BINARY, bomb(copies)).reserved(COMPRESSED);
        client.send_frame(&bomb.from_client()).await;
        if goes_off {
            let told = farewell(&mut client).await;
            assert_eq!(told, (Some(1009), "message_too_big".to_owned()));
            client.finish().await;
            client.read_to_end().await;
        } else {
            let echoed = client.read_frame().await;
            assert_eq!((echoed.opcode, echoed.reserved), (BINARY, COMPRESSED));
            client.close_session().await;
        }
    }
    gateway.is_empty().await;
}
