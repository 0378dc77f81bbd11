//! The downstream end of HTTP/1: one connection, request after request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio::time::{sleep, timeout};
use tokio_util::io::poll_read_buf;

use super::body::{self, BodyDecoder, BodyFailure};
use super::chunk::Decoded;
use super::end::find_end;
use super::head::{self, Framing, HeadError, Limits, RequestHead};
use super::pace::{MinRate, Pace};
use super::stall::Stall;
use super::write::{Filled, MessageWriter, Outbound};
use super::{READ_SIZE, poll_fill};
use crate::body::{Body, BodyError, Pulled, Stream};
use crate::transport::Transport;

/// How many bytes behind a request are read before its answer is out.
const MAX_AHEAD: usize = 64 * 1024;
/// Empty lines in front of a request that are skipped (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 4;
/// How long a closing connection is still read, so that an answer is not lost to a reset by a client
/// that sends first and reads then: in all, and without a byte of it.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);
/// Room in the kernel for what a client sends ahead beyond that: its end shows only behind it.
const ROOM_AHEAD: usize = 256 * 1024;
/// How often a client that is not being read is looked after.
const LOOK: Duration = Duration::from_millis(250);

/// A downstream connection. Clones share it: the body of a request reads from it while the answer
/// is written to it.
#[derive(Debug, Clone)]
pub(crate) struct DownstreamIo(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    input: BytesMut,
    body: BodyDecoder,
    /// The client waits for a 100 before it sends the body.
    owes_continue: bool,
    /// A 100 that is on its way out.
    interim: Outbound,
    /// How long the client may take nothing of its answer.
    stall: Duration,
    /// Bytes of bodies since the last head: of the request, and of its answer.
    carried: (u64, u64),
}

/// Why no request head came.
#[derive(Debug)]
pub(crate) enum NoHead {
    /// The client left, or the connection was idle for too long: nothing to answer.
    Over,
    /// The head did not come in time: 408.
    Slow,
    /// What came is refused.
    Refused(HeadError),
}

/// How a client is watched while its answer is made.
enum Watched {
    /// It is gone.
    Gone,
    /// A read will tell.
    ByReading,
    /// It may not be read now, because its body is under way.
    NotAtAll,
    /// Nor because it has sent more ahead than is held.
    TooFarAhead,
}

/// Why an answer did not get out whole.
#[derive(Debug)]
pub(crate) enum AnswerFailure {
    /// The client is gone, or takes nothing any more.
    Client,
    /// The answer's body failed where it comes from.
    Body(BodyError),
}

impl DownstreamIo {
    /// A connection whose client may take nothing of its answer for `stall`.
    pub(crate) fn new(transport: Transport, stall: Duration) -> Self {
        transport.outlast(stall);
        Self(Arc::new(Mutex::new(Inner {
            transport,
            input: BytesMut::new(),
            body: BodyDecoder::Done,
            owes_continue: false,
            interim: Outbound::default(),
            stall,
            carried: (0, 0),
        })))
    }

