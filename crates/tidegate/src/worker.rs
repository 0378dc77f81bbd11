//! One thread of the data plane; what all of them share is in `core`.
//!
//! A worker gets accepted sockets from `listener` and runs each as a task (`connection`). Whatever a
//! request needs besides itself (the routes, idle upstream connections, the open sessions, the
//! time) hangs on it.

mod core;

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::access_log::AccessLog;
use crate::auth::Authenticator;
use crate::config::plan::Bind;
use crate::connection;
use crate::drain::{self, Drain};
use crate::exchange::Downstream;
use crate::limits::Caps;
use crate::listener::{Accepted, Admission};
use crate::metrics::Meters;
use crate::pipeline::CorsPlan;
use crate::presence::Directory;
use crate::push::Push;
use crate::route::Route;
use crate::router::Router;
use crate::session::Cause;
use crate::session::clock::Clock;
use crate::session::everywhere::Everywhere;
use crate::session::registry::Registry;
use crate::task::{self, Kind, Panics};
use crate::tls::accept::Handshake;
use crate::transport::Transport;
use crate::upstream::Service;
use crate::upstream::pool::Pool;

pub(crate) use self::core::Core;

/// One thread of the data plane, as those who run on it know it.
#[derive(Debug)]
pub(crate) struct Worker {
    core: Arc<Core>,
    /// Idle upstream connections.
    pub(crate) pool: Arc<Pool>,
    /// Open WebSockets.
    pub(crate) sessions: Arc<Registry>,
    /// Coarse time.
    pub(crate) clock: Arc<Clock>,
    /// How many revocations its sessions were last judged by.
    revoked: AtomicU64,
    /// Where it is written what comes in.
    pub(crate) access_log: Option<AccessLog>,
    /// What is counted here.
    pub(crate) meters: Meters,
    /// How far the gateway's end is.
    pub(crate) drain: Arc<Drain>,
    /// Connections and sessions.
    load: AtomicUsize,
}

