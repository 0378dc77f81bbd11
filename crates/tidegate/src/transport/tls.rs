//! TLS over a socket, by rustls's unbuffered half: it holds the keys, and the bytes are ours.
//!
//! What is read and what is written goes through scratch buffers of the thread. Kept is only what
//! cannot go on: the beginning of a record whose end has not come, what a reader had no room for, and
//! what the kernel does not take.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::engine::{Engine, RECORD, Sealed, Sink, Turn, Word};
use super::socket::Socket;
use crate::tls::Secured;
use crate::tls::server::asked_for;

/// The most that is read at once, behind the beginning of a record that was kept.
const READ: usize = 128 * 1024;
/// The most that is sealed at once, and so the most that is kept for a peer that does not take it.
const WORD: usize = 64 * 1024;
thread_local! {
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECORD + READ].into());
    static GATHERED: RefCell<Vec<u8>> = RefCell::default();
    static SEALED: RefCell<Sealed> = RefCell::default();
}

/// TLS on one stream.
pub(super) struct Tls {
    engine: Engine,
    /// The beginning of a record, or of a message of the handshake.
    partial: Vec<u8>,
    /// What the peer said, and its reader had no room for.
    ahead: BytesMut,
    /// What was sealed, and the kernel has not taken.
    unsent: BytesMut,
    /// The name that a client asked for.
    server_name: Option<Box<str>>,
    /// Why nothing more can be read, until that has been told.
    failure: Option<io::Error>,
    /// The peer has said something.
    has_heard: bool,
    /// What it said last was answered.
    spoke_last: bool,
    /// It has failed.
    is_broken: bool,
    /// The peer has said that it will say no more.
    has_ended: bool,
    /// We have.
    is_closing: bool,
    /// Dropped, it says nothing.
    aborts: bool,
}

