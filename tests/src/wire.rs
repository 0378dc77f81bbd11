//! One TCP connection, raw enough to misbehave: the client's to the gateway, or the gateway's to
//! a scripted upstream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::frame::{self, Frame};
use crate::head::Head;
use crate::link::Link;
use crate::request::{Request, accept_for};
use crate::sockets;
use crate::time::{GRACE, within};

mod body;
mod connect;
mod loose;
pub use body::{Answer, Framing};

/// How the other side ended its sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a FIN: what came before is said to be all.
    Fin,
    /// With a reset: what came before may lack something.
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: Link,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    end: Option<End>,
    /// How long it waits for what comes.
    patience: Duration,
    /// Where request heads are recorded; the upstream that accepted this holds it too.
    record: Option<Arc<Mutex<Vec<Head>>>>,
}

impl Wire {
    /// Takes over `stream`.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self::of(Link::Plain(stream))
    }

    /// Takes over `stream`, TLS or not.
    #[must_use]
    pub fn of(stream: Link) -> Self {
        // Unix sockets have no such thing.
        let _ = stream.socket().set_nodelay(true);
        Self {
            stream,
            buffer: Vec::new(),
            end: None,
            patience: crate::DEADLINE,
            record: None,
        }
    }

    pub(crate) fn recording(stream: Link, record: Arc<Mutex<Vec<Head>>>) -> Self {
        let mut wire = Self::of(stream);
        wire.record = Some(record);
        wire
    }

    /// The same, for which the other side may take up to `limit` to say something.
    #[must_use]
    pub const fn patient(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// The address at the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    /// The address at this end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    /// When the other side is gone, or does not take them in time.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Err(error) = self.try_send(bytes).await {
            panic!("cannot send {} bytes: {error}", bytes.len());
        }
    }

    /// Sends all of `bytes`, if the other side still takes them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("room to send", self.stream.write_all(bytes.as_ref())).await?;
        within("room to send", self.stream.flush()).await
    }

    /// Sends `words` again and again, until its socket is full and has been for `still`; since when.
    ///
    /// # Panics
    /// When the other side is gone.
    pub async fn send_until_full(&mut self, words: &[u8], still: Duration) -> Instant {
        let (mut at, mut since) = (0, Instant::now());
        loop {
            let writing = tokio::time::timeout(still, self.stream.write(&words[at..]));
            let Ok(written) = writing.await else {
                return since;
            };
            at = (at + written.unwrap()) % words.len();
            since = Instant::now();
        }
    }

    /// Sends `request`.
    pub async fn request(&mut self, request: &Request) {
        self.send(request.bytes()).await;
    }

    /// Sends `request`, and reads its answer.
    pub async fn ask(&mut self, request: &Request) -> Answer {
        self.request(request).await;
        self.read_answer().await
    }

    /// Sends `frame`.
    pub async fn send_frame(&mut self, frame: &Frame) {
        self.send(frame.bytes()).await;
    }

    /// Says that nothing more will be sent (FIN), and keeps on listening.
    pub async fn finish(&mut self) {
        // The other side may have ended all of it already.
        self.stream.shutdown().await.ok();
    }

    /// Ends the socket under it (FIN), whatever was said over it, and keeps on listening.
    pub fn finish_socket(&self) {
        // The other side may have ended all of it already.
        SockRef::from(&self.stream)
            .shutdown(std::net::Shutdown::Write)
            .ok();
    }

    /// Drops the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        self.stream.cut();
    }

    /// Sends bytes under TLS, as somebody who holds no keys could put them in.
    pub async fn say_in_clear(&mut self, bytes: &[u8]) {
        let socket = self.stream.socket();
        let said = async {
            let mut rest = bytes;
            while !rest.is_empty() {
                socket.writable().await?;
                match socket.try_write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        within("room to send", said).await.unwrap();
    }

    /// Drops the socket as it is (FIN), and says nothing over TLS before.
    pub fn cut(self) {
        self.stream.cut();
    }

    /// Gives the socket away; nothing that was read may be left.
    #[must_use]
    pub fn into_stream(self) -> Link {
        assert!(self.buffer.is_empty(), "bytes are left: {:?}", self.buffer);
        self.stream
    }

    /// Gives a plain socket away; nothing that was read may be left.
    #[must_use]
    pub fn into_socket(self) -> TcpStream {
        match self.into_stream() {
            Link::Plain(socket) => socket,
            Link::Tls(_) => panic!("it speaks TLS"),
        }
    }

    /// Gives the socket away, and what was read and not yet taken.
    #[must_use]
    pub fn into_stream_with_rest(self) -> (Vec<u8>, Link) {
        (self.buffer, self.stream)
    }

    /// Makes the kernel hold no more than a few KiB of what is sent here.
    pub fn narrow(&self) {
        SockRef::from(&self.stream)
            .set_send_buffer_size(8 * 1024)
            .unwrap();
    }

    /// Whether the kernel at the other end has taken all that was sent.
    #[must_use]
    pub fn all_is_taken(&self) -> bool {
        sockets::all_is_taken(&self.stream)
    }

    /// Reads a head, of a request or an answer.
    ///
    /// # Panics
    /// When the other side ends before it.
    pub async fn read_head(&mut self) -> Head {
        match self.read_head_or_end().await {
            Ok(head) => head,
            Err(end) => panic!("a head was due, not {end:?} after {:?}", self.text()),
        }
    }

    /// Reads a head, or finds that the other side has ended.
    pub async fn read_head_or_end(&mut self) -> Result<Head, End> {
        let mut seen = 0;
        let length = loop {
            let from = seen.min(self.buffer.len());
            if let Some(at) = find(&self.buffer[from..], b"\r\n\r\n") {
                break from + at + 4;
            }
            seen = self.buffer.len().saturating_sub(3);
            self.fill("a head").await?;
        };
        let head = Head::parse(self.buffer.drain(..length).collect());
        if let Some(record) = &self.record {
            record.lock().unwrap().push(head.clone());
        }
        Ok(head)
    }

    /// Reads `count` bytes.
    ///
    /// # Panics
    /// When the other side ends before them.
    pub async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        match self.read_exact_or_end(count).await {
            Ok(bytes) => bytes,
            Err(end) => panic!(
                "{count} bytes were due, not {end:?} after {:?}",
                self.text()
            ),
        }
    }

    async fn read_exact_or_end(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < count {
            self.fill("more bytes").await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads a line without its CRLF.
    async fn read_line_or_end(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(line.into_iter().map(char::from).collect());
            }
            self.fill("a line").await?;
        }
    }

    /// Reads and expects exactly `bytes`.
    pub async fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let read = self.read_exact(bytes.len()).await;
        assert!(
            read == bytes,
            "expected {:?}, read {:?}",
            shorten(bytes),
            shorten(&read)
        );
    }

    /// Reads a frame.
    ///
    /// # Panics
    /// When the other side ends before it.
    pub async fn read_frame(&mut self) -> Frame {
        match self.read_frame_or_end().await {
            Ok(frame) => frame,
            Err(end) => panic!("a frame was due, not {end:?} after {:?}", self.text()),
        }
    }

    /// Reads a frame, or finds that the other side has ended.
    pub async fn read_frame_or_end(&mut self) -> Result<Frame, End> {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.buffer) {
                self.buffer.drain(..length);
                return Ok(frame);
            }
            self.fill("a frame").await?;
        }
    }

    /// Reads a close frame, and returns its code.
    pub async fn read_close(&mut self) -> Option<u16> {
        self.read_frame().await.close_code()
    }

    /// Reads until the other side ends: what came, and how it ended.
    pub async fn read_to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill("the end").await {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Waits until the other side ends, and expects no byte before.
    pub async fn expect_end(&mut self) -> End {
        let (bytes, end) = self.read_to_end().await;
        assert!(
            bytes.is_empty(),
            "the end was due, not {:?}",
            shorten(&bytes)
        );
        end
    }

    /// Waits until something has come, and leaves it unread.
    pub async fn something_came(&mut self) {
        if self.buffer.is_empty() {
            if let Link::Plain(socket) = &self.stream {
                let mut byte = [0];
                within("a byte", socket.peek(&mut byte)).await.unwrap();
            } else {
                self.fill("a byte").await.ok();
            }
        }
    }

    /// Expects that nothing comes, neither bytes nor an end.
    pub async fn stays_silent(&mut self) {
        if self.buffer.is_empty() && self.end.is_none() {
            // Cancelled, it has read nothing.
            match tokio::time::timeout(GRACE, self.fill("nothing")).await {
                Err(_nothing_came) => return,
                Ok(_found) => {}
            }
        }
        panic!("silence was due, not {:?} {:?}", self.text(), self.end);
    }

    /// As the upstream: reads a handshake, and agrees to it.
    pub async fn accept_handshake(&mut self) -> Head {
        self.accept_handshake_with(&[]).await
    }

    /// As the upstream: reads a handshake, and agrees to it with more lines.
    pub async fn accept_handshake_with(&mut self, lines: &[&str]) -> Head {
        let head = self.read_head().await;
        self.send(switching(&head, lines)).await;
        head
    }

    /// As the client: shakes hands at `target`, which must work.
    pub async fn upgrade(&mut self, target: &str) -> Head {
        self.request(&Request::handshake(target)).await;
        let head = self.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        head
    }

    /// Closes a session from this side, and waits for the answer and the end of the connection.
    pub async fn close_session(mut self) {
        self.send_frame(&Frame::close(1000, "").from_client()).await;
        while self.read_frame().await.opcode != frame::CLOSE {}
        self.read_to_end().await;
    }

    async fn fill(&mut self, what: &str) -> Result<(), End> {
        if let Some(end) = self.end {
            return Err(end);
        }
        self.buffer.reserve(64 * 1024);
        let reading = self.stream.read_buf(&mut self.buffer);
        let read = crate::time::within_limit(self.patience, what, reading).await;
        let end = match read {
            Ok(0) => End::Fin,
            Ok(_) => return Ok(()),
            Err(_reset) => End::Reset,
        };
        self.end = Some(end);
        Err(end)
    }

    fn text(&self) -> String {
        shorten(&self.buffer)
    }
}

/// The 101 that agrees to the handshake `head`, with more lines.
///
/// # Panics
/// When `head` is not a handshake as RFC 6455 section 4.1 has it.
#[must_use]
pub fn switching(head: &Head, lines: &[&str]) -> Vec<u8> {
    assert_eq!(head.method(), "GET", "{head:?}");
    assert!(head.is_upgrade(), "{head:?}");
    assert_eq!(head.field("Sec-WebSocket-Version"), Some("13"), "{head:?}");
    let key = head.field("Sec-WebSocket-Key");
    let accept = accept_for(key.unwrap_or_else(|| panic!("no key in {head:?}")));
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    for line in lines {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    (answer + "\r\n").into_bytes()
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

fn shorten(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(400)];
    format!("{} bytes: {}", bytes.len(), shown.escape_ascii())
}
