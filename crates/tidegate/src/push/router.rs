//! Events on their way from the bus to mailboxes. All of it is one task on a thread of its own: it
//! waits for no client, and no worker waits for it.

use std::cell::LazyCell;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Push;
use super::mailbox::Mailbox;
use super::parcel::Parcel;
use super::seen::Seen;
use crate::bus::{
    Event, EventId, Payload, PushClass, PushEvent, PushTarget, Received, Standing, Subscription,
};
use crate::metrics::PushSource;
use crate::task::{self, Kind, Panics};

/// The running router; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Router {
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

impl Router {
    /// Routes what `subscription` receives.
    pub(crate) fn start(
        push: Arc<Push>,
        subscription: Subscription,
        panics: Arc<Panics>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        push.routed.begin(subscription.backlog());
        let ended = CancellationToken::new();
        let end = ended.clone();
        let run = move || {
            let routing = route_all(&push, subscription, &panics);
            let both = async { tokio::join!(routing, push.rooms.tend(&panics)) };
            runtime.block_on(end.run_until_cancelled_owned(both));
        };
        let thread = thread::Builder::new().name("tidegate-push".into());
        Ok(Self {
            thread: Some(thread.spawn(run)?),
            ended,
        })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

async fn route_all(push: &Push, mut subscription: Subscription, panics: &Panics) {
    let mut known = Known::new(Instant::now());
    while let Some(received) = subscription.receive().await {
        match received {
            Received::Event(event) if !known.is_new(&event) => {
                if event.standing != Standing::Copy {
                    push.outcomes.repeat(event.id);
                }
                push.routed.note(event.position.as_ref());
            }
            Received::Event(event) => {
                let routing = async { push.route(&event, &mut known) };
                if task::survive(Kind::Push, panics, routing).await.is_none() {
                    // It is as far as it comes.
                    push.routed.note(event.position.as_ref());
                }
                // An end is looked for between two.
                yield_now().await;
            }
            Received::Missed(count) => {
                tracing::error!(
                    count,
                    "pushes came faster than they can be routed, and are lost"
                );
            }
        }
    }
}

/// What was routed lately.
struct Known {
    events: Seen<EventId>,
    /// Users of events that have copies.
    users: Seen<(EventId, Box<str>)>,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            events: Seen::new(now),
            users: Seen::new(now),
        }
    }

    /// Whether nobody was told before, as far as that is known.
    fn is_new(&mut self, event: &Event) -> bool {
        match (event.standing, &event.payload) {
            (Standing::Copy, Payload::Push(push)) => {
                let [PushTarget::User(user)] = &*push.targets else {
                    return false; // a copy has one user
                };
                self.is_untold(event.id, user)
            }
            _ => self.events.is_new(event.id, Instant::now()),
        }
    }

    /// Whether this user was neither told of that event nor of a copy.
    fn is_untold(&mut self, id: EventId, user: &str) -> bool {
        self.users.is_new((id, user.into()), Instant::now())
    }
}

impl Push {
    /// Leaves a push for whom it is for, and tells who waits what became of it.
    fn route(&self, event: &Event, known: &mut Known) {
        let Payload::Push(push) = &event.payload else {
            self.routed.note(None);
            return;
        };
        let expectation = self.outcomes.of(event.id);
        let unasked = || (PushSource::Bus, self.outcomes.unasked(push.ack));
        let (source, acks) = expectation.unwrap_or_else(unasked);
        let source = match push.from {
            Some(_) => PushSource::Client,
            None => source,
        };
        let copied = || (PushEvent::clone(push), acks.clone());
        let parcel = LazyCell::new(|| {
            let (push, acks) = copied();
            Arc::new(Parcel::new(event, push, acks))
        });
        let for_users = LazyCell::new(|| {
            let (push, acks) = copied();
            Arc::new(Parcel::for_users(event, push, acks))
        });
        let (mut matched, mut told_by_copies) = (0, 0);
        let mut offer = |mailbox: &Arc<Mailbox>, parcel: &Arc<Parcel>| {
            let offered = mailbox.offer(parcel);
            matched += usize::from(offered.is_on_its_way());
            self.meters.offered(source, offered);
        };
        for target in &push.targets {
            let mut leave = |mailbox: &Arc<Mailbox>| match target {
                PushTarget::User(_) => offer(mailbox, &for_users),
                _ => offer(mailbox, &parcel),
            };
            match target {
                PushTarget::User(user)
                    if event.standing == Standing::Copied && !known.is_untold(event.id, user) =>
                {
                    told_by_copies += 1;
                }
                PushTarget::User(user) => self.directory.user(user, &mut leave),
                PushTarget::Session(id) => self.directory.session(id, &mut leave),
                PushTarget::All => self.directory.all(&mut leave),
                PushTarget::Room(_) => {}
            }
        }
        for target in &push.targets {
            if let PushTarget::Room(room) = target {
                let is_live = push.class == PushClass::Live;
                let parcel = |place| Parcel::in_room(event, push, acks.clone(), place);
                self.rooms.publish(room, is_live, parcel, &mut offer);
            }
        }
        if matched + told_by_copies == 0 {
            self.meters.unmatched(source);
        }
        self.routed.note(event.position.as_ref());
        match event.standing {
            Standing::Copy => self.outcomes.tell_of_copy(event.id, matched),
            Standing::Alone | Standing::Copied => {
                let counts = (matched, told_by_copies);
                self.outcomes.tell(event.id, counts, acks);
            }
        }
        self.bound_kept();
    }
}
