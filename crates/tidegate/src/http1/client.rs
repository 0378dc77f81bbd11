//! The upstream end of HTTP/1: one call on one connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use super::body::{self, BodyDecoder, BodyFailure};
use super::chunk::Decoded;
use super::end::find_end;
use super::head::{self, Framing, HeadError, Limits, ResponseHead};
use super::write::{Filled, MessageWriter};
use super::{READ_SIZE, poll_fill};
use crate::body::{Body, BodyError, Pulled, Stream};
use crate::config::defaults;
use crate::tls::client::{ClientTls, Trust};
use crate::transport::Transport;

/// Heads of 1xx answers that are passed over before the final one.
const MAX_INTERIM: usize = 16;

/// An upstream connection between calls.
#[derive(Debug)]
pub(crate) struct UpstreamIo {
    transport: Transport,
    input: BytesMut,
    /// Whom we believed when TLS was begun.
    trust: Option<Arc<Trust>>,
}

/// Why a call brought no answer head.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The request's own body failed: the client is gone or broke the rules.
    Request(BodyError),
    /// The connection failed. `answered` tells whether a byte of an answer had come.
    Connection {
        /// What the connection said.
        error: io::Error,
        /// Whether a byte of an answer had come.
        answered: bool,
    },
    /// The answer's head is refused.
    Malformed(HeadError),
}

