//! One bridge session: envelopes in, answers out, exactly one terminal frame for each.
//!
//! All of it is one task. Calls run beside each other in it, and are dropped with it, so that a client
//! that leaves takes its calls with it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

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
use super::pace::Pace;
use super::problem::Problem;
use super::rooms;
use super::stream::Window;
use crate::config::plan::{LegacyErrors, OverRate};
use crate::limits::Taken;

/// So many of the largest answers one session may have gathered and not taken.
const ROOM: u64 = 4;
/// What is counted as malformed begins anew after this.
const MINUTE: Duration = Duration::from_secs(60);
/// Malformed frames in a minute that are answered; the next ends the session.
const MAX_MALFORMED: u32 = 10;
/// Messages in a minute that are answered for having come too fast.
const MAX_TOO_FAST: u32 = 1000;

/// Ends when the call is over, with its id.
type Running<'a> = Pin<Box<dyn Future<Output = Option<Id>> + Send + 'a>>;

/// A session while it is open.
pub(super) struct Session<'a> {
    caller: &'a Caller,
    /// What it is called.
    id: Box<str>,
    version_1: bool,
    sender: SendHalf,
    running: FuturesUnordered<Running<'a>>,
    /// Calls with an id, while they are under way.
    open: HashMap<Id, Open>,
    malformed: PerMinute,
    /// Refused for their rate.
    too_fast: PerMinute,
    pace: Pace,
    room: Room,
    /// When something was last sent.
    spoken: Instant,
}

/// What can be said to a call that is under way.
struct Open {
    cancel: Option<oneshot::Sender<()>>,
    window: Window,
}

/// The session is over: nothing can be sent any more, or the client is sent away.
struct Over;

