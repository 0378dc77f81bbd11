//! One bridge session: envelopes in, answers out, exactly one terminal frame for each.
//!
//! All of it is one task. Calls run beside each other in it, and are dropped with it, so that a client
//! that leaves takes its calls with it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::Method;
use tidegate_ws::{BoxError, Message, SessionError, WebSocketSession};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::answer::Correlation;
use super::call::{Call, Caller};
use super::conversation::Conversation;
use super::envelope::{self, Id, Refused, Request};
use super::faults::Faults;
use super::goaway;
use super::members::{Few, Members, text};
use super::pace::Pace;
use super::post::{Post, Told};
use super::problem::Problem;
use super::push::Closed;
use super::rooms;
use super::stream::Window;
use super::token::{self, Late, Looking, Opened, Shown, Who};
use crate::config::plan::{LegacyErrors, OverRate};
use crate::limits::{Gauge, Taken};
use crate::session::handle::Handle;

/// Ends when the call is over, with its id.
type Running<'a> = Pin<Box<dyn Future<Output = Option<Id>> + Send + 'a>>;

/// A session while it is open. What few sessions need, and none that is idle, is not in it itself.
pub(super) struct Session<'a> {
    pub(super) caller: &'a Caller,
    /// Its remote control.
    pub(super) handle: Arc<Handle>,
    pub(super) socket: WebSocketSession,
    /// What comes to it from behind.
    pub(super) post: Post<'a>,
    /// Who it speaks for.
    pub(super) who: Who,
    /// What there is besides where that was not known at first.
    pub(super) late: Option<Box<Late>>,
    /// A newer token while it is looked at.
    pub(super) looking: Option<Looking<'a>>,
    /// Its token has ended.
    pub(super) is_past: bool,
    /// It has been ordered to end.
    pub(super) is_leaving: bool,
    /// `None` while no call is.
    pub(super) underway: Option<Box<Underway<'a>>>,
    pub(super) faults: Option<Box<Faults>>,
    pub(super) pace: Option<Box<Pace>>,
    /// When something was last sent.
    pub(super) spoken: Instant,
    alarm: Alarm,
}

/// The calls that are under way.
pub(super) struct Underway<'a> {
    pub(super) running: FuturesUnordered<Running<'a>>,
    /// Those with an id.
    pub(super) open: HashMap<Id, Open>,
    /// Takes back those without one, once there are any.
    pub(super) nameless: Option<CancellationToken>,
    /// All those of its user, where they have a bound.
    calls: Option<Arc<Gauge>>,
}

/// What can be said to a call that is under way.
pub(super) struct Open {
    /// Ends it with that.
    pub(super) cancel: Option<oneshot::Sender<Problem>>,
    pub(super) window: Window,
}

/// The session is over: nothing can be sent any more, or the client is sent away.
pub(super) struct Over;

/// Serves a session to its end. Dropped, it cancels what is under way.
///
/// # Errors
/// When the client breaks the protocol; what it was told is sent already.
pub(super) fn serve(
    caller: &Caller,
    socket: WebSocketSession,
) -> impl Future<Output = Result<(), BoxError>> + Send {
    let mut session = Session::new(caller, socket);
    async move {
        match &mut session {
            Some(session) => session.run().await,
            None => Err("the session is not among those of its worker".into()),
        }
    }
}

/// What a session waits for.
enum Next {
    /// A call is over, with its id.
    Ended(Option<Id>),
    /// Something was received; `None`: nothing will be any more.
    Received(Option<Result<Message, SessionError>>),
    /// A newer token was looked at.
    Shown(Shown),
    /// Something has come from behind, or nothing can be sent any more.
    Told(Result<Told, Closed>),
    /// A time has come.
    Time,
}

impl<'a> Session<'a> {
    /// One that begins now; `None`: it is not among those of its worker.
    fn new(caller: &'a Caller, socket: WebSocketSession) -> Option<Self> {
        let handle = caller.find(socket.id())?;
        let opened = caller.opened.lock();
        let opened = opened.unwrap_or_else(PoisonError::into_inner).take();
        let Opened { who, handshake } = opened.map(|opened| *opened).unwrap_or_default();
        let (plan, now) = (&caller.bridge.plan, Instant::now());
        Some(Self {
            caller,
            post: Post::begin(caller, &handle),
            handle,
            socket,
            who,
            late: handshake.map(|handshake| Late::new(handshake, now + plan.hello_timeout)),
            looking: None,
            is_past: false,
            is_leaving: false,
            underway: None,
            faults: None,
            pace: Pace::new(&plan.rates).map(Box::new),
            spoken: now,
            alarm: Alarm::default(),
        })
    }

