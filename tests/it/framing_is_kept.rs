//! A body with a length goes on with that length, a chunked one chunked, with its trailers, in
//! both directions.

use tidegate_tests::wire::Framing;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(own).collect()
}

fn in_lower_case(mut trailers: Vec<(String, String)>) -> Vec<(String, String)> {
    for (name, _) in &mut trailers {
        name.make_ascii_lowercase();
    }
    trailers
}

#[tokio::test]
async fn requests_with_a_length() {
    for body in ["", "x", "hello", &"y".repeat(1 << 20)] {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client.request(&Request::new("PUT", "/").body(body)).await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        assert_eq!(
            head.field("Content-Length"),
            Some(body.len().to_string().as_str())
        );
        assert!(!head.has("Transfer-Encoding"));
        let (got, _, _) = peer.read_body(&head).await.unwrap();
        assert!(got == body.as_bytes(), "the body is garbled");
        peer.send(OK).await;
        assert_eq!(client.read_answer().await.text(), "ok");
    }
}

#[tokio::test]
async fn chunked_requests() {
    let chunks: [&[&str]; 4] = [
        &[],
        &["hello"],
        &["a", "b", "c"],
        &[&"z".repeat(200_000), "!"],
    ];
    for chunks in chunks {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        client
            .request(&Request::new("POST", "/").chunks(chunks))
            .await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        assert_eq!(head.tokens("Transfer-Encoding"), ["chunked"]);
        assert!(!head.has("Content-Length"), "{head:?}");
        let (got, framing, trailers) = peer.read_body(&head).await.unwrap();
        assert_eq!((framing, trailers.len()), (Framing::Chunked, 0));
        assert!(got == chunks.concat().as_bytes(), "the body is garbled");
        peer.send(OK).await;
        assert_eq!(client.read_answer().await.text(), "ok");
    }
}

#[tokio::test]
async fn request_trailers() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let request = Request::new("POST", "/")
        .with("Transfer-Encoding", "chunked")
        .with("Trailer", "X-Sum, x-more")
        .then("5\r\nhello\r\n0\r\nX-Sum: 42\r\nx-more: a\r\nx-more: b\r\n\r\n");
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    assert_eq!(head.tokens("Trailer"), ["x-sum", "x-more"], "{head:?}");
    let (body, _, trailers) = peer.read_body(&head).await.unwrap();
    assert_eq!(body, b"hello");
    let expected = [("X-Sum", "42"), ("x-more", "a"), ("x-more", "b")];
    assert_eq!(in_lower_case(trailers), in_lower_case(owned(&expected)));
    peer.send(OK).await;
    assert_eq!(client.read_answer().await.text(), "ok");
}

#[tokio::test]
async fn answers_with_a_length() {
    for length in [0, 1, 5, 1 << 20] {
        let body = "x".repeat(length);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let upstream = ScriptedUpstream::answering(text).await;
        let gateway = TestGateway::before(&upstream);
        let answer = gateway.ask(&Request::get("/")).await;
        assert_eq!(answer.framing, Framing::Length, "{:?}", answer.head);
        assert!(answer.text() == body, "{} bytes arrived", answer.body.len());
    }
}

#[tokio::test]
async fn chunked_answers_with_trailers() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing\r\n\r\n\
        3;ext=1\r\nhel\r\n2\r\nlo\r\n000\r\nServer-Timing: a\r\nX-Late: b\r\n\r\n";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        let answer = client.ask(&Request::get("/").with("TE", "trailers")).await;
        assert_eq!(
            (answer.framing, answer.text().as_str()),
            (Framing::Chunked, "hello")
        );
        assert_eq!(
            answer.head.tokens("Trailer"),
            ["server-timing"],
            "{:?}",
            answer.head
        );
        let expected = [("Server-Timing", "a"), ("X-Late", "b")];
        assert_eq!(
            in_lower_case(answer.trailers),
            in_lower_case(owned(&expected))
        );
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn trailers_keep_their_case() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: b\r\n\r\n";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::get("/").with("TE", "trailers")).await;
    assert_eq!(answer.trailers, owned(&[("X-Late", "b")]));
}

/// Fields that frame, route or authenticate mean nothing behind a body (RFC 9110 section 6.5.1),
/// and a receiver that merges them would be misled.
#[tokio::test]
async fn dangerous_trailers_do_not_pass() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let trailers = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil.example\r\n\
        Connection: X\r\n";
    let request = Request::new("POST", "/")
        .with("Transfer-Encoding", "chunked")
        .then(format!("5\r\nhello\r\n0\r\n{trailers}X-Ok: 1\r\n\r\n"));
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    // Dropped, or the request is cut: both are safe.
    if let Ok((_, _, trailers)) = peer.read_body(&head).await {
        for (name, _) in &trailers {
            assert!(name.eq_ignore_ascii_case("X-Ok"), "{trailers:?}");
        }
        peer.send(OK).await;
        client.read_answer().await;
    }
}

/// An answer that ends with its connection reaches HTTP/1.1 in chunks or by an end of its own, and
/// HTTP/1.0, which knows no chunks, by an end.
#[tokio::test]
async fn answers_until_close() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            .await;
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::get("/")).await;
    assert_eq!(answer.text(), "hello");
    assert_ne!(answer.framing, Framing::Length);
    let answer = gateway.ask(&Request::get("/").version("HTTP/1.0")).await;
    assert_eq!(
        (answer.framing, answer.text().as_str()),
        (Framing::UntilClose, "hello")
    );
}

#[tokio::test]
async fn chunks_are_not_for_http_1_0() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    for request in [
        Request::get("/").version("HTTP/1.0"),
        Request::get("/")
            .version("HTTP/1.0")
            .with("Connection", "keep-alive"),
    ] {
        let answer = gateway.ask(&request).await;
        assert_eq!(
            (answer.framing, answer.text().as_str()),
            (Framing::UntilClose, "hello")
        );
        assert!(!answer.head.has("Transfer-Encoding"));
    }
}

#[tokio::test]
async fn another_coding_than_chunked_is_not_guessed_at() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    gateway.ask(&Request::get("/")).await.expect_problem(502);
}
