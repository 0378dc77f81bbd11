//! One TCP connection that holds nothing while nothing moves, and tells how it ends.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tidegate_tests::frame::{Frame, PING, PONG};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::soak::talk::Fault;

/// How long anything may take that has no time of its own. The machine may be busy with other
/// things, so only what never comes is missed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// One read.
const READ: usize = 32 * 1024;
/// The largest head that is read.
const HEAD: usize = 64 * 1024;

/// How the other side ended its sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// What was read and not taken.
    input: Vec<u8>,
    /// What is to be written beside reading.
    output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Result<Self, Fault> {
        stream.set_nodelay(true).map_err(words)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    /// Connects from the address `from`.
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr) -> Result<Self, Fault> {
        let socket = TcpSocket::new_v4().map_err(words)?;
        socket.bind((from, 0).into()).map_err(words)?;
        match timeout(PATIENCE, socket.connect(to)).await {
            Ok(Ok(stream)) => Self::new(stream),
            Ok(Err(error)) => Err(format!("not connected: {error}")),
            Err(_elapsed) => Err("not connected in time".to_owned()),
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match timeout(PATIENCE, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot send: {error}")),
            Err(_elapsed) => Err("nobody takes what is sent".to_owned()),
        }
    }

    /// Sends `bytes` while something is read.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Says that nothing more will be sent, and reads on.
    pub(crate) async fn finish(&mut self) {
        // The other side may be gone already, which its end tells.
        let _ = self.stream.shutdown().await;
    }

    /// Drops the connection with a reset.
    pub(crate) fn reset(self) {
        self.reset_when_dropped();
    }

    pub(crate) fn reset_when_dropped(&self) {
        // It fails only for a socket that is gone.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads one frame. Dropped before it is there, it loses nothing.
    pub(crate) async fn frame(&mut self) -> Result<Frame, End> {
        loop {
            if let Some((frame, taken)) = Frame::parse(&self.input) {
                self.take(taken);
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Reads the next frame that is no ping or pong, and answers pings with `pong`.
    pub(crate) async fn telling_frame(&mut self, role: Role) -> Result<Frame, End> {
        loop {
            let frame = self.frame().await?;
            match frame.opcode {
                PING => self.queue(&role.frame(Frame::new(PONG, frame.payload))),
                PONG => {}
                _ => return Ok(frame),
            }
        }
    }

    /// Reads a head: the text before the empty line.
    pub(crate) async fn head(&mut self) -> Result<Head, End> {
        let mut seen = 0;
        loop {
            let at = self.input[seen..].windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(at) = at {
                let end = seen + at;
                let text = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.take(end + 4);
                return Ok(Head { text });
            }
            seen = self.input.len().saturating_sub(3);
            if self.input.len() > HEAD {
                return Err(End::Reset);
            }
            self.fill().await?;
        }
    }

    /// Reads the body that belongs to `head`; a cut one is an error.
    pub(crate) async fn body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        if let Some(length) = head.field("content-length") {
            let length = length.parse().map_err(|_error| End::Reset)?;
            return self.exactly(length).await;
        }
        let mut body = Vec::new();
        if head.field("transfer-encoding").is_none() {
            return Ok(body);
        }
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).map_err(|_error| End::Reset)?;
            body.extend(self.exactly(size).await?);
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads to the end, and says what came before it and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill().await {
                return (std::mem::take(&mut self.input), end);
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.input.len() < count {
            self.fill().await?;
        }
        let bytes = self.input[..count].to_vec();
        self.take(count);
        Ok(bytes)
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.input.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..at]).into_owned();
                self.take(at + 2);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    fn take(&mut self, count: usize) {
        if count == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..count);
        }
    }

    /// Reads once, and writes meanwhile what is queued.
    async fn fill(&mut self) -> Result<(), End> {
        loop {
            let interest = if self.output.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let ready = self.stream.ready(interest).await;
            let ready = ready.map_err(|_error| End::Reset)?;
            if ready.is_writable() && !self.output.is_empty() {
                self.write_some();
            }
            if let Some(done) = self.read_some() {
                return done;
            }
        }
    }

    fn write_some(&mut self) {
        match self.stream.try_write(&self.output) {
            Ok(written) if written == self.output.len() => self.output = Vec::new(),
            Ok(written) => drop(self.output.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // What may still be read comes first; reading tells the end.
            Err(_) => self.output = Vec::new(),
        }
    }

    fn read_some(&mut self) -> Option<Result<(), End>> {
        let mut bytes = [0; READ];
        match self.stream.try_read(&mut bytes) {
            Ok(0) => Some(Err(End::Fin)),
            Ok(count) => {
                self.input.extend_from_slice(&bytes[..count]);
                Some(Ok(()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(Err(End::Reset)),
        }
    }
}

/// Whose frames: a client masks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Upstream,
}

impl Role {
    /// The bytes of `frame` as this side sends it.
    pub(crate) fn frame(self, frame: Frame) -> Vec<u8> {
        match self {
            Self::Client => frame.from_client().bytes(),
            Self::Upstream => frame.bytes(),
        }
    }
}

/// A head, without its empty line.
#[derive(Debug)]
pub(crate) struct Head {
    text: String,
}

impl Head {
    /// The status of an answer; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// The path of a request, in segments.
    pub(crate) fn path(&self) -> Vec<&str> {
        self.word(1).split('/').skip(1).collect()
    }

    /// The value of the first line named `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.split("\r\n").skip(1);
        lines.find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn word(&self, place: usize) -> &str {
        let line = self.text.split("\r\n").next().unwrap_or_default();
        line.split(' ').nth(place).unwrap_or_default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it goes into `map_err`")]
fn words(error: io::Error) -> Fault {
    error.to_string()
}

/// Waits for `what`, at most [`PATIENCE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Fault> {
    let waited = timeout(PATIENCE, future).await;
    waited.map_err(|_elapsed| format!("no {what} within {PATIENCE:?}"))
}
