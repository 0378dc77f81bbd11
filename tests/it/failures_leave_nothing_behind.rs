//! Ten thousand handshakes that fail, of every kind, leave no socket, no task, no session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_tests::sockets;
use tidegate_tests::wire::switching;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire, eventually};

const HANDSHAKES: usize = 10_000;
const AT_ONCE: usize = 40;

/// What the upstream does is in the path.
async fn misbehave(mut wire: Wire) {
    while let Ok(asked) = wire.read_head_or_end().await {
        let answer = match asked.target() {
            "/refuse" => b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_vec(),
            "/wrong" => switching(&asked, &["Sec-WebSocket-Protocol: unasked"]),
            "/garbage" => b"\x16\x03\x01\r\n\r\n".to_vec(),
            "/cut" => b"HTTP/1.1 101 Swi".to_vec(),
            "/silent" | "/leave" => {
                wire.read_to_end().await;
                return;
            }
            other => panic!("{other}"),
        };
        if wire.try_send(answer).await.is_err() || asked.target() != "/refuse" {
            return;
        }
    }
}

async fn fail(gateway: std::net::SocketAddr, number: usize) {
    let mut client = Wire::connect(gateway).await;
    let (request, status) = match number % 10 {
        0 => (Request::handshake("/refuse"), 403),
        1 => (Request::handshake("/closed"), 502),
        2 => (Request::handshake("/wrong"), 502),
        3 => (Request::handshake("/garbage"), 502),
        4 => (Request::handshake("/cut"), 502),
        5 => (Request::handshake("/silent"), 504),
        6 => (
            Request::handshake("/refuse").set("Sec-WebSocket-Version", "8"),
            426,
        ),
        7 => (
            Request::handshake("/refuse").without("Sec-WebSocket-Key"),
            400,
        ),
        8 => (Request::handshake("/leave"), 0),
        _ => (
            Request::handshake("/refuse").then(Frame::text("early").from_client().bytes()),
            403,
        ),
    };
    client.request(&request).await;
    match status {
        0 if number % 20 == 8 => client.reset(),
        0 => drop(client),
        _ => assert_eq!(client.read_answer().await.status(), status, "{request:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_failing_handshakes() {
    let upstream = ScriptedUpstream::serve(misbehave).await;
    let closed = ScriptedUpstream::bind().await;
    closed.refuse().await;
    let gateway = TestGateway::start_among(
        &[("UP", upstream.address()), ("CLOSED", closed.address())],
        "services:\n  \
         up: { endpoints: [http://UP], pool: { idle_timeout: 1s } }\n  \
         silent: { endpoints: [http://UP], handshake_timeout: 100ms }\n  \
         closed: { endpoints: [http://CLOSED] }\n\
         routes:\n  \
         - { name: closed, match: { path: /closed }, proxy: { service: closed } }\n  \
         - { name: silent, match: { path: /silent }, proxy: { service: silent } }\n  \
         - { name: up, match: { path: /** }, proxy: { service: up } }\n",
    );
    // One round warms up what stays for ever, such as a clock's task.
    fail(gateway.address(), 0).await;
    gateway.is_empty().await;
    let tasks = gateway.tasks();

    let next = Arc::new(AtomicUsize::new(0));
    let address = gateway.address();
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= HANDSHAKES {
                        return;
                    }
                    fail(address, number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }

    gateway.is_empty().await;
    eventually("idle upstream connections are let go", || {
        gateway.upstream_idle() == 0
    })
    .await;
    eventually("no task is left", || gateway.tasks() <= tasks).await;
    eventually("no script is left", || upstream.running() == 0).await;
    for port in [gateway.address().port(), upstream.address().port()] {
        eventually("no socket is left", || sockets::open_on(port) == 0).await;
    }
    // And it works as before.
    assert_eq!(
        gateway.ask(&Request::handshake("/refuse")).await.status(),
        403
    );
}
