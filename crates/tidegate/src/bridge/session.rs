//! One bridge session: envelopes in, answers out, exactly one terminal frame for each.
//!
//! All of it is one task. Calls run beside each other in it, and are dropped with it, so that a client
//! that leaves takes its calls with it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Method;
use serde_json::value::RawValue;
use tidegate_ws::{BoxError, Message, SendHalf, WebSocketSession};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::answer::{Correlation, string};
use super::call::{Call, Caller, Room};
use super::conversation::Conversation;
use super::envelope::{self, Id, Refused, Request};
use super::members::{Few, Members, text};
use super::pace::{Pace, PerMinute};
use super::post::Post;
use super::problem::Problem;
use super::stream::Window;
use super::token::{self, Looking, Opened, Who};
use crate::config::plan::{LegacyErrors, OverRate};
use crate::exchange::Exchange;
use crate::limits::{Permits, Taken};
use crate::session::handle::Handle;

/// So many of the largest answers one session may have gathered and not taken.
const ROOM: u64 = 4;

/// Ends when the call is over, with its id.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Option<Id>> + Send + 'a>>;

/// A session while it is open.
pub(super) struct Session<'a> {
    pub(super) caller: &'a Caller,
    /// What it is called.
    pub(super) id: Box<str>,
    /// Its remote control.
    pub(super) handle: Arc<Handle>,
    pub(super) version_1: bool,
    /// What comes to it from behind.
    pub(super) post: Post,
    /// Who it speaks for.
    pub(super) who: Who,
    /// How it was opened, where its client has not said who it is.
    pub(super) handshake: Option<Box<Exchange>>,
    /// Until when its client may say who it is, where nothing is done before that.
    pub(super) hello_by: Option<Instant>,
    /// What its user has a share of, where that was not known at first.
    pub(super) permits: Option<Box<Permits>>,
    /// A newer token while it is looked at.
    pub(super) looking: Option<Looking<'a>>,
    /// Its token has ended.
    pub(super) is_past: bool,
    /// It has been ordered to end.
    pub(super) is_leaving: bool,
    pub(super) sender: SendHalf,
    pub(super) running: FuturesUnordered<Running<'a>>,
    /// Calls with an id, while they are under way.
    pub(super) open: HashMap<Id, Open>,
    pub(super) malformed: PerMinute,
    /// Refused for their rate.
    pub(super) too_fast: PerMinute,
    pace: Pace,
    room: Room,
    /// When something was last sent.
    pub(super) spoken: Instant,
}

/// What can be said to a call that is under way.
pub(super) struct Open {
    cancel: Option<oneshot::Sender<()>>,
    window: Window,
}

/// The session is over: nothing can be sent any more, or the client is sent away.
pub(super) struct Over;

/// Serves a session to its end. Dropped, it cancels what is under way.
///
/// # Errors
/// When the client breaks the protocol; what it was told is sent already.
pub(super) async fn serve(
    caller: &Caller,
    session: WebSocketSession,
    version_1: bool,
) -> Result<(), BoxError> {
    let id = session.id().into();
    let (mut receiver, sender) = session.split();
    let mut session = Session::new(caller, id, sender, version_1)?;
    if session.greet().await.is_err() {
        return Ok(());
    }
    let plan = &caller.bridge.plan;
    let mut ping = plan.ping_interval.filter(|_| version_1);
    loop {
        if session.is_finished() {
            let _over = send_away(&session.sender, 1000, "resumed").await;
            break;
        }
        let rest = session.rest().filter(|_| !session.is_leaving);
        let silent = session.silent(ping);
        let due = session.due();
        tokio::select! {
            biased;
            Some(ended) = session.running.next(), if !session.running.is_empty() => {
                session.spoken = Instant::now();
                if let Some(id) = ended {
                    session.open.remove(&id);
                }
            }
            shown = token::looked(&mut session.looking), if session.looking.is_some() => {
                session.looking = None;
                if Box::pin(session.shown(shown)).await.is_err() {
                    break;
                }
            }
            received = receiver.receive(), if rest.is_none() => {
                let Some(received) = received else { break };
                let received = received?;
                if session.is_leaving {
                    continue;
                }
                session.post.heard();
                // Boxed, so that a session that waits does not hold the room.
                if Box::pin(session.received(&received)).await.is_err() {
                    break;
                }
            }
            told = poll_fn(|cx| {
                let is_known = session.hello_by.is_none();
                session.post.poll(caller, (&mut session.sender, is_known), cx)
            }) => {
                if session.told(told).await.is_err() {
                    break;
                }
            }
            () = until(rest), if rest.is_some() => {}
            () = until(due), if due.is_some() => {
                if Box::pin(session.overdue()).await.is_err() {
                    break;
                }
            }
            () = until(silent), if silent.is_some() => {
                if session.ping().await.is_err() {
                    ping = None;
                }
            }
        }
    }
    Ok(())
}

