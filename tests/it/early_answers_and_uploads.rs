//! An answer that comes before its request is over: neither the answer nor the upload is lost.

use std::time::Duration;

use tidegate_tests::wire::Framing;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, within};
use tokio::io::AsyncWriteExt as _;

const TWENTY_MB: usize = 20 << 20;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Many clients (curl and `requests` among them) write all of a body before they read a byte.
#[tokio::test]
async fn client_that_sends_first_and_reads_then_gets_its_404() {
    let upstream = ScriptedUpstream::mirror().await;
    let routes = "  - { name: a, match: { path: /a }, proxy: { service: a } }\n";
    let gateway = TestGateway::routing(&upstream, routes);
    let body = "x".repeat(TWENTY_MB);
    for request in [
        Request::new("POST", "/nowhere").body(&body),
        Request::new("POST", "/nowhere").chunks(&[&body]),
    ] {
        let mut client = gateway.connect().await;
        client.request(&request).await;
        client.read_answer().await.expect_problem(404);
        drop(client);
        gateway.is_empty().await;
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn client_that_sends_first_and_reads_then_gets_the_upstreams_413() {
    for ends_with_fin in [true, false] {
        let upstream = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            wire.send("HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 3\r\n\r\nfat")
                .await;
            if ends_with_fin {
                wire.finish().await;
                wire.read_to_end().await;
            }
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        let body = "x".repeat(TWENTY_MB);
        for request in [
            Request::new("POST", "/").body(&body),
            Request::new("POST", "/").chunks(&[&body]),
        ] {
            let mut client = gateway.connect().await;
            client.request(&request).await;
            let answer = client.read_answer().await;
            assert_eq!((answer.status(), answer.text().as_str()), (413, "fat"));
            drop(client);
            gateway.is_empty().await;
        }
    }
}

/// Bodies whose every byte tells its place.
fn uploads() -> Vec<(Request, Vec<u8>)> {
    let text: String = (0..500_000).map(|number| format!("{number:07} ")).collect();
    let chunks: Vec<&str> = text
        .as_bytes()
        .chunks(1000)
        .map(|chunk| std::str::from_utf8(chunk).unwrap())
        .collect();
    let short = "only a few words";
    vec![
        (Request::new("POST", "/").body(&text), text.clone().into()),
        (
            Request::new("POST", "/").chunks(&chunks),
            text.clone().into(),
        ),
        (
            Request::new("POST", "/").chunks(&[&text]),
            text.clone().into(),
        ),
        (Request::new("POST", "/").body(short), short.into()),
        (
            Request::new("POST", "/").chunks(&["only a ", "few words"]),
            short.into(),
        ),
    ]
}

/// The answer is out, and the upstream goes on reading: a queue that acknowledges at once, say.
#[tokio::test]
async fn upload_behind_its_answer_arrives_whole() {
    for (request, body) in uploads() {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let (reads, mut writes) = gateway.connect().await.into_socket().into_split();
        let bytes = request.bytes();
        let writer = tokio::spawn(async move {
            writes.write_all(&bytes).await.unwrap();
            writes
        });
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        peer.send(OK).await;
        within("the answer", reads.readable()).await.unwrap();
        let (got, framing, _) = peer.read_body(&head).await.unwrap();
        assert_ne!(framing, Framing::None);
        assert!(got == body, "{} of {} bytes came", got.len(), body.len());

        let writes = within("the client to be rid of it", writer).await.unwrap();
        let mut client = Wire::new(reads.reunite(writes).unwrap());
        let answer = client.read_answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        let ends = answer.head.tokens("Connection") == ["close"];
        assert!(
            !ends || body.len() > 100,
            "an upload that was over ends the connection"
        );
        if !ends {
            client.request(&Request::get("/next")).await;
            let mut peer = peer_of("/next", peer, &mut upstream).await;
            peer.send(OK).await;
            assert_eq!(client.read_answer().await.text(), "ok");
        }
    }
}

/// Whichever connection the gateway asks `target` on: the old one or a new one.
async fn peer_of(target: &str, mut old: Wire, upstream: &mut ScriptedUpstream) -> Wire {
    let peer = tokio::select! {
        head = old.read_head_or_end() => match head {
            Ok(head) => {
                assert_eq!(head.target(), target);
                return old;
            }
            Err(_end) => None,
        },
        new = upstream.accept() => Some(new),
    };
    let mut peer = match peer {
        Some(peer) => peer,
        None => upstream.accept().await,
    };
    assert_eq!(peer.read_head().await.target(), target);
    peer
}

/// Sends an upload in chunks of `size` (0: by its length) that nobody reads until it has stalled, so
/// that parts of it stand in the gateway when the answer passes them; then reads all of it.
async fn overtaken(size: usize) {
    let text: String = (0..3_000_000)
        .map(|number| format!("{number:07} "))
        .collect();
    let mut request = Request::new("POST", "/").body(&text);
    if size > 0 {
        let starts = (0..text.len()).step_by(size);
        let chunks: Vec<&str> = starts
            .map(|at| &text[at..(at + size).min(text.len())])
            .collect();
        request = Request::new("POST", "/").chunks(&chunks);
    }
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (reads, mut writes) = gateway.connect().await.into_socket().into_split();
    let mut writer = tokio::spawn(async move {
        writes.write_all(&request.bytes()).await.unwrap();
        writes
    });
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    let stalled = tokio::time::timeout(Duration::from_millis(500), &mut writer).await;
    assert!(stalled.is_err(), "nobody reads, and all was taken");
    peer.send(OK).await;
    within("the answer", reads.readable()).await.unwrap();
    match peer.read_body(&head).await {
        Err((got, end)) => panic!("chunks of {size}: {end:?} after {} bytes", got.len()),
        Ok((got, ..)) => assert!(
            got == text.as_bytes(),
            "chunks of {size}: {} of {} bytes look whole",
            got.len(),
            text.len()
        ),
    }
    within("the client to be rid of it", writer).await.unwrap();
}

#[tokio::test]
async fn upload_that_its_answer_overtakes_arrives_whole() {
    for size in [0, 300_000] {
        overtaken(size).await;
    }
}

/// Several chunks stand in one read: none of them is dropped from the middle.
#[tokio::test]
async fn upload_in_small_chunks_that_its_answer_overtakes_arrives_whole() {
    for size in [50, 1000] {
        overtaken(size).await;
    }
}
