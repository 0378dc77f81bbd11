//! The idle upstream connections of one worker. A connection stays on the worker that dialled it.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::time::Instant;

use super::Endpoint;
use crate::config::plan::ServicePlan;
use crate::http1::client::UpstreamIo;

/// Idle connections, by endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Mutex<Idle>>,
}

#[derive(Debug)]
struct Idle {
    /// The one that was used last stands last, with when it is too old.
    connections: Vec<(UpstreamIo, Instant)>,
}

impl Pool {
    /// A pool for so many endpoints.
    pub(crate) fn new(endpoints: usize) -> Self {
        let empty = || {
            Mutex::new(Idle {
                connections: Vec::new(),
            })
        };
        Self {
            endpoints: (0..endpoints).map(|_| empty()).collect(),
        }
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Idle> {
        self.endpoints[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection that can still be used, the youngest first.
    pub(crate) async fn take(&self, endpoint: &Endpoint) -> Option<UpstreamIo> {
        loop {
            let (mut io, expires) = self.lock(endpoint.index).connections.pop()?;
            let is_good = expires > Instant::now() && io.is_trusted(endpoint.tls.as_ref());
            if is_good && poll_fn(|cx| Poll::Ready(io.poll_is_fresh(cx))).await {
                return Some(io);
            }
        }
    }

    /// Keeps a connection for the next call, unless there are enough.
    pub(crate) fn put(&self, service: &ServicePlan, index: usize, io: UpstreamIo) {
        let mut idle = self.lock(index);
        if idle.connections.len() < service.max_idle {
            idle.connections
                .push((io, Instant::now() + service.idle_timeout));
        }
    }

    /// Drops what is too old, and what the upstream has ended.
    pub(crate) async fn sweep(&self) {
        let now = Instant::now();
        poll_fn(|cx| {
            for index in 0..self.endpoints.len() {
                let is_fresh = |(io, expires): &mut (UpstreamIo, Instant)| {
                    *expires > now && io.poll_is_fresh(cx)
                };
                self.lock(index).connections.retain_mut(is_fresh);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Drops the older half of the idle connections of each endpoint; whether there were any.
    pub(crate) fn make_room(&self) -> bool {
        let mut dropped = false;
        for index in 0..self.endpoints.len() {
            let mut idle = self.lock(index);
            let half = idle.connections.len().div_ceil(2);
            dropped |= idle.connections.drain(..half).next().is_some();
        }
        dropped
    }

    /// How many connections are idle.
    pub(crate) fn len(&self) -> usize {
        (0..self.endpoints.len())
            .map(|index| self.lock(index).connections.len())
            .sum()
    }
}
