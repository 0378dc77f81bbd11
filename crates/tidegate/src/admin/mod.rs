//! The admin listener: for those who operate the gateway, and for machines that watch it.
//!
//! It has a thread and a runtime of its own, accepts for itself, and keeps descriptors in reserve, so
//! that it answers while the data plane is full, busy or draining. Who may ask is decided in
//! `access`, what is answered in `api` and the rooms that it names. HTTP here is axum's: nothing of
//! the data plane passes.

mod access;
mod aliases;
mod api;
#[cfg(test)]
mod crowd;
mod events;
mod everywhere;
mod kafka;
mod listen;
mod presence;
mod problem;
mod push;
mod query;
mod reserve;
mod rooms;
mod routes;
mod scope;
mod sessions;
#[cfg(test)]
mod testing;
mod tokens;
mod users;
mod view;
mod waits;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use self::access::Access;
use self::listen::Callers;
use self::reserve::Reserve;
pub(crate) use self::view::{Alive, State, View};
use crate::config::plan::{AdminAlias, AdminPlan, KafkaPlan};
use crate::tls::server::ServerTls;

/// The admin listener, bound and not yet running.
pub(crate) struct Bound {
    listener: TcpListener,
    reserve: Reserve,
    access: Access,
    aliases: Vec<AdminAlias>,
    kafka: Option<Arc<KafkaPlan>>,
    tls: Option<Arc<ServerTls>>,
    address: SocketAddr,
}

impl Bound {
    /// Binds it.
    pub(crate) fn bind(plan: &AdminPlan, tls: Option<Arc<ServerTls>>) -> io::Result<Self> {
        let listener = listen::bind(plan.bind())?;
        let address = listener.local_addr()?;
        Ok(Self {
            access: Access::new(plan.token().cloned(), plan.kafka().is_some(), address),
            aliases: plan.aliases().to_vec(),
            kafka: plan.kafka().cloned(),
            tls,
            reserve: Reserve::full()?,
            listener,
            address,
        })
    }

    /// Where it is bound.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own, until the result is dropped.
    pub(crate) fn run(self, view: Arc<View>) -> io::Result<Running> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = CancellationToken::new();
        let end = ended.clone();
        let run = move || {
            let panics = Arc::clone(&view.panics);
            let places = aliases::places(&self.aliases, self.kafka.as_ref());
            let callers = Callers {
                router: api::router(view, self.access, places),
                tls: self.tls,
            };
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(self.listener) {
                    Ok(listener) => {
                        listen::serve(listener, self.reserve, callers, panics, end).await;
                    }
                    Err(error) => tracing::error!(%error, "the admin listener cannot run"),
                }
            });
        };
        let thread = thread::Builder::new().name("tidegate-admin".into());
        Ok(Running {
            thread: Some(thread.spawn(run)?),
            ended,
        })
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The running admin listener; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Running {
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}
