//! A reset, by either side and in every state: within a second nothing is left of it, neither in the
//! gateway nor on the other side, and nobody takes half for the whole.

use std::time::{Duration, Instant};

use tidegate_tests::sockets::{self, FullListener};
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, Head, Request, ScriptedUpstream, TestGateway, Wire, eventually};

const SOON: Duration = Duration::from_secs(1);
const HALF_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
const HALF_FRAME: &[u8] = &[0x82, 0x7e, 0x10, 0x00, 7, 7, 7, 7, 7, 7, 7, 7];

/// What has happened when one side resets.
struct State {
    name: &'static str,
    /// What the client sends.
    request: Vec<u8>,
    /// What the upstream says to it; `None`: it does not even hear of it.
    answer: Option<&'static [u8]>,
}

fn state(name: &'static str, request: impl Into<Vec<u8>>, answer: Option<&'static [u8]>) -> State {
    let request = request.into();
    State {
        name,
        request,
        answer,
    }
}

fn states() -> Vec<State> {
    let get = Request::get("/").bytes();
    let post = Request::new("POST", "/");
    vec![
        state("before a byte", "", None),
        state("inside the start line", "GET / HT", None),
        state("inside the head", &get[..get.len() - 3], None),
        state("behind the head", get.clone(), Some(b"")),
        state(
            "behind a handshake",
            Request::handshake("/").bytes(),
            Some(b""),
        ),
        state(
            "inside a body",
            post.clone()
                .with("Content-Length", "9")
                .then("half")
                .bytes(),
            Some(b""),
        ),
        state(
            "inside a chunk",
            post.clone()
                .with("Transfer-Encoding", "chunked")
                .then("9\r\nhalf")
                .bytes(),
            Some(b""),
        ),
        state("behind a body", post.body("whole").bytes(), Some(b"")),
        state(
            "inside the answer's head",
            get.clone(),
            Some(b"HTTP/1.1 200 OK\r\nX-A"),
        ),
        state(
            "behind a hint",
            get.clone(),
            Some(b"HTTP/1.1 103 Hints\r\n\r\n"),
        ),
        state(
            "inside the answer",
            get.clone(),
            Some(HALF_ANSWER.as_bytes()),
        ),
        state(
            "inside an answer until its end",
            get.clone(),
            Some(b"HTTP/1.1 200 OK\r\n\r\nhalf"),
        ),
        state(
            "inside an answer's chunk",
            get.clone(),
            Some(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
        ),
        state(
            "between requests",
            get,
            Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ),
    ]
}

/// Brings a fresh connection into the state: its client, with the head of the answer if it has that,
/// and, where there is one, its upstream.
async fn bring(
    gateway: &TestGateway,
    upstream: &mut ScriptedUpstream,
    state: &State,
) -> ((Wire, Option<Head>), Option<Wire>) {
    let mut client = gateway.connect().await;
    client.send(&state.request).await;
    let Some(answer) = state.answer else {
        eventually("it is in", || gateway.tasks() > 0).await;
        return ((client, None), None);
    };
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send(answer).await;
    let mut head = None;
    if answer.ends_with(b"half") || answer.ends_with(b"ok") {
        head = Some(client.read_head().await);
        client.something_came().await;
    }
    ((client, head), Some(peer))
}

/// The ports of the connection between the gateway and the upstream's end of it.
fn ports(peer: &Wire) -> (u16, u16) {
    (peer.peer().port(), peer.local().port())
}

async fn nothing_is_left(
    gateway: &TestGateway,
    upstream: Option<(u16, u16)>,
    since: Instant,
    what: &str,
) {
    gateway.is_empty().await;
    let took = since.elapsed();
    assert!(took < SOON + SLACK, "{what}: {took:?}");
    // The kernel's table may be long, and takes its time.
    if let Some((ours, theirs)) = upstream {
        eventually(what, || !sockets::is_open(ours, theirs)).await;
    }
}

#[tokio::test]
async fn by_the_client() {
    for state in states() {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before_with(&upstream, "pool: { max_idle: 0 }", "");
        let ((client, _), peer) = bring(&gateway, &mut upstream, &state).await;
        let ports = peer.as_ref().map(ports);
        let since = Instant::now();
        client.reset();
        if let Some(mut peer) = peer {
            peer.read_to_end().await;
        }
        nothing_is_left(&gateway, ports, since, state.name).await;
    }
}

#[tokio::test]
async fn by_the_upstream() {
    for state in states().into_iter().filter(|state| state.answer.is_some()) {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before_with(&upstream, "pool: { max_idle: 0 }", "");
        let ((mut client, head), peer) = bring(&gateway, &mut upstream, &state).await;
        let peer = peer.unwrap();
        let ports = ports(&peer);
        let since = Instant::now();
        peer.reset();
        let is_whole = state.name == "between requests";
        let is_repeated = ["behind the head", "behind a handshake"].contains(&state.name);
        if is_repeated {
            upstream.accept().await.reset();
        }
        if is_whole {
            client.expect("ok").await;
        } else if let Some(head) = head {
            let cut = client.read_body(&head).await.unwrap_err();
            assert_eq!(cut.0, b"half", "{}", state.name);
        } else {
            client.read_answer().await.expect_problem(502);
        }
        drop(client);
        nothing_is_left(&gateway, Some(ports), since, state.name).await;
    }
}

#[tokio::test]
async fn by_the_client_while_dialling() {
    for request in [Request::get("/"), Request::handshake("/")] {
        let full = FullListener::bind();
        let address = full.address();
        let gateway = TestGateway::start_among(
            &[("UP", full.address())],
            "services: { up: { endpoints: [http://UP], connect_timeout: 60s } }\n\
             routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
        );
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut dialling = Vec::new();
        eventually("the gateway dials", || {
            dialling = sockets::dialling(address);
            dialling.len() == 1
        })
        .await;
        client.reset();
        gateway.is_empty().await;
        eventually("the dial is cancelled", || !sockets::is_held(&dialling[0])).await;
    }
}

/// Behind the 101, at a boundary and inside a frame: the other side hears of it, and it ends too.
#[tokio::test]
async fn of_a_session() {
    for by_client in [true, false] {
        for half in [false, true] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let (mut client, mut peer) = gateway.open(&mut upstream).await;
            client.send_frame(&Frame::text("hi").from_client()).await;
            peer.read_frame().await;
            let ports = ports(&peer);
            let (mut left, mut other) = if by_client {
                (client, peer)
            } else {
                (peer, client)
            };
            if half {
                let mut frame = HALF_FRAME.to_vec();
                frame[1] |= if by_client { 0x80 } else { 0 };
                left.send(&frame).await;
                other.something_came().await;
            }
            let since = Instant::now();
            left.reset();
            let (words, end) = other.read_to_end().await;
            if half {
                assert_eq!(end, tidegate_tests::End::Reset, "half a frame looks whole");
            } else {
                let (frame, _) = Frame::parse(&words).unwrap();
                assert_eq!(
                    frame.close_code(),
                    Some(if by_client { 1001 } else { 1011 })
                );
            }
            drop(other);
            nothing_is_left(&gateway, Some(ports), since, "a session").await;
        }
    }
}

/// An idle upstream connection that is reset is not what the next request is sent on.
#[tokio::test]
async fn of_an_idle_upstream_connection() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..5 {
        client
            .request(&Request::new("POST", "/").body("hello"))
            .await;
        let mut peer = upstream.accept().await;
        let head = peer.read_head().await;
        peer.read_body(&head).await.unwrap();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.read_answer().await.text(), "ok");
        eventually("it is idle", || gateway.upstream_idle() == 1).await;
        peer.reset();
        eventually("it is let go", || gateway.upstream_idle() == 0).await;
    }
}