async fn until(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}

impl<'a> Session<'a> {
    /// One that begins now.
    ///
    /// # Errors
    /// When it is not among those of its worker.
    fn new(
        caller: &'a Caller,
        id: Box<str>,
        sender: SendHalf,
        version_1: bool,
    ) -> Result<Self, BoxError> {
        let handle = caller.find(&id);
        let handle = handle.ok_or("the session is not among those of its worker")?;
        let opened = caller.opened.lock();
        let opened = opened.unwrap_or_else(PoisonError::into_inner).take();
        let Opened { who, handshake } = opened.unwrap_or_default();
        let (plan, now) = (&caller.bridge.plan, Instant::now());
        Ok(Self {
            caller,
            id,
            post: Post::begin(caller, &handle),
            handle,
            version_1,
            who,
            hello_by: handshake.as_ref().map(|_| now + plan.hello_timeout),
            handshake,
            permits: None,
            looking: None,
            is_past: false,
            is_leaving: false,
            sender,
            running: FuturesUnordered::new(),
            open: HashMap::new(),
            malformed: PerMinute::new(now),
            too_fast: PerMinute::new(now),
            pace: Pace::new(&plan.rates),
            room: Room::new(plan.max_response.saturating_mul(ROOM)),
            spoken: now,
        })
    }

    /// Something was sent now.
    pub(super) fn has_spoken(&mut self) {
        self.spoken = Instant::now();
    }

    pub(super) async fn send(&mut self, frame: String) -> Result<(), Over> {
        self.spoken = Instant::now();
        self.sender
            .send(Message::text(frame))
            .await
            .map_err(|_gone| Over)
    }