impl Tls {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        UnbufferedServerConnection::new(config).map(|server| Self::new(Engine::Server(server)))
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let client = UnbufferedClientConnection::new(config, name);
        client.map(|client| Self::new(Engine::Client(client)))
    }

    fn new(engine: Engine) -> Self {
        Self {
            engine,
            partial: Vec::new(),
            ahead: BytesMut::new(),
            unsent: BytesMut::new(),
            server_name: None,
            failure: None,
            has_heard: false,
            spoke_last: false,
            is_broken: false,
            has_ended: false,
            is_closing: false,
            aborts: false,
        }
    }

    pub(super) fn secured(&mut self) -> Secured {
        Secured::of(self.engine.common(), self.server_name.take())
    }

    pub(super) const fn is_server(&self) -> bool {
        matches!(self.engine, Engine::Server(_))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.engine.common().is_handshaking()
    }

    /// Whether anything of the peer's handshake has come.
    pub(super) const fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Whether the last step of the handshake was ours: the peer has our acknowledgement with it.
    pub(super) const fn spoke_last(&self) -> bool {
        self.spoke_last
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended || self.is_broken
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    pub(super) const fn set_abort(&mut self, abort: bool) {
        self.aborts = abort;
    }

    /// Takes in what came during the handshake, and says what that calls for.
    pub(super) fn poll_step(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut input = std::mem::take(&mut self.partial);
        let opened = self.open(&mut input, None, socket, cx);
        self.spoke_last = opened.as_ref().is_ok_and(|has_spoken| *has_spoken);
        if let Some(name) = asked_for() {
            self.server_name = Some(name);
        }
        opened.and_then(|_| self.failure.take().map_or(Ok(()), Err))
    }

    /// Reads some of the peer's handshake; how much is there now.
    pub(super) fn poll_more(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        INPUT
            .with_borrow_mut(|input| {
                let mut buffer = ReadBuf::new(&mut input[..RECORD]);
                ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Err(truncated()));
                }
                self.partial.extend_from_slice(buffer.filled());
                self.has_heard = true;
                Poll::Ready(Ok(()))
            })
            .map_ok(|()| &self.partial[..])
    }

    pub(super) fn poll_read(
        &mut self,
        socket: &mut Socket,
        buffer: &mut ReadBuf<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.ahead.is_empty() {
            let fits = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(fits));
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        INPUT.with_borrow_mut(|input| {
            loop {
                if self.has_ended {
                    return Poll::Ready(Ok(()));
                }
                if self.is_broken {
                    return Poll::Ready(Err(self.take_failure()));
                }
                // What comes fits, or what does not is less than a record.
                let most = buffer.remaining().clamp(RECORD, READ);
                let held = self.partial.len();
                let mut read = ReadBuf::new(&mut input[held..held + most]);
                match ready!(Pin::new(&mut *socket).poll_read(cx, &mut read)) {
                    Ok(()) if read.filled().is_empty() => self.fail(truncated()),
                    Ok(()) => {
                        let end = held + read.filled().len();
                        input[..held].copy_from_slice(&self.partial);
                        // What it says to this, it says before it says anything else.
                        let _ = self.open(&mut input[..end], Some(buffer), socket, cx);
                    }
                    Err(error) => self.fail(error),
                }
                if buffer.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    pub(super) fn poll_write(
        &mut self,
        socket: &mut Socket,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(socket, cx))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let (first, second) = (filled.next(), filled.next());
        let Some(first) = first else {
            return Poll::Ready(Ok(0));
        };
        if second.is_none() || first.len() >= WORD {
            let word = &first[..first.len().min(WORD)];
            return Poll::Ready(self.say(Word::Data(word), socket, cx).map(|()| word.len()));
        }
        GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            for slice in slices {
                let fits = slice.len().min(WORD - gathered.len());
                gathered.extend_from_slice(&slice[..fits]);
            }
            let said = self.say(Word::Data(gathered), socket, cx);
            Poll::Ready(said.map(|()| gathered.len()))
        })
    }

    pub(super) fn poll_flush(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(socket, cx))?;
        Pin::new(socket).poll_flush(cx)
    }

    /// Says that we will say no more, then ends our side of the socket.
    pub(super) fn poll_shutdown(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(socket, cx))?;
        if !std::mem::replace(&mut self.is_closing, true) {
            self.say(Word::Goodbye, socket, cx)?;
            ready!(self.poll_unsent(socket, cx))?;
        }
        Pin::new(socket).poll_shutdown(cx)
    }

    /// The last words of a stream that is dropped: as much as goes out at once.
    pub(super) fn say_goodbye(&mut self, socket: &Socket) {
        if self.aborts || self.is_broken || self.is_closing || self.is_handshaking() {
            return;
        }
        while !self.unsent.is_empty() {
            match socket.try_write(&self.unsent) {
                Ok(written) if written > 0 => self.unsent.advance(written),
                _ => return,
            }
        }
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            if self.seal(Word::Goodbye, sealed).is_ok() {
                let _ = socket.try_write(sealed.bytes());
            }
        });
    }

    /// Opens what is whole of `input`, for `reader` or to be kept, and keeps the rest. A failure shows
    /// once what came before it has been read; the one that is told is that of answering. Whether it
    /// was answered.
    fn open(
        &mut self,
        input: &mut [u8],
        reader: Option<&mut ReadBuf<'_>>,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            let mut used = 0;
            let mut sink = Sink {
                reader,
                ahead: &mut self.ahead,
                sealed,
                has_ended: &mut self.has_ended,
                word: None,
            };
            let failure = loop {
                let (discard, turned) = self.engine.turn(&mut input[used..], &mut sink);
                used += discard;
                match turned {
                    Ok(Turn::Again) => {}
                    Ok(Turn::Rest | Turn::Said) => break None,
                    Err(error) => break Some(error),
                }
            };
            if failure.is_some() {
                // What it has to say to this comes out afterwards, and nothing more may go in.
                while self.engine.common().wants_write() {
                    let (discard, turned) = self.engine.turn(&mut input[used..], &mut sink);
                    used += discard;
                    if turned.is_err() {
                        break;
                    }
                }
            }
            self.keep(&input[used..]);
            let sent = self.send(sealed, socket, cx);
            if let Some(failure) = failure {
                self.fail(failure);
            }
            sent.map(|()| !sealed.bytes().is_empty())
        })
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    /// Seals a word and hands it to the kernel; what that does not take is kept.
    fn say(&mut self, word: Word<'_>, socket: &mut Socket, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_broken {
            return Err(self.take_failure());
        }
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            self.seal(word, sealed)?;
            self.send(sealed, socket, cx)
        })
    }

    fn seal(&mut self, word: Word<'_>, sealed: &mut Sealed) -> io::Result<()> {
        let mut input = std::mem::take(&mut self.partial);
        let mut used = 0;
        let mut sink = Sink {
            reader: None,
            ahead: &mut self.ahead,
            sealed,
            has_ended: &mut self.has_ended,
            word: Some(word),
        };
        let said = loop {
            let (discard, turned) = self.engine.turn(&mut input[used..], &mut sink);
            used += discard;
            match turned {
                Ok(Turn::Again) => {}
                Ok(Turn::Said) => break Ok(()),
                Ok(Turn::Rest) => break Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => break Err(error),
            }
        };
        input.drain(..used);
        self.partial = input;
        said
    }

    fn send(
        &mut self,
        sealed: &Sealed,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut bytes = sealed.bytes();
        while self.unsent.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut *socket).poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) if written > 0 => bytes = &bytes[written..],
                Poll::Ready(Ok(_)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn poll_unsent(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, failure: io::Error) {
        self.is_broken = true;
        self.failure.get_or_insert(failure);
    }

    fn take_failure(&mut self) -> io::Error {
        let failure = self.failure.take();
        failure.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }
}

/// An end that could be anybody's: what came before it need not be all.
fn truncated() -> io::Error {
    let what = "the peer ended the connection without ending its side of TLS";
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_broken", &self.is_broken)
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}
