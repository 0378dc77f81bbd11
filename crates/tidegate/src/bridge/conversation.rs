//! One call and what is sent of its answer: exactly one terminal frame.

use std::future::Future;
use std::time::Duration;

use http::Method;
use tidegate_ws::{Message, SendHalf};

use super::answer::{Answered, Correlation, MediaType};
use super::call::{self, Call, Caller, Held};
use super::envelope::Id;
use super::headers;
use super::problem::Problem;
use super::stream::{Chunks, Window};
use crate::access_log::Bridged;
use crate::exchange::Answer;
use crate::metrics::CallMeter;
use crate::task::{self, Kind};

/// For how long a streamed answer may be silent: events may be rare, and its client can take it back.
const SILENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One call of a session.
pub(super) struct Conversation<'a> {
    pub(super) caller: &'a Caller,
    pub(super) sender: SendHalf,
    /// Who is answered.
    pub(super) to: Correlation,
    /// What its client grants, where the answer is streamed.
    pub(super) window: Window,
}

/// The last frame of a call.
enum Last {
    Frame(String),
    /// There is none: old clients may want silence.
    Silence,
}

impl Conversation<'_> {
    /// Holds the call to its terminal frame, whatever becomes of it; returns its id.
    pub(super) async fn hold(
        self,
        call: Call,
        mut meter: CallMeter,
        cancelled: impl Future<Output = Problem>,
    ) -> Option<Id> {
        let mut chunks = None;
        let trace = call.trace.clone();
        let mut held = Held::nothing(self.caller);
        let last = {
            let talk = self.talk(call, &mut meter, &mut held, &mut chunks);
            let talk = task::survive(Kind::Exchange, self.caller.worker.panics(), talk);
            tokio::select! {
                biased;
                last = talk => last.unwrap_or_else(|| Err(Problem::internal("a fault of the gateway ended the call"))),
                problem = cancelled => Err(problem),
            }
        };
        let last = last.map_err(|problem| problem.traced(&trace));
        if let Err(problem) = &last {
            meter.failed(problem.status.as_u16(), problem.code);
        }
        let frame = match (last, &chunks) {
            (Ok(Last::Silence), _) => None,
            (Ok(Last::Frame(frame)), _) => Some(frame),
            (Err(problem), Some(chunks)) => Some(chunks.end(Some(&problem), None)),
            (Err(problem), None) if problem.code == "cancelled" => self.to.end(&problem),
            (Err(_), None) if self.caller.is_silent(&self.to) => None,
            (Err(problem), None) => Some(self.to.refusal(&problem, None)),
        };
        if let Some(frame) = frame {
            // Where it fails the session is over, and nobody is left to be answered.
            let _ = self.send(frame, &mut meter).await;
        }
        drop(held);
        self.to.id
    }

    async fn talk(
        &self,
        call: Call,
        meter: &mut CallMeter,
        held: &mut Held<'_>,
        streamed: &mut Option<Chunks>,
    ) -> Result<Last, Problem> {
        let plan = &self.caller.bridge.plan;
        let is_head = *call.method() == Method::HEAD;
        let (accept, wants_stream) = (call.accept, call.stream);
        let (mut answer, _permits) = call.answer(self.caller, meter).await?;
        meter.answered(answer.status.as_u16());
        let media_type = answer.headers.get("content-type");
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let kind = MediaType::parse(media_type.as_deref().unwrap_or_default());
        headers::for_client(&mut answer.headers, &plan.headers);
        if wants_stream
            && self.caller.version_1
            && !is_head
            && self.is_long(&answer, &kind)
            && let Some(id) = &self.to.id
        {
            let chunks = Chunks::new(id.clone(), &kind, self.window.clone());
            return self.stream(answer, streamed.insert(chunks), meter).await;
        }
        let body = call::gather(&mut answer.body, plan.max_response, plan.timeout, held).await?;
        if !answer.status.is_success() && self.caller.is_silent(&self.to) {
            return Ok(Last::Silence);
        }
        Ok(Last::Frame(self.to.answer(&Answered {
            status: answer.status,
            headers: &answer.headers,
            media_type: media_type.as_deref(),
            body: &body,
            accept,
        })))
    }

    /// Whether an answer goes out in chunks where its client wants that.
    fn is_long(&self, answer: &Answer, kind: &MediaType) -> bool {
        let above = self.caller.bridge.plan.stream_above;
        kind.is("text/event-stream")
            || kind.is("application/x-ndjson")
            || answer.body.length().is_none_or(|length| length > above)
    }

    async fn stream(
        &self,
        mut answer: Answer,
        chunks: &mut Chunks,
        meter: &mut CallMeter,
    ) -> Result<Last, Problem> {
        meter.begin_stream();
        let head = self.to.streamed(answer.status, &answer.headers);
        self.send(head, meter).await?;
        while let Some(chunk) = chunks.next(&mut answer.body, SILENCE).await? {
            self.send(chunk, meter).await?;
            chunks.sent();
        }
        Ok(Last::Frame(chunks.end(None, None)))
    }

    async fn send(&self, frame: String, meter: &mut CallMeter) -> Result<(), Problem> {
        let bytes = frame.len();
        let sent = self.sender.send(Message::text(frame)).await;
        // Nobody hears this.
        sent.map_err(|_gone| Problem::internal("the client is gone"))?;
        meter.sent(bytes);
        Ok(())
    }
}

impl Caller {
    /// Counts and logs a call.
    pub(super) fn meter(&self, call: &Call, id: Option<&Id>) -> CallMeter {
        let (exchange, service) = call.facts();
        let line = self.worker.access_log.is_some().then(|| {
            Box::new(Bridged {
                connection: self.downstream.connection,
                id: id.map(Id::to_text),
                service: service.map(|service| service.plan.name.clone()),
                user: exchange.principal.clone(),
                method: exchange.method.clone(),
                path: exchange.path.clone(),
                query: exchange.query.clone(),
                route: None,
                trace: exchange.headers.get("traceparent").cloned(),
                request_id: exchange.headers.get("x-request-id").cloned(),
                code: None,
                bytes_in: exchange.body.length().unwrap_or(0),
                bytes_out: 0,
            })
        });
        let place = service.map(|service| service.place);
        CallMeter::begin(&self.worker, place, &exchange.method, line)
    }
}
