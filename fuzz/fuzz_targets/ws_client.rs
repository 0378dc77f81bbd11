//! The library's client against a server that says anything.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libfuzzer_sys::fuzz_target;
use tidegate_ws::client::{ClientError, WebSocketClient};
use tidegate_ws::handshake::Key;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const MAX_HEAD: usize = 2000;
const MAX_BODY: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let Some((&manner, says)) = bytes.split_first() else {
        return;
    };
    let is_silent = manner & 4 != 0;
    let piece = [usize::MAX, 1, 7, 64][usize::from(manner & 3)];
    let whole = verdict(Server::new(says, usize::MAX, is_silent));
    let cut = verdict(Server::new(says, piece, is_silent));
    assert_eq!(whole, cut, "a cut changes the verdict");
});

/// What a client makes of a server, without what changes from one to the next: its own key.
fn verdict(server: Server) -> String {
    let is_plain = !server.says.contains(&1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let client = WebSocketClient::new()
        .subprotocol("chat")
        .max_head(MAX_HEAD)
        .max_body(MAX_BODY);
    match runtime.block_on(client.connect_over(server, "ws://example.com/")) {
        Ok(connected) => {
            let headers = connected.response.headers();
            assert_eq!(connected.response.status(), 101);
            assert!(headers.contains_key("sec-websocket-accept"));
            assert!(!headers.contains_key("sec-websocket-extensions"));
            let chosen = headers.get_all("sec-websocket-protocol");
            assert!(chosen.iter().count() < 2 && chosen.iter().all(|one| one == "chat"));
            format!("open {}", headers.len())
        }
        Err(ClientError::Refused(refused)) => {
            let body = refused.response.body();
            assert_ne!(refused.response.status(), 101);
            assert!(body.len() <= MAX_BODY);
            // An accept in it is another one each time.
            let told = if is_plain { &body[..] } else { b"" };
            let (status, is_whole) = (refused.response.status(), refused.is_whole);
            format!("{status} {} {told:?} {is_whole}", body.len())
        }
        Err(error) => {
            let told = error.to_string();
            // Of several faults of a head the first that is seen is told, and which that is depends on
            // how much of it has come.
            let kind = told.split(": ").next().unwrap_or_default();
            kind.to_owned()
        }
    }
}

/// Says what it has to, once it was asked.
struct Server {
    says: Vec<u8>,
    at: usize,
    piece: usize,
    is_silent: bool,
    heard: Vec<u8>,
}

impl Server {
    fn new(says: &[u8], piece: usize, is_silent: bool) -> Self {
        Self {
            says: says.to_vec(),
            at: 0,
            piece,
            is_silent,
            heard: Vec::new(),
        }
    }

    /// Puts the accept where a byte 01 stands.
    fn asked(&mut self) {
        let head = String::from_utf8_lossy(&self.heard);
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let key = key.expect("a client sends a key").as_bytes();
        let key = Key::of_request(std::iter::once(key)).expect("a key that is one");
        let says = std::mem::take(&mut self.says);
        for byte in says {
            match byte {
                1 => self.says.extend_from_slice(&key.accept()),
                byte => self.says.push(byte),
            }
        }
    }
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.says.len() - self.at;
        if left == 0 && self.is_silent {
            // The time goes on by itself.
            return Poll::Pending;
        }
        let count = left.min(self.piece).min(buffer.remaining());
        let at = self.at;
        buffer.put_slice(&self.says[at..at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.piece);
        self.heard.extend_from_slice(&bytes[..count]);
        if self.heard.ends_with(b"\r\n\r\n") {
            self.asked();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