    async fn run(&mut self) -> Result<(), BoxError> {
        // Boxed, here and below, so that a session that waits does not hold the room.
        if Box::pin(self.greet()).await.is_err() {
            return Ok(());
        }
        loop {
            if self.is_finished() {
                let _over = Box::pin(send_away(&mut self.socket, 1000, "resumed")).await;
                return Ok(());
            }
            let rest = self.rest();
            match poll_fn(|cx| self.poll_next(rest, cx)).await {
                Next::Ended(id) => {
                    self.spoken = Instant::now();
                    self.forget(id.as_ref());
                }
                Next::Shown(shown) => {
                    self.looking = None;
                    if Box::pin(self.shown(shown)).await.is_err() {
                        return Ok(());
                    }
                }
                Next::Received(None) => return Ok(()),
                Next::Received(Some(received)) => {
                    let received = received?;
                    if self.is_leaving {
                        continue;
                    }
                    self.post.heard();
                    if Box::pin(self.received(&received)).await.is_err() {
                        return Ok(());
                    }
                }
                Next::Told(told) => {
                    if Box::pin(self.told(told)).await.is_err() {
                        return Ok(());
                    }
                }
                Next::Time => {
                    if Box::pin(self.overdue()).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What happens first; of what has happened already, the first of these. Nothing is received before
    /// `rest`.
    fn poll_next(&mut self, rest: Option<Instant>, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(underway) = &mut self.underway
            && let Poll::Ready(Some(id)) = underway.running.poll_next_unpin(cx)
        {
            return Poll::Ready(Next::Ended(id));
        }
        if let Some(looking) = &mut self.looking
            && let Poll::Ready(shown) = looking.poll_unpin(cx)
        {
            return Poll::Ready(Next::Shown(shown));
        }
        if rest.is_none()
            && let Poll::Ready(received) = self.socket.poll_next_unpin(cx)
        {
            return Poll::Ready(Next::Received(received));
        }
        let is_known = self.hello_by().is_none() && !self.is_leaving;
        let told = self
            .post
            .poll(self.caller, (&mut self.socket, is_known), cx);
        if let Poll::Ready(told) = told {
            return Poll::Ready(Next::Told(told));
        }
        let times = [rest, self.silent_at(), self.due()].into_iter().flatten();
        let clock = (&*self.handle, &*self.caller.worker.clock);
        self.alarm.poll(times.min(), clock, cx).map(|()| Next::Time)
    }

    /// A call is over; with the last one, all that calls need is given back.
    fn forget(&mut self, id: Option<&Id>) {
        if let (Some(underway), Some(id)) = (&mut self.underway, id) {
            underway.open.remove(id);
        }
        self.underway
            .take_if(|underway| underway.running.is_empty());
    }

    /// Something was sent now.
    pub(super) fn has_spoken(&mut self) {
        self.spoken = Instant::now();
    }

    pub(super) async fn send(&mut self, frame: String) -> Result<(), Over> {
        self.spoken = Instant::now();
        self.socket
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
        if self.caller.version_1 && bytes.trim_start().starts_with('[') {
            return self.batch(bytes).await;
        }
        self.frame(bytes).await
    }

    /// Until when nothing is read, because it came too fast.
    fn rest(&self) -> Option<Instant> {
        if self.is_leaving || self.caller.bridge.plan.rates.over != OverRate::Delay {
            return None;
        }
        let due = self.pace.as_ref()?.due();
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

    async fn frame(&mut self, frame: &str) -> Result<(), Over> {
        // What stands in a batch behind the one for which it ends.
        if self.is_leaving {
            return Ok(());
        }
        let due = self.pace.as_ref().map_or(Duration::ZERO, |pace| pace.due());
        let over = self.caller.bridge.plan.rates.over;
        let is_late = !due.is_zero() && over != OverRate::Delay;
        if is_late && over == OverRate::Close {
            return send_away(&mut self.socket, 4429, "rate_limited").await;
        }
        if !is_late {
            self.charge(frame.len());
            if let Some(faults) = &mut self.faults {
                faults.has_told_late = false;
            }
        }
        let members = match envelope::members(frame) {
            Ok(members) => members,
            Err(problem) => return self.malformed(problem).await,
        };
        // On a connection of the old protocol it is a member like any other.
        let op = members.value("op").filter(|_| self.caller.version_1);
        let name = op.map(|op| text(op).unwrap_or_default());
        if !matches!(name.as_deref(), Some("ping" | "pong")) {
            self.caller.life.moved(&self.caller.worker.clock);
        }
        match name {
            // What asks for an answer has one.
            Some(name) if is_late && rooms::is_asked(&name) => self.too_fast(members, due).await,
            // What takes a call back, or lets it go on, must be heard.
            Some(name) if is_late && !matches!(&*name, "cancel" | "credit") => {
                self.op_too_fast(&members, due).await
            }
            Some(name) => {
                if is_late {
                    self.charge(frame.len());
                }
                self.op(&name, &members).await
            }
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
                let to = Correlation::new(&members, id, self.caller.version_1);
                self.refuse(&to, &problem).await?;
                return if is_malformed {
                    self.count_malformed().await
                } else {
                    Ok(())
                };
            }
        };
        let to = Correlation::new(&request.members, request.id.clone(), self.caller.version_1);
        let timely = self.check_time().and_then(|()| self.who.check());
        let admitted = timely.and_then(|()| self.admit(&request));
        let admitted = admitted.and_then(|taken| {
            let call = self.caller.prepare(&request, &self.who, self.socket.id())?;
            Ok((call, taken))
        });
        match admitted {
            Ok((call, taken)) => {
                self.begin(call, to, taken);
                Ok(())
            }
            Err(problem) => {
                let problem = self.caller.traced(problem, &request);
                self.caller.count_refusal(Some(&request.method), &problem);
                self.refuse(&to, &problem).await
            }
        }
    }

    /// Whether one more call may begin, and what it takes of its user's share.
    fn admit(&self, request: &Request<'_>) -> Result<Option<Taken>, Problem> {
        if self.hello_by().is_some() {
            return Err(token::unauthenticated());
        }
        if request.id.as_ref().is_some_and(|id| self.is_open(id)) {
            return Err(Problem::duplicate_id("a request with this id is under way"));
        }
        let most = self.caller.bridge.plan.max_in_flight;
        let underway = self.underway.as_ref();
        if underway.map_or(0, |underway| underway.running.len()) >= most {
            return Err(Problem::too_many_in_flight(format!(
                "{most} requests of this session are under way"
            ))
            .retry());
        }
        let calls = underway.map_or_else(|| self.calls(), |known| known.calls.clone());
        let Some(calls) = calls else {
            return Ok(None);
        };
        let taken = calls.take().ok_or_else(|| {
            let most = calls.most();
            let detail = format!("{most} requests of this user are under way");
            Problem::too_many_in_flight(detail).retry()
        })?;
        Ok(Some(taken))
    }

    /// Whether a call with that id is under way.
    pub(super) fn is_open(&self, id: &Id) -> bool {
        let underway = self.underway.as_ref();
        underway.is_some_and(|underway| underway.open.contains_key(id))
    }

    /// What counts the calls of its user, where those have a bound.
    fn calls(&self) -> Option<Arc<Gauge>> {
        let user = self.who.principal.as_ref()?.user();
        self.caller.bridge.users.gauge(user)
    }

    fn begin(&mut self, call: Call, to: Correlation, taken: Option<Taken>) {
        if self.underway.is_none() {
            self.underway = Some(Underway::new(self.calls()));
        }
        let Some(underway) = &mut self.underway else {
            return;
        };
        let window = Window::new(call.credit);
        let id = to.id.clone();
        let cancelled = underway.enter(id.as_ref(), &window);
        let meter = self.caller.meter(&call, id.as_ref());
        let running = Conversation {
            caller: self.caller,
            sender: self.socket.sender(),
            to,
            window,
        };
        underway.running.push(Box::pin(async move {
            let id = running.hold(call, meter, cancelled).await;
            drop(taken);
            id
        }));
    }
}

impl Underway<'_> {
    fn new(calls: Option<Arc<Gauge>>) -> Box<Self> {
        Box::new(Self {
            running: FuturesUnordered::new(),
            open: HashMap::new(),
            nameless: None,
            calls,
        })
    }

    /// One more call; ready with what it ends with, where it has to before it is over. Its client can
    /// take it back only where it has an id.
    fn enter(
        &mut self,
        id: Option<&Id>,
        window: &Window,
    ) -> impl Future<Output = Problem> + Send + use<> {
        let (cancel, cancelled) = oneshot::channel();
        let nameless = match id {
            Some(id) => {
                let open = Open {
                    cancel: Some(cancel),
                    window: window.clone(),
                };
                self.open.insert(id.clone(), open);
                None
            }
            None => Some(self.nameless.get_or_insert_default().clone()),
        };
        async move {
            match nameless {
                Some(nameless) => {
                    nameless.cancelled_owned().await;
                    goaway::gone()
                }
                None => cancelled.await.unwrap_or_else(|_| Problem::cancelled()),
            }
        }
    }
}

/// Closes the session, for what its client did.
pub(super) async fn send_away(
    socket: &mut WebSocketSession,
    code: u16,
    reason: &str,
) -> Result<(), Over> {
    socket.close(code, reason).await;
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
