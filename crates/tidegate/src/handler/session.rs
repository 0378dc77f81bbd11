//! A session with a handler after its 101: one task, in which the session is looked after and the handler
//! runs.
//!
//! The protocol is `tidegate-ws`'s. Here it is told what those who operate the gateway want, and what
//! becomes of it is put into the words of the gateway.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidegate_ws::codec::Role;
use tidegate_ws::frame::Violation;
use tidegate_ws::session::{self, Cause as Why};
use tidegate_ws::{AnyHandler, BoxError, Control, Driver, WebSocketHandler as _, WebSocketSession};

use super::filtered::Filtered;
use super::leg::Leg;
use super::target::Agreed;
use super::watch::Watch;
use crate::access_log::Ended;
use crate::config::plan::HandlerLimits;
use crate::limits::Permits;
use crate::metrics::SessionMeter;
use crate::session::clock::{after, end_of_age, notice_of_age, whole_seconds};
use crate::session::handle::NEVER;
use crate::session::registry::Registered;
use crate::session::{Cause, Ending, Initiator};
use crate::task::{Kind, Panics};
use crate::upgrade::Opening;
use crate::worker::Present;

/// Seconds behind the time of its calls after which a session is waited for no longer: they have been
/// ended by then.
const CALLS_END: u32 = 3;

impl Agreed {
    /// Lives through the session.
    ///
    /// What is made before the first poll is not held by the future a second time.
    pub(crate) fn begin(self, opening: Opening) -> impl Future<Output = ()> + Send {
        let Self {
            code,
            config,
            limits,
            info,
            deflate,
            mailbox: _,
            life,
            calls,
        } = self;
        let (transport, early) = opening.downstream;
        transport.outlast(limits.write_timeout);
        if let Some(life) = &life {
            life.begin(opening.registered.handle());
        }
        let watch = Arc::new(Watch::new(
            Arc::clone(opening.registered.handle()),
            opening.meter.route(),
            opening.worker.shared(),
            life,
        ));
        let mut filtered = (!opening.filters.is_empty())
            .then(|| Box::new(Filtered::new(opening.filters, Arc::clone(&watch))));
        let mut with = session::Opening::new(Role::Server);
        with.leftover = match &mut filtered {
            Some(filtered) => filtered.take_early(&early),
            None => early.freeze(),
        };
        with.id = Some(opening.registered.handle().id.to_string().into());
        with.info = info;
        with.deflate = deflate;
        with.observer = Some(Arc::clone(&watch) as Arc<dyn session::Observer>);
        let leg = Leg::new(transport, filtered);
        let (session, driver) = Driver::start(leg, with, config);
        let [warns, ends, last] = ages(limits.max_age, calls, opening.worker.clock.now());
        let mut hosted = Hosted {
            ends,
            warns,
            has_calls: calls.is_some(),
            last,
            put_off: None,
            control: driver.control(),
            watch,
            ordered: None,
            ending: None,
            reason: Cow::Borrowed(""),
            limits,
            registered: opening.registered,
            worker: opening.worker,
            meter: opening.meter,
            _permits: opening.permits,
        };
        let call = Box::new(Call {
            session,
            control: driver.control(),
            panics: Arc::clone(hosted.worker.panics()),
        });
        // In a box, because what is captured and moved on keeps its place.
        let driver = Box::new(driver);
        async move {
            let ended = {
                let mut run = pin!(unboxed(driver).run(|| call.begin(&code)));
                poll_fn(|cx| hosted.poll(run.as_mut(), cx)).await
            };
            hosted.ended(&ended);
            // What its handler leaves is there before the session is gone.
            drop(code);
            drop(hosted);
        }
    }
}

/// When a session that is opened now is told that it will be too old, when it is, and until when its
/// calls are waited for then.
fn ages(max_age: Option<Duration>, calls: Option<Duration>, now: u32) -> [u32; 3] {
    let ends = end_of_age(max_age, now);
    let (Some(max_age), Some(calls)) = (max_age, calls) else {
        return [NEVER, ends, ends];
    };
    let warns = ends.saturating_sub(whole_seconds(notice_of_age(max_age)));
    let calls = whole_seconds(calls).saturating_add(CALLS_END);
    [warns, ends, ends.saturating_add(calls)]
}