impl Worker {
    pub(crate) fn new(core: Arc<Core>, drain: Arc<Drain>) -> Self {
        let pool = Arc::new(Pool::new(core.endpoints));
        let mut pools = core.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Arc::clone(&pool));
        drop(pools);
        let sessions = Arc::new(Registry::new(Arc::clone(&core.directory)));
        let clock = Arc::<Clock>::default();
        core.sessions.add(&sessions, &clock);
        Self {
            pool,
            sessions,
            clock,
            revoked: AtomicU64::new(0),
            meters: Meters::new(core.routes.len(), core.services.len()),
            load: AtomicUsize::new(0),
            drain,
            access_log: None,
            core,
        }
    }

    /// The routes' matchers.
    pub(crate) fn router(&self) -> &Router {
        &self.core.router
    }

    /// Whether the listener of that name speaks TLS.
    pub(crate) fn has_tls(&self, listener: &str) -> bool {
        self.core.listener_tls.contains_key(listener)
    }

    /// Who is online.
    pub(crate) fn directory(&self) -> &Directory {
        self.core.directory()
    }

    /// The same, to keep.
    pub(crate) fn shared_directory(&self) -> Arc<Directory> {
        Arc::clone(self.core.directory())
    }

    /// See [`Core::reloads`].
    pub(crate) fn reloads(&self) -> [u64; 2] {
        self.core.reloads()
    }

    /// What stands behind the matcher at `place`.
    pub(crate) fn route(&self, place: usize) -> &Arc<Route> {
        self.core.route(place)
    }

    /// What all workers together may have in use.
    pub(crate) fn caps(&self) -> &Caps {
        &self.core.caps
    }

    /// The open WebSockets of all workers.
    pub(crate) fn all_sessions(&self) -> &Everywhere {
        self.core.sessions()
    }

    /// Descriptors are short: see [`Core::make_room`].
    pub(crate) fn make_room(&self) -> bool {
        self.core.make_room()
    }

    /// Who knows how clients prove who they are.
    pub(crate) fn authenticator(&self) -> &Arc<Authenticator> {
        self.core.authenticator()
    }

    /// What holds for browsers where no route does.
    pub(crate) fn cors(&self) -> Option<&CorsPlan> {
        self.core.cors.as_ref()
    }

    /// Who can be pushed to.
    pub(crate) fn push(&self) -> &Arc<Push> {
        &self.core.push
    }

    /// Where panics are counted.
    pub(crate) fn panics(&self) -> &Arc<Panics> {
        &self.core.panics
    }

    /// The routes, in the order of their meters.
    pub(crate) fn routes(&self) -> &[Arc<Route>] {
        &self.core.routes
    }

    /// The services that routes use, in the order of their meters.
    pub(crate) fn services(&self) -> &[Arc<Service>] {
        &self.core.services
    }

    /// Connections and sessions.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// A connection was given to this worker.
    pub(crate) fn arrives(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// Serves as long as the acceptor gives it connections, then until what is under way has ended
    /// or is cut; returns how much was.
    pub(crate) async fn run(self: Arc<Self>, mut accepted: mpsc::Receiver<Accepted>) -> usize {
        let mut second = every(Duration::from_secs(1));
        let mut begun = pin!(self.drain.begun());
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                // While connections are accepted still, so that who comes back at once is not refused.
                () = &mut begun, if told.is_none() => {
                    told = Some(self.sessions.give_notice(Cause::Drain, 0));
                }
                _ = second.tick() => self.tick(self.clock.age()).await,
                next = accepted.recv() => match next {
                    Some(next) => {
                        let connection = Arc::clone(&self).connection(next);
                        task::spawn(Kind::Connection, self.panics(), connection);
                    }
                    None => break,
                },
            }
        }
        // Those who have come since; nobody who comes back comes back to here any more.
        self.sessions.give_notice(Cause::Drain, told.unwrap_or(0));
        let mut look = every(drain::LOOK);
        let mut ending = Ending::default();
        while self.load() > 0 {
            tokio::select! {
                biased;
                () = self.drain.is_cut() => break,
                _ = second.tick() => self.tick(self.clock.age()).await,
                _ = look.tick() => {
                    self.end_some(&mut ending);
                    if self.drain.is_late() {
                        break;
                    }
                }
            }
        }
        self.load()
    }

    /// Ends the sessions whose turn has come.
    fn end_some(&self, ending: &mut Ending) {
        if !ending.is_last && self.drain.is_nearly_late() {
            ending.is_last = true;
            // Those too that still wait for something.
            self.sessions.end_all(Cause::Drain);
        }
        if ending.is_through {
            return;
        }
        ending.is_through = self
            .drain
            .share(|due| self.sessions.end_next(&mut ending.place, due, Cause::Drain));
        if ending.is_through {
            // Those too that came while the others were ended.
            self.sessions.end_all(Cause::Drain);
        }
    }

    /// Once a second: moves the clock, tells the sessions whose time has come, and drops idle
    /// connections that are too old or that the upstream has ended.
    pub(crate) async fn tick(&self, age: Duration) {
        let last = self.clock.now();
        self.clock
            .set(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        self.sessions.sweep(&self.clock);
        if let Some(log) = &self.access_log {
            log.stats(&self.sessions, &self.clock, last);
        }
        self.core.caps.tick();
        self.core.authenticator.tick();
        self.core.push.tick();
        let revocations = self.core.authenticator.revocations();
        let revoked = revocations.added();
        if self.revoked.swap(revoked, Ordering::Relaxed) != revoked {
            self.sessions.end_revoked(|one| revocations.hold(one)).await;
        }
        self.pool.sweep().await;
    }

    async fn connection(self: Arc<Self>, accepted: Accepted) {
        self.meters.accepted.add(1);
        let stream = match TcpStream::from_std(accepted.stream) {
            Ok(stream) => stream,
            Err(error) => {
                let listener = &*accepted.listener.name;
                tracing::warn!(listener, %error, "accepted, but cannot be served");
                return;
            }
        };
        let listener = &accepted.listener;
        let (stream, peer, admission) = match (accepted.admission, accepted.unnamed) {
            (Admission::In(permits), Some(unnamed)) => {
                // Boxed, so that connections that know their peer do not hold the room.
                let named = Box::pin(unnamed.name(stream, accepted.peer, permits, listener, &self));
                let Some(named) = named.await else {
                    return;
                };
                named
            }
            (admission, _) => (stream, accepted.peer, admission),
        };
        let mut transport = Transport::accepted(stream);
        let local = match listener.bind {
            Bind::Tcp(_) => transport.local_address(),
            Bind::Unix(_) => Ok(Bind::UNIX_PEER),
        };
        let Ok(local) = local else {
            return;
        };
        let mut secured = None;
        if let Some(tls) = self.core.listener_tls.get(&listener.name) {
            let handshake = Handshake {
                tls,
                worker: &self,
                peer,
                is_refused: matches!(admission, Admission::Refused(..)),
            };
            // Boxed, so that the connection does not hold the room for it to its end.
            match Box::pin(handshake.hold(transport)).await {
                Some((held, agreed)) => (transport, secured) = (held, Some(agreed)),
                None => return,
            }
        }
        let downstream = Downstream {
            connection: self.sessions.connection_id(),
            listener: Arc::clone(&listener.name),
            peer,
            local,
            secure: secured.is_some(),
            tls: secured.map(Arc::new),
            trusted: self.caps().trusts(peer.ip()),
            limits: Arc::clone(&listener.limits),
            redirect: listener.redirect.clone(),
        };
        match admission {
            Admission::In(permits) => {
                connection::serve(transport, Arc::new(downstream), permits, Arc::clone(&self))
                    .await;
            }
            Admission::Refused(overload, _refusing) => {
                connection::turn_away(transport, &downstream, overload, &self).await;
            }
        }
        drop(accepted.present);
    }
}

/// How far a worker is with ending its sessions.
#[derive(Debug, Default)]
struct Ending {
    /// Where in the registry the next one is.
    place: usize,
    /// All have been told.
    is_through: bool,
    /// The same, at the last moment.
    is_last: bool,
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Counts a connection or a session of a worker as long as it lives.
#[derive(Debug)]
pub(crate) struct Present(Arc<Worker>);

impl Present {
    /// Counts one more.
    pub(crate) fn new(worker: &Arc<Worker>) -> Self {
        worker.arrives();
        Self(Arc::clone(worker))
    }

    /// Its worker, for whoever does not count.
    pub(crate) fn shared(&self) -> Arc<Worker> {
        Arc::clone(&self.0)
    }
}

impl std::ops::Deref for Present {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.0
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}