    async fn received(&mut self, message: &Message) -> Result<(), Over> {
        // Old clients send text in binary frames too (row B-026).
        let bytes = match message {
            Message::Text(text) => text.as_str(),
            Message::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => return self.malformed(Problem::malformed("not UTF-8")).await,
            },
            _ => return Ok(()),
        };
        if self.version_1 && bytes.trim_start().starts_with('[') {
            return self.batch(bytes).await;
        }
        self.frame(bytes).await
    }

    /// Until when nothing is read, because it came too fast.
    fn rest(&self) -> Option<Instant> {
        if self.caller.bridge.plan.rates.over != OverRate::Delay {
            return None;
        }
        let due = self.pace.due();
        (!due.is_zero()).then(|| Instant::now() + due)
    }

    async fn batch(&mut self, text: &str) -> Result<(), Over> {
        let frames = match serde_json::from_str(text) {
            Ok(Few(frames)) => frames,
            Err(error) => {
                let problem = Problem::malformed(format!("not a batch: {error}"));
                return self.malformed(problem).await;
            }
        };
        for frame in frames {
            self.frame(frame.get()).await?;
        }
        Ok(())
    }

    async fn frame(&mut self, text: &str) -> Result<(), Over> {
        // What stands in a batch behind the one for which it ends.
        if self.is_leaving {
            return Ok(());
        }
        let due = self.pace.due();
        let over = self.caller.bridge.plan.rates.over;
        let is_late = !due.is_zero() && over != OverRate::Delay;
        if is_late && over == OverRate::Close {
            return send_away(&self.sender, 4429, "rate_limited").await;
        }
        if !is_late {
            self.pace.charge(text.len());
        }
        let members = match envelope::members(text) {
            Ok(members) => members,
            Err(problem) => return self.malformed(problem).await,
        };
        match members.value("op") {
            // On a connection of the old protocol it is a member like any other. None is refused for
            // the rate: what takes a call back must be heard.
            Some(op) if self.version_1 => self.op(op, &members).await,
            _ if is_late => self.too_fast(members, due).await,
            _ => self.request(members).await,
        }
    }

    async fn request(&mut self, members: Members<'_>) -> Result<(), Over> {
        let request = match Request::parse(members) {
            Ok(request) => request,
            Err(refused) => {
                let Refused {
                    members,
                    id,
                    problem,
                } = *refused;
                self.caller.count_refusal(None, &problem);
                let is_malformed = problem.code == "malformed_frame";
                let to = Correlation::new(&members, id, self.version_1);
                self.refuse(&to, &problem).await?;
                return if is_malformed {
                    self.count_malformed().await
                } else {
                    Ok(())
                };
            }
        };
        let to = Correlation::new(&request.members, request.id.clone(), self.version_1);
        let admitted = self.who.check().and_then(|()| self.admit(&request));
        let admitted = admitted.and_then(|taken| {
            let call = self.caller.prepare(&request, &self.who, &self.id)?;
            Ok((call, taken))
        });
        match admitted {
            Ok((call, taken)) => {
                self.begin(call, to, taken);
                Ok(())
            }
            Err(problem) => {
                self.caller.count_refusal(Some(&request.method), &problem);
                self.refuse(&to, &problem).await
            }
        }
    }

    /// Whether one more call may begin, and what it takes of its user's share.
    fn admit(&self, request: &Request<'_>) -> Result<Option<Taken>, Problem> {
        if self.hello_by.is_some() {
            return Err(token::unauthenticated());
        }
        if request
            .id
            .as_ref()
            .is_some_and(|id| self.open.contains_key(id))
        {
            return Err(Problem::duplicate_id("a request with this id is under way"));
        }
        let most = self.caller.bridge.plan.max_in_flight;
        if self.running.len() >= most {
            return Err(Problem::too_many_in_flight(format!(
                "{most} requests of this session are under way"
            ))
            .retry());
        }
        let Some(calls) = &self.who.calls else {
            return Ok(None);
        };
        let taken = calls.take().ok_or_else(|| {
            let most = calls.most();
            let detail = format!("{most} requests of this user are under way");
            Problem::too_many_in_flight(detail).retry()
        })?;
        Ok(Some(taken))
    }

    fn begin(&mut self, call: Call, to: Correlation, taken: Option<Taken>) {
        let (cancel, cancelled) = oneshot::channel();
        let window = Window::new(call.credit);
        let id = to.id.clone();
        if let Some(id) = &id {
            let open = Open {
                cancel: Some(cancel),
                window: window.clone(),
            };
            self.open.insert(id.clone(), open);
        }
        let meter = self.caller.meter(&call, id.as_ref());
        let running = Conversation {
            caller: self.caller,
            sender: self.sender.clone(),
            version_1: self.version_1,
            to,
            room: self.room.clone(),
            window,
        };
        self.running.push(Box::pin(async move {
            // Only a call with an id can be taken back.
            let cancelled = async move {
                match id {
                    Some(_) => drop(cancelled.await),
                    None => std::future::pending().await,
                }
            };
            let id = running.hold(call, meter, cancelled).await;
            drop(taken);
            id
        }));
    }

    async fn op(&mut self, op: &RawValue, members: &Members<'_>) -> Result<(), Over> {
        let name = text(op).unwrap_or_default();
        match &*name {
            "hello" => self.hello(members).await,
            "auth" => self.auth(members).await,
            _ if self.hello_by.is_some() => self.tell(&token::unauthenticated()).await,
            "cancel" => {
                if let Some(open) = self.addressed(members)
                    && let Some(cancel) = open.cancel.take()
                {
                    let _ = cancel.send(());
                }
                Ok(())
            }
            "credit" => {
                let bytes = members.value("n");
                let bytes = bytes.and_then(|value| serde_json::from_str(value.get()).ok());
                match (bytes, self.addressed(members)) {
                    (Some(bytes), Some(open)) => open.window.grant(bytes),
                    (None, _) => {
                        let problem = Problem::malformed("credit has n, a number of bytes");
                        return self.malformed(problem).await;
                    }
                    // Its answer is over.
                    (Some(_), None) => {}
                }
                Ok(())
            }
            "ping" => {
                let mut pong = b"{\"op\":\"pong\"".to_vec();
                if let Some(time) = members.value("t").filter(|time| time.get().len() <= 32) {
                    pong.extend_from_slice(b",\"t\":");
                    pong.extend_from_slice(time.get().as_bytes());
                }
                pong.push(b'}');
                self.send(String::from_utf8(pong).unwrap_or_default()).await
            }
            "ack" => match Caller::ack(&self.post.mailbox, members) {
                Ok(()) => Ok(()),
                Err(problem) => self.malformed(problem).await,
            },
            // Nothing waits for it; it is told only so that nobody takes it for unknown.
            "pong" => Ok(()),
            _ => {
                let mut detail = Vec::new();
                string(&name.chars().take(32).collect::<String>(), &mut detail);
                let detail = String::from_utf8(detail).unwrap_or_default();
                let problem = Problem::malformed(format!("unknown op {detail}"));
                self.tell(&problem).await
            }
        }
    }

    fn addressed(&mut self, members: &Members<'_>) -> Option<&mut Open> {
        let id = members
            .value("id")
            .and_then(|value| Id::parse(value).ok())?;
        self.open.get_mut(&id)
    }
}

/// Closes the session, for what its client did.
pub(super) async fn send_away(sender: &SendHalf, code: u16, reason: &str) -> Result<(), Over> {
    sender.close(code, reason).await;
    Err(Over)
}

impl Caller {
    pub(super) fn count_refusal(&self, method: Option<&Method>, problem: &Problem) {
        let meters = self.worker.meters.bridged(None);
        meters.refused(method, problem.status.as_u16());
    }

    /// Whether the old silence about errors is wanted here.
    pub(super) fn is_silent(&self, to: &Correlation) -> bool {
        to.id.is_none() && self.bridge.plan.legacy_errors == LegacyErrors::Silent
    }
}