/// What is in a box, without it: that of a place which is only moved out of stays as long as its scope.
#[expect(clippy::boxed_local, reason = "to take it out is the point")]
fn unboxed<T>(boxed: Box<T>) -> T {
    *boxed
}

/// A handler that is about to be called.
struct Call {
    session: WebSocketSession,
    control: Control,
    panics: Arc<Panics>,
}

impl Call {
    /// Calls it. Its failure is told, unless that follows from the session's end; its panic is counted.
    #[expect(
        clippy::boxed_local,
        reason = "captured in a box, it takes no room once it is called"
    )]
    fn begin(
        self: Box<Self>,
        code: &AnyHandler,
    ) -> impl Future<Output = Result<(), BoxError>> + Send + '_ {
        let Self {
            session,
            control,
            panics,
        } = *self;
        let called = catch_unwind(AssertUnwindSafe(|| code.handle(session)));
        let called = called.unwrap_or_else(|panic| {
            panics.note(Kind::Session);
            resume_unwind(panic)
        });
        // Combinators, because an async block would hold the future twice.
        AssertUnwindSafe(called)
            .catch_unwind()
            .map(move |handled| match handled {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    if control.ending().is_none() {
                        tracing::warn!(%error, "handler failed");
                    }
                    Err(error)
                }
                Err(panic) => {
                    panics.note(Kind::Session);
                    resume_unwind(panic)
                }
            })
    }
}

/// What the gateway knows of a session besides, and does to it.
struct Hosted {
    control: Control,
    watch: Arc<Watch>,
    limits: Arc<HandlerLimits>,
    /// When it is too old.
    ends: u32,
    /// When its client is told of that.
    warns: u32,
    /// Whether calls may be under way in it.
    has_calls: bool,
    /// When those are waited for no longer.
    last: u32,
    /// Its end for that waits for what is under way.
    put_off: Option<Cause>,
    /// What we have ended it for.
    ordered: Option<Ending>,
    /// How it ends.
    ending: Option<Ending>,
    /// What was told with it.
    reason: Cow<'static, str>,
    registered: Registered,
    worker: Present,
    meter: SessionMeter,
    /// Held for their drop.
    _permits: Permits,
}

impl Hosted {
    /// Does what it was told, and what is due.
    fn obey(&mut self) {
        let orders = self.registered.handle().take_orders();
        if let Some(cause) = orders.end {
            self.end_when_it_may(cause);
        }
        if !orders.overdue {
            return;
        }
        let now = self.worker.clock.now();
        if now >= self.warns {
            self.warns = NEVER;
            self.registered.handle().give_notice(Cause::MaxAge);
        }
        if now >= self.ends {
            self.end_when_it_may(Cause::MaxAge);
            self.ends = self.last;
        } else if now >= self.idle_at() {
            self.end(Cause::IdleTimeout);
        }
        self.control.wake();
    }

    /// Where the gateway drains, what is under way has as long as there is; where it is too old, as long
    /// as calls may take.
    fn end_when_it_may(&mut self, cause: Cause) {
        let is_time = match cause {
            Cause::Drain => !self.worker.drain.is_nearly_late(),
            Cause::MaxAge => self.ends < self.last,
            _ => false,
        };
        if is_time && self.is_busy() {
            self.put_off = Some(cause);
        } else {
            self.put_off = None;
            self.end(cause);
        }
    }

    /// Whether something would be lost if it ended now.
    fn is_busy(&self) -> bool {
        let handle = self.registered.handle();
        self.has_calls && (handle.is_busy() || handle.has_notice())
    }

    fn end(&mut self, cause: Cause) {
        let handle = self.registered.handle();
        let mut ending = Ending::of_handler(cause);
        let farewell = handle.farewell(cause);
        let reason = match farewell {
            Some(farewell) => {
                ending.to_client = farewell.code;
                farewell.reason.to_string().into()
            }
            None => self.reason(cause),
        };
        if self.control.end(ending.to_client, &reason) {
            self.ordered = Some(ending);
        }
    }

