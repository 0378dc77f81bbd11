//! What comes to a session from behind: pushes out of its mailbox, word that another session has that
//! now, and notice that it has to end.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidegate_ws::WebSocketSession;
use tokio::time::Instant;

use super::call::Caller;
use super::push::Closed;
use super::resume::{CameBack, Missed, Replaying};
use super::session::{Over, Session};
use crate::push::mailbox::{Mailbox, Turn};
use crate::session::Cause;
use crate::session::handle::Handle;

/// How long a client that may come back is waited for before it is pushed something.
const GRACE: Duration = Duration::from_secs(1);

/// Where that comes from, and what holds it up.
pub(super) struct Post<'a> {
    pub(super) mailbox: Arc<Mailbox>,
    /// What its client has missed, while that is asked for; nothing is pushed before.
    pub(super) replaying: Option<Replaying<'a>>,
    handle: Arc<Handle>,
    /// Another session has the mailbox now: this one ends once its calls are over.
    pub(super) is_taken_over: bool,
    /// Until when nothing is pushed, so that a client that comes back can say so first.
    hold: Option<Instant>,
    /// Until when it is waited for what its client sent before it was told to go.
    pub(super) lingers: Option<Instant>,
    /// Why the session will have to end, until its client is known.
    notice: Option<Cause>,
    /// When calls that are under way have no more time, and then that they have none.
    pub(super) cut: Cut,
}

/// How long calls of a session that will have to end may take.
#[derive(Clone, Copy)]
pub(super) enum Cut {
    /// As long as any.
    Never,
    /// Until then.
    At(Instant),
    /// Their time is over.
    Done,
}

/// What has come.
pub(super) enum Told {
    /// A push, which was sent.
    Pushed,
    TakenOver,
    /// The session has to end.
    Notice(Cause),
    /// What its client has missed; `None`: that cannot be said.
    Missed(Option<Missed>),
}

impl Post<'_> {
    /// That of a session that begins now.
    pub(super) fn begin(caller: &Caller, handle: &Arc<Handle>) -> Self {
        caller.recipient.begin();
        let mailbox = caller.recipient.mailbox();
        let may_return = mailbox.is_version_1() && caller.recipient.may_return();
        Self {
            mailbox,
            replaying: None,
            handle: Arc::clone(handle),
            is_taken_over: false,
            hold: may_return.then(|| Instant::now() + GRACE),
            lingers: None,
            notice: None,
            cut: Cut::Never,
        }
    }

    /// Its client has said something: who comes back says so first.
    pub(super) const fn heard(&mut self) {
        self.hold = None;
    }

    /// Ready when something has come for a client that is known; another is told nothing.
    ///
    /// Nobody has to be woken for a notice: whoever gives one wakes the whole session.
    pub(super) fn poll(
        &mut self,
        caller: &Caller,
        (socket, is_known): (&mut WebSocketSession, bool),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Told, Closed>> {
        self.notice = self.handle.take_notice().or(self.notice);
        if let Some(cause) = self.notice.take_if(|_| is_known) {
            return Poll::Ready(Ok(Told::Notice(cause)));
        }
        if !is_known || self.is_taken_over {
            return Poll::Pending;
        }
        if self.hold.is_some() {
            // Nobody is slow for what is held back here.
            ready!(self.mailbox.poll_filling(cx));
            self.hold = None;
        }
        if let Some(replaying) = &mut self.replaying {
            let missed = ready!(replaying.poll_unpin(cx));
            self.replaying = None;
            return Poll::Ready(Ok(Told::Missed(missed)));
        }
        let polled = caller.poll_push((&self.mailbox, self.handle.id), socket, cx);
        polled.map_ok(|turn| match turn {
            Turn::Send => Told::Pushed,
            Turn::TakenOver => Told::TakenOver,
        })
    }

    /// When something is due.
    fn due(&self) -> Option<Instant> {
        let cut = match self.cut {
            Cut::At(time) => Some(time),
            Cut::Never | Cut::Done => None,
        };
        [self.hold, self.lingers, cut].into_iter().flatten().min()
    }

    /// That time has come.
    fn waited(&mut self) {
        let now = Instant::now();
        self.hold = self.hold.filter(|until| *until > now);
        self.lingers = self.lingers.filter(|until| *until > now);
    }
}

impl Session<'_> {
    /// When something is due, of what comes and of its token.
    pub(super) fn due(&self) -> Option<Instant> {
        let of_token = self.token_due().filter(|_| !self.is_leaving);
        of_token.into_iter().chain(self.post.due()).min()
    }

    /// Does what a time has come for.
    pub(super) async fn overdue(&mut self) -> Result<(), Over> {
        self.post.waited();
        let now = Instant::now();
        if matches!(self.post.cut, Cut::At(time) if time <= now) {
            self.cut();
        }
        if self.is_leaving {
            return Ok(());
        }
        if self.token_due().is_some_and(|at| at <= now) {
            self.token_overdue().await?;
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            // Where it fails, the session is over, and tells so next.
            let _ = self.ping().await;
        }
        Ok(())
    }

    /// When its client has been told nothing for so long that it is to be pinged.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let interval = self.caller.bridge.plan.ping_interval?;
        let is_told = self.caller.version_1 && !self.is_leaving && self.hello_by().is_none();
        is_told.then(|| self.spoken + interval)
    }

    async fn ping(&mut self) -> Result<(), Over> {
        self.post.mailbox.forget_old();
        let time = crate::time::unix_milliseconds();
        self.caller.life.set_sign(true);
        let sent = self.send(format!("{{\"op\":\"ping\",\"t\":{time}}}"));
        let sent = sent.await;
        self.caller.life.set_sign(false);
        sent
    }

    /// The `welcome` of a session of version 1, unless its client has to say first who it is.
    pub(super) async fn greet(&mut self) -> Result<(), Over> {
        if !self.caller.version_1 || self.hello_by().is_some() {
            return Ok(());
        }
        self.welcome(&CameBack::Anew).await
    }

    pub(super) async fn told(&mut self, told: Result<Told, Closed>) -> Result<(), Over> {
        match told.map_err(|Closed| Over)? {
            Told::Pushed => self.has_spoken(),
            Told::TakenOver => self.post.is_taken_over = true,
            Told::Notice(cause) => self.told_to_go(cause).await?,
            Told::Missed(missed) => self.replay(missed).await?,
        }
        Ok(())
    }

    /// Whether another session goes on in its place, and nothing is under way in it.
    pub(super) fn is_finished(&self) -> bool {
        let is_quiet = self.underway.is_none();
        let is_busy = !is_quiet || self.post.lingers.is_some();
        self.handle.set_busy(is_busy);
        self.post.is_taken_over && is_quiet
    }
}
