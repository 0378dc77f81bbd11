//! An upstream's bytes through the gateway to a client, and what the client made of them.

use std::time::Duration;

use tidegate::fuzzing::{Left, Peer, dialled};

use crate::judge::{answer_is_clean, nothing_named};
use crate::message::{self, Framing, Head, Look};
use crate::world::{self, settle};

const REQUESTS: [(&str, &str); 6] = [
    ("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("GET", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
    (
        "GET",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    ),
    (
        "POST",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "GET",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
];

/// What the client got.
struct Got {
    bytes: Vec<u8>,
    left: Left,
    /// The second request went where the first one had gone.
    reused: bool,
}

/// Asks twice; the upstream's first connection answers with `bytes`, as the settings have it.
pub fn relay(settings: u8, bytes: &[u8]) {
    let (method, request) = REQUESTS[usize::from(settings & 7) % REQUESTS.len()];
    let step = match settings >> 3 & 3 {
        0 => bytes.len().max(1),
        step => [1, 5, 61][usize::from(step) - 1].max(bytes.len() / 400),
    };
    let ends = settings & 0x20 == 0;
    let mut got = Got {
        bytes: Vec::new(),
        left: Left::Open,
        reused: false,
    };
    world::play(0, usize::MAX, async |world| {
        let client = world.inside.accept(usize::MAX);
        client.send(request.as_bytes());
        settle().await;
        let upstream = dialled().pop().expect("the request is forwarded");
        for piece in bytes.chunks(step) {
            upstream.send(piece);
            settle().await;
        }
        if ends {
            upstream.end();
        }
        // Until the call is over, which takes a minute where there is no answer; a connection that
        // is kept is not idle for long then.
        for _ in 0..62 {
            world.pass(Duration::from_secs(1)).await;
            if world.inside.alive().leases == 0 {
                break;
            }
        }
        got.bytes = client.take();
        got.left = client.left();
        // What is asked next must be answered by what a new call brings, never by what is left over.
        let _ = upstream.take();
        if let Some(again) = ask_again(&client, &upstream, got.left).await {
            got.bytes.extend(again.0);
            got.reused = again.1;
            got.left = client.left();
        }
        upstream.end();
        client.end();
        world.outlive(|| drop(client.take())).await;
    });
    judge(method, request, bytes, ends, &got);
}

/// Sends a second request where the connection stays, and answers it where it arrives; tells what
/// came of it, and whether that was on the connection that it `was` on before.
async fn ask_again(client: &Peer, was: &Peer, left: Left) -> Option<(Vec<u8>, bool)> {
    if left != Left::Open {
        return None;
    }
    client.send(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    settle().await;
    let reused = !was.take().is_empty();
    let peers = dialled();
    for peer in peers.iter().chain(reused.then_some(was)) {
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Again: 1\r\n\r\n");
    }
    settle().await;
    let again = client.take();
    for peer in peers {
        peer.end();
    }
    Some((again, reused))
}

/// What the upstream said to the first request, as the other reader has it.
fn final_answer(bytes: &[u8]) -> Option<(Head, usize)> {
    let mut at = 0;
    loop {
        match message::response(&bytes[at..]) {
            Look::Whole(head, size) => {
                at += size;
                if head.status() >= 200 || head.status() == 101 {
                    return Some((head, at));
                }
            }
            Look::More | Look::Bad(_) => return None,
        }
    }
}

fn judge(method: &str, request: &str, bytes: &[u8], ends: bool, got: &Got) {
    let mut at = 0;
    let head = loop {
        match message::response(&got.bytes[at..]) {
            Look::Whole(head, size) => {
                at += size;
                if head.status() != 100 {
                    break head;
                }
            }
            other => panic!("the client got no answer: {other:?} {:?}", got.bytes),
        }
    };
    assert_ne!(head.status(), 101, "no answer to the key can be guessed");
    answer_is_clean(&head);
    let framing = head.response_framing(method.as_bytes()).expect("a framing");
    let cut = got.left != Left::Open;
    let body = message::body(&got.bytes[at..], framing, got.left == Left::Ended).right();
    assert!(!(request.contains("HTTP/1.0") && framing == Framing::Chunked));
    at += body.size;
    let rest = &got.bytes[at..];
    if !rest.is_empty() {
        let Look::Whole(again, size) = message::response(rest) else {
            panic!("bytes behind an answer: {rest:?}");
        };
        let by_us = again.values("x-again").next().is_some();
        assert!(
            by_us && size == rest.len(),
            "an answer that nobody gave: {rest:?}"
        );
    }
    let ours = head
        .values("content-type")
        .any(|value| value == b"application/problem+json");
    if ours && matches!(head.status(), 502 | 504) {
        return;
    }
    let (said_head, from) =
        final_answer(bytes).expect("what nobody can read as an answer was passed on");
    assert_eq!(head.status(), said_head.status());
    nothing_named(&said_head, &head);
    let said_framing = said_head
        .response_framing(method.as_bytes())
        .expect("its framing");
    let said = message::body(&bytes[from..], said_framing, ends);
    if got.reused {
        let behind = bytes.len() - from - said.size;
        assert_eq!(
            behind, 0,
            "a connection with something left on it served again"
        );
        assert!(said.whole && said_framing != Framing::UntilEnd);
    }
    if body.whole {
        assert_eq!(said.broken, None, "a body that cannot be read looks whole");
        assert!(said.whole, "half an answer looks whole");
        assert_eq!(said.data, body.data, "the body");
    } else {
        assert!(said.data.starts_with(&body.data), "the body");
        assert!(cut || !ends, "an answer that stays unfinished");
    }
}