    fn reason(&self, cause: Cause) -> Cow<'static, str> {
        match (cause, self.watch.refusal()) {
            (Cause::Policy, Some(refusal)) => refusal.to_owned().into(),
            (Cause::IdleTimeout, _) => cause.reason(self.limits.idle_timeout),
            (Cause::MaxAge, _) => cause.reason(self.limits.max_age),
            _ => cause.reason(None),
        }
    }

    /// When nothing has passed for too long, unless something passes until then.
    fn idle_at(&self) -> u32 {
        let moved = self.registered.handle().moved();
        self.limits
            .idle_timeout
            .map_or(NEVER, |idle| after(moved, idle))
    }

    /// Polls what runs in it, behind what it was ordered.
    fn poll<F: Future>(&mut self, run: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.registered.handle().register(cx.waker());
        self.obey();
        let polled = run.poll(cx);
        self.arm();
        polled
    }

    /// Shows that it ends, and sets the deadline anew where that has come.
    fn arm(&mut self) {
        if self.put_off.is_some()
            && !self.is_busy()
            && let Some(cause) = self.put_off.take()
        {
            self.end(cause);
        }
        if self.ending.is_none() && self.watch.is_closing() {
            self.ending = self.control.ending().map(|ending| self.translated(&ending));
            self.registered.handle().publish_end(self.ending);
        }
        let next = match self.ending {
            None => self
                .watch
                .wants()
                .min(self.ends)
                .min(self.warns)
                .min(self.idle_at()),
            Some(_) => self.watch.wants(),
        };
        self.registered.handle().bring_forward(next);
    }

    /// What the session says of its end, in the words of the gateway. The handler is what it calls, as an
    /// upstream is.
    fn translated(&self, ended: &session::Ending) -> Ending {
        let (cause, initiator) = match ended.cause {
            Why::PeerClosed => (Cause::ClientClose, Initiator::Client),
            Why::PeerLost => (Cause::ClientLost, Initiator::Client),
            Why::Closed | Why::HandlerDone => (Cause::UpstreamClose, Initiator::Upstream),
            Why::IdleTimeout => (Cause::IdleTimeout, Initiator::Gateway),
            Why::PingTimeout => (Cause::PingTimeout, Initiator::Gateway),
            Why::WriteStall => (Cause::SlowConsumer, Initiator::Gateway),
            Why::Violation(violation) => {
                let cause = match (violation, violation.close_code()) {
                    (Violation::ControlFlood(_), _) => Cause::RateLimited,
                    (_, 1009) => Cause::MessageTooBig,
                    _ => Cause::ProtocolError,
                };
                (cause, Initiator::Client)
            }
            Why::Ended => self
                .ordered
                .map_or((Cause::Internal, Initiator::Gateway), |ordered| {
                    (ordered.cause, ordered.initiator)
                }),
            // What fails here besides is a fault of ours, or of code beside ours.
            _ => (Cause::Internal, Initiator::Gateway),
        };
        Ending {
            cause,
            initiator,
            to_client: ended.code,
            to_upstream: ended.code,
        }
    }

    /// It is over.
    fn ended(&mut self, ended: &session::Ending) {
        self.ending = Some(self.translated(ended));
        self.registered.handle().publish_end(self.ending);
        self.reason = ended.reason.to_string().into();
    }
}

/// Told once, however it ends: dropped before its end, it was cut.
impl Drop for Hosted {
    fn drop(&mut self) {
        if let Some(ending) = self.ending {
            self.meter.ended(ending, [ending.to_client; 2]);
        }
        let handle = self.registered.handle();
        let (code, cause, initiator, _) = self.meter.end();
        handle.publish_closed((code, cause, initiator));
        if let Some(log) = &self.worker.access_log {
            log.closed(
                handle,
                &Ended::of(&self.meter, &self.reason, handle.counts()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_what<F>(_begin: impl FnOnce(Agreed, Opening) -> F) -> usize {
        size_of::<F>()
    }

    /// There is one of these for each idle session, beside the handler's own future, the session of
    /// `tidegate-ws` and its place in the registry.
    #[test]
    fn an_idle_session_is_small() {
        let size = size_of_what(Agreed::begin);
        assert!(size <= 384, "{size} bytes");
    }
}
