//! An upstream that writes down every byte, however wrong, and answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::frame::{CLOSE, Frame};
use crate::request::accept_for;
use crate::time::eventually;
use crate::wire::Wire;

/// A message as it came: leniently cut into head and body, never judged.
#[derive(Debug, Clone)]
pub struct Received {
    /// The head, its empty line included; or what there was of one when the connection ended.
    pub head: Vec<u8>,
    /// The body without framing.
    pub body: Vec<u8>,
    /// Whether it came to its end.
    pub whole: bool,
}

/// What happens to the connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is read on.
    Keep,
    /// It ends.
    Fin,
    /// It is reset.
    Reset,
}

/// The answer to the next request; `ACCEPT` in it stands for the accept of the request's key.
#[derive(Debug, Clone)]
pub struct Script {
    /// The answer, byte for byte.
    pub answer: Vec<u8>,
    /// In writes of so many bytes.
    pub step: usize,
    /// What follows it.
    pub then: Then,
}

/// The upstream. Without a script it answers with the head that it saw (`X-Mirror`), agrees to
/// handshakes, and echoes their messages.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    log: Arc<Log>,
    acceptor: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Log {
    connections: AtomicUsize,
    /// Connections that are not waiting for a request to begin.
    busy: AtomicUsize,
    messages: Mutex<Vec<Received>>,
    script: Mutex<Option<Script>>,
}

impl Recorder {
    /// Listens on 127.0.0.1.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let kept = Arc::clone(&log);
        let acceptor = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.connections.fetch_add(1, Ordering::SeqCst);
                kept.busy.fetch_add(1, Ordering::SeqCst);
                let log = Arc::clone(&kept);
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    // Thousands of rows would leave as many sockets waiting, which slows down every
                    // case that looks through the kernel's table of them.
                    leave_nothing(&stream);
                    Peer {
                        stream,
                        buffer: Vec::new(),
                    }
                    .serve(&log)
                    .await;
                    log.busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            log,
            acceptor,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request is answered like this.
    pub fn script(&self, script: Script) {
        *self.log.script.lock().unwrap() = Some(script);
    }

    /// Forgets a script that nobody asked for.
    pub fn unscript(&self) {
        *self.log.script.lock().unwrap() = None;
    }

    /// What came so far.
    pub fn messages(&self) -> MutexGuard<'_, Vec<Received>> {
        self.log.messages.lock().unwrap()
    }

    /// Takes what came so far, once every connection waits for a request or has ended, and says how
    /// many connections there were.
    pub async fn settled(&self) -> (usize, Vec<Received>) {
        // Accepted in order: behind this one, nothing is on its way.
        let before = self.log.connections.load(Ordering::SeqCst);
        let sentinel = Wire::connect(self.address).await;
        eventually("the sentinel is accepted", || {
            self.log.connections.load(Ordering::SeqCst) > before
        })
        .await;
        sentinel.reset();
        eventually("the upstream has nothing to do", || {
            self.log.busy.load(Ordering::SeqCst) == 0
        })
        .await;
        let connections = self.log.connections.swap(0, Ordering::SeqCst) - 1;
        (connections, std::mem::take(&mut *self.messages()))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    async fn serve(&mut self, log: &Log) {
        loop {
            if self.buffer.is_empty() {
                log.busy.fetch_sub(1, Ordering::SeqCst);
                let more = self.fill().await;
                log.busy.fetch_add(1, Ordering::SeqCst);
                if !more {
                    return;
                }
            }
            let Some(message) = self.message().await else {
                let head = std::mem::take(&mut self.buffer);
                log.messages.lock().unwrap().push(Received {
                    head,
                    body: Vec::new(),
                    whole: false,
                });
                return;
            };
            log.messages.lock().unwrap().push(message.clone());
            let script = log.script.lock().unwrap().take();
            let goes_on = match script {
                Some(script) if message.whole => self.perform(&message, script).await,
                _ => message.whole && self.mirror(&message).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(count) if count > 0)
    }

    /// The next message; `None` when the connection ends within its head.
    async fn message(&mut self) -> Option<Received> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let mut body = Vec::new();
        let whole = if field(&head, "transfer-encoding").is_some() {
            self.chunks(&mut body).await.is_some()
        } else {
            let length = field(&head, "content-length").and_then(|text| text.parse().ok());
            match self.take(length.unwrap_or(0)).await {
                Some(bytes) => {
                    body = bytes;
                    true
                }
                None => false,
            }
        };
        Some(Received { head, body, whole })
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.line().await?;
            let digits = line.split([';', ' ']).next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&self.take(size).await?);
            if !self.line().await?.is_empty() {
                return None;
            }
        }
        loop {
            let trailer = self.line().await?;
            if trailer.is_empty() {
                return Some(());
            }
            // Trailers stand behind the body, so that a row can ask for them.
            body.extend_from_slice(format!("\n{trailer}").as_bytes());
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Some(line.into_iter().map(char::from).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                self.buffer.clear();
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    async fn perform(&mut self, message: &Received, script: Script) -> bool {
        let mut answer = script.answer;
        let key = field(&message.head, "sec-websocket-key").unwrap_or_default();
        if let Some(at) = find(&answer, b"ACCEPT") {
            answer.splice(at..at + 6, accept_for(&key).into_bytes());
        }
        for piece in answer.chunks(script.step) {
            if !self.send(piece).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        match script.then {
            Then::Keep if find(&answer, b"HTTP/1.1 101 ").is_some() => {
                self.echo().await;
                false
            }
            Then::Keep => true,
            Then::Fin => {
                self.stream.shutdown().await.ok();
                while self.fill().await {}
                false
            }
            Then::Reset => false,
        }
    }

    async fn mirror(&mut self, message: &Received) -> bool {
        let head = &message.head;
        if field(head, "upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")) {
            let key = field(head, "sec-websocket-key").unwrap_or_default();
            let accept = accept_for(&key);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            self.send(answer.as_bytes()).await;
            self.echo().await;
            return false;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Mirror: 1\r\nContent-Length: {}\r\n\r\n",
            head.len()
        );
        let mut answer = answer.into_bytes();
        if !head.starts_with(b"HEAD ") {
            answer.extend_from_slice(head);
        }
        self.send(&answer).await
    }

    async fn echo(&mut self) {
        loop {
            while let Some((mut frame, size)) = Frame::parse(&self.buffer) {
                self.buffer.drain(..size);
                frame.mask = None;
                if !self.send(&frame.bytes()).await || frame.opcode == CLOSE {
                    return;
                }
            }
            if !self.fill().await {
                return;
            }
        }
    }
}

/// Makes the socket end with a reset when it is dropped.
fn leave_nothing(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
}

/// The value of the first line named `name`, leniently.
pub(super) fn field(head: &[u8], name: &str) -> Option<String> {
    let text: String = head.iter().copied().map(char::from).collect();
    text.split("\r\n").skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