/// Serves a session to its end. Dropped, it cancels what is under way.
///
/// # Errors
/// When the client breaks the protocol; what it was told is sent already.
pub(super) async fn serve(
    caller: &Caller,
    session: WebSocketSession,
    version_1: bool,
) -> Result<(), BoxError> {
    let welcome = version_1.then(|| caller.welcome(session.id()));
    let id = session.id().into();
    let (mut receiver, sender) = session.split();
    let now = Instant::now();
    let mut session = Session {
        caller,
        id,
        version_1,
        sender,
        running: FuturesUnordered::new(),
        open: HashMap::new(),
        malformed: PerMinute::new(now),
        too_fast: PerMinute::new(now),
        pace: Pace::new(&caller.bridge.plan.rates),
        room: Room::new(caller.bridge.plan.max_response.saturating_mul(ROOM)),
        spoken: now,
    };
    if let Some(welcome) = welcome
        && session.send(welcome).await.is_err()
    {
        return Ok(());
    }
    let mut ping = version_1
        .then_some(caller.bridge.plan.ping_interval)
        .flatten();
    loop {
        let rest = session.rest();
        let silent = ping.map(|interval| session.spoken + interval);
        tokio::select! {
            biased;
            Some(ended) = session.running.next(), if !session.running.is_empty() => {
                session.spoken = Instant::now();
                if let Some(id) = ended {
                    session.open.remove(&id);
                }
            }
            received = receiver.receive(), if rest.is_none() => {
                let Some(received) = received else { break };
                let received = received?;
                // Boxed, so that a session that waits does not hold the room.
                if Box::pin(session.received(&received)).await.is_err() {
                    break;
                }
            }
            pushed = poll_fn(|cx| caller.poll_push(&mut session.sender, cx)) => {
                if pushed.is_err() {
                    break;
                }
                session.spoken = Instant::now();
            }
            () = until(rest), if rest.is_some() => {}
            () = until(silent), if silent.is_some() => {
                caller.recipient.mailbox().forget_old();
                let time = crate::time::unix_milliseconds();
                if session.send(format!("{{\"op\":\"ping\",\"t\":{time}}}")).await.is_err() {
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
    async fn send(&mut self, frame: String) -> Result<(), Over> {
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
            // What asks for an answer can be refused for the rate.
            Some(op) if is_late && self.version_1 && rooms::asks(op) => {
                self.too_fast(members, due).await
            }
            // On a connection of the old protocol it is a member like any other. None is refused for
            // the rate: what takes a call back must be heard.
            Some(op) if self.version_1 => self.op(op, &members).await,
            _ if is_late => self.too_fast(members, due).await,
            _ => self.request(members).await,
        }
    }

    async fn too_fast(&mut self, members: Members<'_>, due: Duration) -> Result<(), Over> {
        let problem = Problem {
            retry_after: Some(Duration::from_secs(due.as_secs() + 1)),
            ..Problem::rate_limited("messages came faster than they may")
        };
        self.caller.count_refusal(None, &problem);
        let (members, id) = match Request::parse(members) {
            Ok(request) => (request.members, request.id),
            Err(refused) => (refused.members, refused.id),
        };
        let to = Correlation::new(&members, id, self.version_1);
        self.refuse(&to, &problem).await?;
        if self.too_fast.exceeds(MAX_TOO_FAST) {
            return send_away(&self.sender, 4429, "rate_limited").await;
        }
        Ok(())
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
        let admitted = self.admit(&request).and_then(|taken| {
            let call = self.caller.prepare(&request, &self.id)?;
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
        let Some(calls) = &self.caller.calls else {
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
            "ack" => match self.caller.ack(members) {
                Ok(()) => Ok(()),
                Err(problem) => self.malformed(problem).await,
            },
            op if rooms::is_asked(op) => self.in_room(op, members).await,
            // Nothing waits for these; they are told only so that nobody takes them for unknown.
            "hello" | "pong" => Ok(()),
            _ => {
                let mut detail = Vec::new();
                string(&name.chars().take(32).collect::<String>(), &mut detail);
                let detail = String::from_utf8(detail).unwrap_or_default();
                let problem = Problem::malformed(format!("unknown op {detail}"));
                self.tell(&problem).await
            }
        }
    }

    /// Does what is asked for in a room, and answers it.
    async fn in_room(&mut self, op: &str, members: &Members<'_>) -> Result<(), Over> {
        let id = members.value("id").map(Id::parse);
        let id = match id.unwrap_or_else(|| Err(Problem::malformed(format!("{op} has an id")))) {
            Ok(id) => id,
            Err(problem) => return self.malformed(problem).await,
        };
        let told = match self.open.contains_key(&id) {
            true => Err(Problem::duplicate_id("a request with this id is under way")),
            false => self.caller.in_room(op, members, &self.id).await,
        };
        self.send(rooms::answer(&id, told)).await
    }

    fn addressed(&mut self, members: &Members<'_>) -> Option<&mut Open> {
        let id = members
            .value("id")
            .and_then(|value| Id::parse(value).ok())?;
        self.open.get_mut(&id)
    }

    /// Tells of an error that belongs to no request.
    async fn tell(&mut self, problem: &Problem) -> Result<(), Over> {
        let mut frame = b"{\"op\":\"error\",\"error\":".to_vec();
        problem.write(None, &mut frame);
        frame.push(b'}');
        self.send(String::from_utf8(frame).unwrap_or_default())
            .await
    }

    async fn refuse(&mut self, to: &Correlation, problem: &Problem) -> Result<(), Over> {
        if self.caller.is_silent(to) {
            return Ok(());
        }
        self.send(to.refusal(problem, None)).await
    }

    async fn malformed(&mut self, problem: Problem) -> Result<(), Over> {
        if self.version_1 {
            self.tell(&problem).await?;
        } else {
            self.send(Correlation::none().refusal(&problem, None))
                .await?;
        }
        self.count_malformed().await
    }

    async fn count_malformed(&mut self) -> Result<(), Over> {
        if !self.malformed.exceeds(MAX_MALFORMED) {
            return Ok(());
        }
        let code = if self.version_1 { 4400 } else { 1007 };
        send_away(&self.sender, code, "malformed_frames").await
    }
}

/// Closes the session, for what its client did.
async fn send_away(sender: &SendHalf, code: u16, reason: &str) -> Result<(), Over> {
    sender.close(code, reason).await;
    Err(Over)
}

/// How often something happened in a minute.
struct PerMinute {
    count: u32,
    since: Instant,
}

impl PerMinute {
    const fn new(now: Instant) -> Self {
        Self {
            count: 0,
            since: now,
        }
    }

    /// Counts once more, and tells whether that is too often.
    fn exceeds(&mut self, most: u32) -> bool {
        if self.since.elapsed() > MINUTE {
            *self = Self::new(Instant::now());
        }
        self.count += 1;
        self.count > most
    }
}

impl Caller {
    fn count_refusal(&self, method: Option<&Method>, problem: &Problem) {
        let meters = self.worker.meters.bridged(None);
        meters.refused(method, problem.status.as_u16());
    }

    /// Whether the old silence about errors is wanted here.
    pub(super) fn is_silent(&self, to: &Correlation) -> bool {
        to.id.is_none() && self.bridge.plan.legacy_errors == LegacyErrors::Silent
    }
}