    /// A panic elsewhere leaves nothing half-done here that matters: the connection ends with it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next request head: `idle` for its first byte, `slow` from there to its end.
    pub(crate) async fn read_head(
        &self,
        limits: &Limits,
        idle: Duration,
        slow: Duration,
    ) -> Result<RequestHead, NoHead> {
        self.lock().carried = (0, 0);
        let mut skipped = 0;
        let first = poll_fn(|cx| self.lock().poll_first_byte(&mut skipped, cx));
        match timeout(idle, first).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(NoHead::Over),
        }
        let mut scanned = 0;
        match timeout(
            slow,
            poll_fn(|cx| self.lock().poll_head(&mut scanned, limits, cx)),
        )
        .await
        {
            Ok(head) => head,
            Err(_elapsed) => Err(NoHead::Slow),
        }
    }

    /// The body of the request whose head was read last, which comes at `least` so fast.
    pub(crate) fn body(
        &self,
        framing: Framing,
        expects_continue: bool,
        least: Option<MinRate>,
    ) -> Body {
        let body = BodyDecoder::new(framing);
        if body.is_done() {
            return Body::empty();
        }
        let mut inner = self.lock();
        inner.body = body;
        inner.owes_continue = expects_continue && inner.input.is_empty();
        drop(inner);
        Body::stream(RequestBody {
            io: self.clone(),
            pace: least.map(Pace::new),
        })
    }

    /// Waits until the client is gone: its stream has failed, or it has ended its side of it, which a
    /// client that still wants its answer does not do. What it sends ahead is kept, up to a bound;
    /// where it is not read (behind the bound, and while a body is under way) its socket is looked
    /// at now and then.
    pub(crate) async fn gone(&self) {
        let mut look = None;
        let mut widened = false;
        poll_fn(|cx| {
            loop {
                let watched = self.lock().poll_gone(cx);
                match watched {
                    Watched::Gone => return Poll::Ready(()),
                    Watched::ByReading => return Poll::Pending,
                    Watched::TooFarAhead if !widened => {
                        widened = true;
                        self.lock().transport.make_room(ROOM_AHEAD);
                    }
                    Watched::NotAtAll | Watched::TooFarAhead => {}
                }
                let timer = look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
                ready!(timer.as_mut().poll(cx));
                look = None;
                if self.lock().transport.has_ended() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// How many bytes of the last request's body were read, and of its answer's handed over.
    pub(crate) fn carried(&self) -> (u64, u64) {
        self.lock().carried
    }

    /// Whether bytes behind the request are at hand.
    pub(crate) fn has_bytes_ahead(&self) -> bool {
        !self.lock().input.is_empty()
    }

    /// Whether the request's body has been read to its end. What is at hand of it is passed over,
    /// unless somebody still holds the body and may be sending it on.
    pub(crate) fn request_is_over(&self) -> bool {
        let is_held = Arc::strong_count(&self.0) > 1;
        let mut inner = self.lock();
        let Inner { body, input, .. } = &mut *inner;
        while !is_held
            && !body.is_done()
            && matches!(body.decode(input), Ok(Decoded::Data(_) | Decoded::End(_)))
        {}
        body.is_done()
    }

    /// Writes a whole message. Gives up when the client takes nothing of it.
    pub(crate) async fn write(
        &self,
        head: BytesMut,
        framing: Framing,
        mut body: Body,
    ) -> Result<(), AnswerFailure> {
        let mut writer = MessageWriter::new(head, framing);
        let mut stall = Stall::new(self.lock().stall);
        let ends_by_closing = framing == Framing::UntilClose;
        if ends_by_closing {
            // Whatever drops the connection meanwhile must not look like the end of the body.
            self.lock().transport.set_abort_on_drop(true);
        }
        poll_fn(|cx| self.poll_write(&mut writer, &mut body, &mut stall, cx)).await?;
        if ends_by_closing {
            self.lock().transport.set_abort_on_drop(false);
        }
        Ok(())
    }

    fn poll_write(
        &self,
        writer: &mut MessageWriter,
        body: &mut Body,
        stall: &mut Stall,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), AnswerFailure>> {
        loop {
            // The lock is not held here: the body may be reading this same connection.
            let filled = writer.fill(body, cx);
            let mut progress = false;
            let mut inner = self.lock();
            let wrote = inner.poll_flush(&mut writer.outbound, &mut progress, cx);
            inner.carried.1 = writer.written();
            drop(inner);
            if progress {
                stall.is_over();
            }
            match (wrote, filled) {
                (Poll::Ready(Err(_gone)), _) => return Poll::Ready(Err(AnswerFailure::Client)),
                (_, Err(error)) => return Poll::Ready(Err(AnswerFailure::Body(error))),
                (Poll::Ready(Ok(())), Ok(Filled::Done)) => return body.poll_settle(cx).map(Ok),
                (Poll::Ready(Ok(())), Ok(Filled::Enough)) => {}
                (Poll::Ready(Ok(())), Ok(Filled::Waiting)) => return Poll::Pending,
                (Poll::Pending, Ok(_)) => {
                    body.poll_aside(cx);
                    ready!(stall.poll_end(|| self.lock().transport.delivery(), cx));
                    return Poll::Ready(Err(AnswerFailure::Client));
                }
            }
        }
    }

    /// Ends the connection so that the last answer still arrives: sends FIN, then reads on for a
    /// moment (RFC 9112 section 9.6).
    pub(crate) async fn close(self) {
        let closing = async {
            let finished = poll_fn(|cx| Pin::new(&mut self.lock().transport).poll_shutdown(cx));
            if finished.await.is_err() {
                return;
            }
            let read = || {
                poll_fn(|cx| {
                    let mut inner = self.lock();
                    inner.input.clear();
                    inner.poll_input(cx)
                })
            };
            while matches!(timeout(LINGER_SILENCE, read()).await, Ok(Ok(read)) if read > 0) {}
        };
        // A client that keeps sending is cut off.
        let _ = timeout(LINGER, closing).await;
    }

    /// Ends the connection with a reset.
    pub(crate) fn abort(self) {
        if let Some((transport, _input)) = self.into_parts() {
            transport.abort();
        }
    }

    /// Takes the connection out, with the bytes that were read ahead; `None` while a body holds it.
    pub(crate) fn into_parts(self) -> Option<(Transport, BytesMut)> {
        let inner = Arc::into_inner(self.0)?
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Some((inner.transport, inner.input))
    }
}

impl Inner {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        poll_fill(&mut self.transport, &mut self.input, cx)
    }

    /// Whether a first byte came, behind so many empty lines; `false` when the client left. No buffer
    /// is held meanwhile.
    fn poll_first_byte(&mut self, skipped: &mut usize, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            while *skipped < MAX_EMPTY_LINES && self.input.starts_with(b"\r\n") {
                let _ = self.input.split_to(2);
                *skipped += 1;
            }
            if !self.input.is_empty() && self.input[..] != *b"\r" {
                return Poll::Ready(true);
            }
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            match ready!(self.poll_input(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(_) => {}
            }
        }
    }

    fn poll_head(
        &mut self,
        scanned: &mut usize,
        limits: &Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RequestHead, NoHead>> {
        loop {
            match find_end(&self.input, scanned, limits) {
                Err(refused) => {
                    return Poll::Ready(Err(NoHead::Refused(start_line_first(
                        &self.input,
                        limits,
                        refused,
                    ))));
                }
                Ok(Some(end)) => {
                    let head = head::parse_request(self.input.split_to(end), limits);
                    return Poll::Ready(head.map_err(NoHead::Refused));
                }
                Ok(None) => {}
            }
            match ready!(self.poll_input(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(NoHead::Over)),
                Ok(_) => {}
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Watched {
        // While the body is under way only whoever pulls it may read.
        while self.body.is_done() && self.input.len() < MAX_AHEAD {
            match self.poll_input(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Watched::Gone,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Watched::ByReading,
            }
        }
        if self.body.is_done() {
            Watched::TooFarAhead
        } else {
            Watched::NotAtAll
        }
    }

    fn poll_flush(
        &mut self,
        outbound: &mut Outbound,
        progress: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(self.interim.poll_write(&mut self.transport, progress, cx))?;
        if outbound.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            outbound.poll_write(&mut self.transport, progress, cx)
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, BodyFailure>> {
        loop {
            match self.body.decode(&mut self.input)? {
                Decoded::NeedMore => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            if std::mem::take(&mut self.owes_continue) {
                self.interim
                    .push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
            }
            if !self.interim.is_empty() {
                let _ = self
                    .interim
                    .poll_write(&mut self.transport, &mut false, cx)?;
            }
            self.input.reserve(READ_SIZE);
            if ready!(poll_read_buf(
                Pin::new(&mut self.transport),
                cx,
                &mut self.input
            ))? == 0
            {
                self.body.finish()?;
            }
        }
    }
}

/// A head that is too large because its first line does not end is a target that is too long.
fn start_line_first(input: &[u8], limits: &Limits, refused: HeadError) -> HeadError {
    let line = memchr::memchr(b'\n', input).unwrap_or(input.len());
    if refused == HeadError::TooLarge && line > limits.target {
        HeadError::TargetTooLong
    } else {
        refused
    }
}

/// A request's body, read from the connection that it came on.
#[derive(Debug)]
struct RequestBody {
    io: DownstreamIo,
    pace: Option<Pace>,
}

impl Stream for RequestBody {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let mut inner = self.io.lock();
        if inner.body.is_done() {
            return Poll::Ready(None);
        }
        let Poll::Ready(decoded) = inner.poll_body(cx) else {
            let Some(pace) = &mut self.pace else {
                return Poll::Pending;
            };
            ready!(pace.poll_too_slow(cx));
            return Poll::Ready(Some(Err(BodyFailure::Slow.into())));
        };
        if let Ok(Decoded::Data(data)) = &decoded {
            inner.carried.0 += data.len() as u64;
            if let Some(pace) = &mut self.pace {
                pace.received(data.len());
            }
        }
        Poll::Ready(body::part(decoded))
    }

    fn length(&self) -> Option<u64> {
        self.io.lock().body.remaining()
    }
}