/// A call under way: the request is sent while the answer is awaited and read.
pub(crate) struct Call {
    io: UpstreamIo,
    method: Method,
    upload: MessageWriter,
    body: Body,
    /// The upload waits for a 100, or for a final answer.
    awaits_continue: bool,
    /// Writing failed: the answer may be there all the same, and no second call may follow.
    broken: bool,
    /// The upstream took something since it was asked last.
    progress: bool,
    scanned: usize,
    interim: usize,
    answered: bool,
    /// How long the upload may stand still once its answer is over.
    upload_stall: Duration,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl UpstreamIo {
    pub(crate) fn new(transport: Transport, trust: Option<Arc<Trust>>) -> Self {
        Self {
            transport,
            input: BytesMut::new(),
            trust,
        }
    }

    /// Whether its peer is still believed.
    pub(crate) fn is_trusted(&self, tls: Option<&Arc<ClientTls>>) -> bool {
        match (tls, &self.trust) {
            (Some(tls), Some(trust)) => tls.holds(trust),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether the idle connection can serve a call: neither ended nor with bytes that nobody
    /// asked for.
    pub(crate) fn poll_is_fresh(&mut self, cx: &mut Context<'_>) -> bool {
        self.input.is_empty() && poll_fill(&mut self.transport, &mut self.input, cx).is_pending()
    }

    /// Takes the connection apart into the stream and what was read behind the last answer.
    pub(crate) fn into_parts(self) -> (Transport, BytesMut) {
        (self.transport, self.input)
    }

    /// Begins a call. `head` is the whole request head.
    pub(crate) fn call(
        self,
        method: Method,
        head: BytesMut,
        framing: Framing,
        body: Body,
        awaits_continue: bool,
    ) -> Call {
        Call {
            io: self,
            method,
            upload: MessageWriter::new(head, framing),
            body,
            awaits_continue,
            broken: false,
            progress: false,
            scanned: 0,
            interim: 0,
            answered: false,
            upload_stall: defaults::BODY_TIMEOUT,
        }
    }
}

impl Call {
    /// Sends the request and waits for the final answer's head; 101 is final.
    pub(crate) fn poll_answer(
        &mut self,
        limits: &Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, CallFailure>> {
        loop {
            self.poll_upload(cx).map_err(CallFailure::Request)?;
            match find_end(&self.io.input, &mut self.scanned, limits) {
                Err(refused) => return Poll::Ready(Err(CallFailure::Malformed(refused))),
                Ok(None) => {}
                Ok(Some(end)) => {
                    self.scanned = 0;
                    let bytes = self.io.input.split_to(end);
                    let head = head::parse_response(bytes, &self.method, limits)
                        .map_err(CallFailure::Malformed)?;
                    if !head.status.is_informational() || head.status.as_u16() == 101 {
                        return Poll::Ready(Ok(head));
                    }
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Poll::Ready(Err(CallFailure::Malformed(HeadError::TooLarge)));
                    }
                    self.awaits_continue &= head.status.as_u16() != 100;
                    continue;
                }
            }
            let answered = self.answered;
            let failed = |error| CallFailure::Connection { error, answered };
            match ready!(poll_fill(&mut self.io.transport, &mut self.io.input, cx)) {
                Ok(0) => return Poll::Ready(Err(failed(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => self.answered = true,
                Err(error) => return Poll::Ready(Err(failed(error))),
            }
        }
    }

    /// Whether the upstream took anything since this was asked last.
    pub(crate) const fn progressed(&mut self) -> bool {
        std::mem::replace(&mut self.progress, false)
    }

    /// Whether the upload waits for more of the request's body.
    pub(crate) fn awaits_body(&self) -> bool {
        !self.awaits_continue && !self.broken && !self.upload.is_done() && !self.has_unsent()
    }

    /// Whether words of the request still wait for the upstream to take them.
    fn has_unsent(&self) -> bool {
        !self.upload.outbound.is_empty() || self.io.transport.holds_unsent()
    }

    /// The upstream was asked for a 100 and keeps silent: the body goes out all the same (RFC 9110
    /// section 10.1.1).
    pub(crate) const fn stop_awaiting_continue(&mut self) {
        self.awaits_continue = false;
    }

    /// How long the upload may stand still once its answer is over; 30 s.
    pub(crate) const fn set_upload_stall(&mut self, stall: Duration) {
        self.upload_stall = stall;
    }

    /// Whether the upload waits for a 100.
    pub(crate) const fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// The request is out to its last byte.
    pub(crate) fn is_sent(&self) -> bool {
        self.upload.is_done() && !self.has_unsent()
    }

    /// Sends what can be sent. Only a failure of the request's own body is an error: what the
    /// upstream thinks of the request shows in its answer.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while !self.broken && !self.is_sent() {
            let filled = if self.awaits_continue {
                Filled::Waiting
            } else {
                self.upload.fill(&mut self.body, cx)?
            };
            match self
                .upload
                .outbound
                .poll_write(&mut self.io.transport, &mut self.progress, cx)
            {
                Poll::Ready(Ok(())) if filled == Filled::Waiting => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_refused)) => self.broken = true,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Takes the connection out after a 101.
    pub(crate) fn into_io(self) -> UpstreamIo {
        self.io
    }

    /// The body of the answer with this head; `done` gets the connection back if it can serve
    /// another call.
    pub(crate) fn into_body(
        self,
        head: &ResponseHead,
        done: impl FnOnce(Option<UpstreamIo>) + Send + Sync + 'static,
    ) -> Body {
        let body = BodyDecoder::new(head.framing);
        let reusable = head.keep_alive;
        let mut stream = ResponseBody {
            call: Some(self),
            body,
            reusable,
            done: Some(Box::new(done)),
            stalled: None,
        };
        if stream.body.is_done() && !stream.is_uploading() {
            stream.finish();
            return Body::empty();
        }
        Body::stream(stream)
    }
}

/// Whether it is we who want no more of a request's body.
fn is_refused(error: &BodyError) -> bool {
    let refused = error.downcast_ref();
    matches!(
        refused,
        Some(BodyFailure::TooLarge { .. } | BodyFailure::Slow)
    )
}

type Done = Box<dyn FnOnce(Option<UpstreamIo>) + Send + Sync>;

/// An answer's body, read from the upstream connection, which it holds until its end.
struct ResponseBody {
    call: Option<Call>,
    body: BodyDecoder,
    reusable: bool,
    done: Option<Done>,
    /// Runs while the upload behind the answer makes no progress.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// Whether the upstream still takes the request, though its answer may be over.
    fn is_uploading(&self) -> bool {
        let unsent = |call: &Call| !call.broken && !call.awaits_continue && !call.is_sent();
        self.reusable && self.call.as_ref().is_some_and(unsent)
    }

    /// The answer is over: gives the connection back unless something is still open on it.
    fn finish(&mut self) {
        let reusable = self.reusable && self.body.is_done();
        let io = self
            .call
            .take()
            .filter(|call| reusable && !call.broken && call.is_sent());
        let io = io.map(Call::into_io).filter(|io| io.input.is_empty());
        if let Some(done) = self.done.take() {
            done(io);
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, BodyFailure>> {
        let Some(call) = &mut self.call else {
            return Poll::Ready(Err(BodyFailure::Cut));
        };
        loop {
            match self.body.decode(&mut call.io.input)? {
                Decoded::NeedMore => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            call.io.input.reserve(READ_SIZE);
            if ready!(poll_read_buf(
                Pin::new(&mut call.io.transport),
                cx,
                &mut call.io.input
            ))? == 0
            {
                self.body.finish()?;
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Stream for ResponseBody {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        self.poll_aside(cx);
        if self.body.is_done() {
            return Poll::Ready(None);
        }
        let decoded = ready!(self.poll_decoded(cx));
        if self.body.is_done() && decoded.is_ok() && !self.is_uploading() {
            self.finish();
        }
        Poll::Ready(body::part(decoded))
    }

    fn poll_aside(&mut self, cx: &mut Context<'_>) {
        let Some(call) = &mut self.call else {
            return;
        };
        match call.poll_upload(cx) {
            Ok(()) => {}
            // Nobody will send the rest, and the upstream must not wait for it: the answer is cut.
            Err(error) if is_refused(&error) => self.call = None,
            // The client broke off its request; that shows where its answer is written.
            Err(_broken) => call.broken = true,
        }
    }

    /// An answer that is over does not end an upload that the upstream still reads.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_aside(cx);
        if self.is_uploading() {
            if self.call.as_mut().is_some_and(Call::progressed) {
                self.stalled = None;
            }
            let stall = self
                .call
                .as_ref()
                .map_or(Duration::ZERO, |call| call.upload_stall);
            let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
            ready!(timer.as_mut().poll(cx));
        }
        self.finish();
        Poll::Ready(())
    }

    fn length(&self) -> Option<u64> {
        self.body.remaining()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
