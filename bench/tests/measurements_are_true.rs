//! Every kind of measurement, short, through the relay that parses nothing; and that what comes
//! otherwise than it should is no figure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tidegate_tests::certificates::Authority;
use tidegate_tests::child::Scratch;
use tidegate_tests::{eventually, tls};

const LOAD: &str = env!("CARGO_BIN_EXE_tidegate-load");

/// Ends with the test.
struct Raw(Child);

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// No connection takes this port before its listener does: those go out from 127.0.0.1.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.local_addr().unwrap()
}

async fn raw(threads: &str) -> (Raw, SocketAddr, SocketAddr) {
    let (listen, upstream) = (free(), free());
    let words = ["raw", &listen.to_string(), &upstream.to_string(), threads];
    let child = Command::new(LOAD).args(words).stdin(Stdio::null()).spawn();
    let raw = Raw(child.unwrap());
    eventually("the relay listens", || TcpStream::connect(listen).is_ok()).await;
    (raw, listen, upstream)
}

fn measure(pid: u32, gateway: SocketAddr, upstream: SocketAddr, words: &str) -> Output {
    let mut load = Command::new(LOAD);
    load.arg("measure").args(words.split(' ')).args([
        format!("pid={pid}"),
        format!("gateway={gateway}"),
        format!("upstream={upstream}"),
    ]);
    load.output().unwrap()
}

/// Moves bytes from one to the other, and lets `change` at those of each read.
fn relay((mut from, mut to): (TcpStream, TcpStream), change: impl Fn(usize, &mut [u8])) {
    let mut bytes = [0; 4096];
    for read in 1.. {
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                change(read, &mut bytes[..count]);
                if to.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
        }
    }
}

/// The number behind `name` in a line of JSON.
fn number(said: &str, name: &str) -> f64 {
    let (_, rest) = said
        .split_once(&format!("\"{name}\":"))
        .unwrap_or_else(|| panic!("{said}"));
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap()
}

#[tokio::test]
async fn every_kind_counts_operations_and_time() {
    let (raw, gateway, upstream) = raw("1").await;
    for words in [
        "kind=echo connections=4",
        "kind=echo connections=4 pipeline=16",
        "kind=echo connections=4 size=1024",
        "kind=echo connections=4 size=65536",
        "kind=paced connections=16 rate=1000",
        "kind=handshake connections=4",
        "kind=get connections=4 size=128",
    ] {
        // A busy machine may do nothing for us in a short time.
        eventually(words, || {
            let words = format!("{words} warm-up-ms=20 window-ms=200");
            let output = measure(raw.0.id(), gateway, upstream, &words);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{words}: {said}");
            number(&said, "operations") > 0.0
                && number(&said, "gateway_ns") > 0.0
                && number(&said, "load_ns") > 0.0
        })
        .await;
    }
}

fn certificates() -> Scratch {
    let folder = Scratch::new();
    let mut make = Command::new(LOAD);
    let made = make.arg("certificates").arg(folder.path()).status();
    assert!(made.unwrap().success());
    folder
}

#[tokio::test]
async fn the_same_is_measured_over_tls() {
    let (raw, gateway, upstream) = raw("1").await;
    let folder = certificates();
    for words in [
        "kind=echo connections=4 size=65536",
        "kind=echo connections=4 pipeline=16 exchange=hybrid",
        "kind=handshake connections=4",
        "kind=shake connections=4",
    ] {
        let folder = folder.path().display();
        // A busy machine may do nothing for us in a short time.
        eventually(words, || {
            let words =
                format!("{words} tls=both certificates={folder} warm-up-ms=20 window-ms=200");
            let output = measure(raw.0.id(), gateway, upstream, &words);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{words}: {said}");
            number(&said, "operations") > 0.0
        })
        .await;
    }
}

#[tokio::test]
async fn memory_is_read_at_five_numbers_of_sessions() {
    let (raw, gateway, upstream) = raw("1").await;
    for kind in ["idle", "used"] {
        let words = format!("kind={kind} least=20 most=60 rate=1000 size=65536 settle-ms=20");
        let output = measure(raw.0.id(), gateway, upstream, &words);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words}: {said}");
        for level in [20, 30, 40, 50, 60] {
            assert!(said.contains(&format!("[{level},")), "{said}");
        }
        number(&said, "bytes");
    }
}

#[tokio::test]
async fn the_raw_relay_runs_in_two_threads() {
    let (raw, gateway, upstream) = raw("2").await;
    let output = measure(
        raw.0.id(),
        gateway,
        upstream,
        "kind=echo connections=8 window-ms=100",
    );
    assert!(output.status.success(), "{output:?}");
    let threads = std::fs::read_dir(format!("/proc/{}/task", raw.0.id())).unwrap();
    assert_eq!(threads.count(), 2);
}

#[test]
fn a_gateway_that_answers_wrongly_gives_no_figure() {
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        // It ends before it answers.
        b"",
    ];
    for answer in answers {
        let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = gateway.local_addr().unwrap();
        thread::spawn(move || {
            for stream in gateway.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                stream.write_all(answer).ok();
            }
        });
        let words = "kind=echo window-ms=100";
        let output = measure(std::process::id(), address, free(), words);
        assert!(!output.status.success(), "{output:?}");
    }
}

#[test]
fn a_gateway_with_another_certificate_gives_no_figure() {
    let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gateway.local_addr().unwrap();
    let config = tls::server(&Authority::new("other").server(&["localhost", "127.0.0.1"]));
    thread::spawn(move || {
        for stream in gateway.incoming() {
            let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
            let _ = server.complete_io(&mut stream.unwrap());
        }
    });
    let folder = certificates();
    let words = format!(
        "kind=shake tls=client window-ms=100 certificates={}",
        folder.path().display()
    );
    let output = measure(std::process::id(), address, free(), &words);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("another certificate"),
        "{said}"
    );
}

#[test]
fn one_wrong_byte_gives_no_figure() {
    let (gateway, upstream) = (TcpListener::bind("127.0.0.1:0").unwrap(), free());
    let address = gateway.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = gateway.accept().unwrap();
        let service = TcpStream::connect(upstream).unwrap();
        let up = (client.try_clone().unwrap(), service.try_clone().unwrap());
        thread::spawn(move || relay(up, |_read, _bytes| {}));
        relay((service, client), |read, bytes| {
            // The first is the 101.
            if read == 3 {
                *bytes.last_mut().unwrap() ^= 1;
            }
        });
    });
    let output = measure(
        std::process::id(),
        address,
        upstream,
        "kind=echo warm-up-ms=20000",
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("64 bytes came back"),
        "{said}"
    );
}
