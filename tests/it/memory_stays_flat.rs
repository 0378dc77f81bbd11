//! However much goes through, and however slowly it is read, the process stays small.

use std::net::SocketAddr;

use tidegate_tests::child::Process;
use tidegate_tests::frame::BINARY;
use tidegate_tests::wire::switching;
use tidegate_tests::{DEADLINE, Frame, Link, Request, ScriptedUpstream, Wire, eventually, tools};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const GIB: usize = 1 << 30;
/// What the process may have at its highest (in MiB): its own code and buffers, and a wide margin.
const MOST: u64 = 100;

/// An upstream of 1 GiB either way: `/down` sends it, `/up` reads it.
async fn giant() -> ScriptedUpstream {
    ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        if head.target() == "/up" {
            let mut stream = wire.into_stream_with_rest();
            discard(&mut stream, GIB).await;
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.1.write_all(ok).await.unwrap();
        } else {
            let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..GIB >> 20 {
                wire.send(&chunk).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// Reads `count` bytes, those at hand included.
async fn discard((rest, stream): &mut (Vec<u8>, Link), count: usize) {
    let mut left = count - rest.len();
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await;
        let read = read.unwrap().unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= read;
    }
    assert_eq!(left, 0);
}

async fn upload(gateway: SocketAddr) {
    let mut client = Wire::connect(gateway).await;
    client
        .request(&Request::new("PUT", "/up").with("Content-Length", &GIB.to_string()))
        .await;
    let part = vec![b'x'; 1 << 20];
    for _ in 0..GIB >> 20 {
        client.send(&part).await;
    }
    assert_eq!(client.read_answer().await.text(), "ok");
}

async fn download(gateway: SocketAddr) {
    let mut client = Wire::connect(gateway).await;
    client.request(&Request::get("/down")).await;
    let head = client.read_head().await;
    assert_eq!(head.tokens("Transfer-Encoding"), ["chunked"]);
    // Chunk sizes are the gateway's own affair, so what is counted is the payload.
    let mut left = GIB;
    while let Some(chunk) = client.read_chunk().await {
        assert!(chunk.iter().step_by(4096).all(|byte| *byte == b'x'));
        left -= chunk.len();
    }
    assert_eq!(left, 0);
}

fn yaml(upstream: &ScriptedUpstream) -> String {
    format!(
        "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    )
}

#[tokio::test]
async fn under_1_gib_up_and_1_gib_down() {
    let Some(binary) = tools::tidegate("under_1_gib_up_and_1_gib_down") else {
        return;
    };
    let upstream = giant().await;
    let (gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
    tokio::join!(upload(address), download(address));
    let peak = gateway.peak_memory();
    assert!(peak < MOST, "{peak} MiB");
}

#[tokio::test]
async fn under_readers_that_do_not_read() {
    let Some(binary) = tools::tidegate("under_readers_that_do_not_read") else {
        return;
    };
    // Every upstream connection is flooded: sessions with frames, requests with a body.
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        let flood = if head.is_upgrade() {
            wire.send(switching(&head, &[])).await;
            Frame::new(BINARY, vec![7; 1 << 20]).bytes()
        } else {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
                .await;
            vec![b'x'; 1 << 20]
        };
        wire.narrow();
        let mut stream = wire.into_stream();
        while stream.write_all(&flood).await.is_ok() {}
    })
    .await;
    let (gateway, address, _files) = Process::gateway(&binary, &yaml(&upstream)).await;
    let descriptors = gateway.descriptors();
    let mut deaf = Vec::new();
    for number in 0..100 {
        let mut client = Wire::connect_narrow(address).await;
        let request = if number % 2 == 0 {
            Request::handshake("/")
        } else {
            Request::get("/")
        };
        client.request(&request).await;
        client.read_head().await;
        deaf.push(client);
    }
    for client in &mut deaf {
        client.something_came().await;
    }
    // A client that does read is served beside them, so the floods have had their turns.
    for _ in 0..20 {
        let mut other = Wire::connect(address).await;
        other.request(&Request::get("/")).await;
        other.read_exact(1 << 20).await;
    }
    let peak = gateway.peak_memory();
    assert!(peak < MOST, "{peak} MiB for 100 readers that do not read");
    drop(deaf);
    // A worker that had not begun then has its own.
    eventually("all descriptors are given back", || {
        gateway.descriptors() <= descriptors + 8
    })
    .await;
}
