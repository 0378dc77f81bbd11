//! Services: who is called, on which endpoint, over which connection.
//!
//! A target asks its service for a [`Lease`] (the right to use one endpoint for one call or one
//! session), dials it or takes an idle connection of its worker, and gives the lease back by
//! dropping it.

mod balance;
pub(crate) mod dial;
pub(crate) mod pool;
mod resolve;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::balance::Balancer;
use self::resolve::Resolver;
use crate::config::plan::{Balance, EndpointPlan, ServicePlan};
use crate::limits::{Gauge, Overload, Taken};
use crate::task::Panics;
use crate::tls::client::ClientTls;

/// A named upstream application, shared by all workers.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) plan: Arc<ServicePlan>,
    /// Its place among all services.
    pub(crate) place: usize,
    endpoints: Vec<Arc<Endpoint>>,
    for_http: Balancer,
    for_sessions: Balancer,
    /// Live leases of all endpoints, where they are capped.
    gauge: Option<Arc<Gauge>>,
    /// Which source address is next.
    pub(crate) next_source: AtomicUsize,
}

/// One address of a service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: EndpointPlan,
    /// What is spoken to it over TLS, where its URL says so.
    pub(crate) tls: Option<Arc<ClientTls>>,
    resolver: Resolver,
    /// Its place among all endpoints of the gateway, by which workers find its idle connections.
    pub(crate) index: usize,
    /// Live leases.
    live: AtomicUsize,
}

/// The right to use an endpoint for one call or one session; it counts as long as it lives.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    /// Held for its drop.
    _taken: Option<Taken>,
}

/// What an endpoint is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One HTTP call.
    Call,
    /// A WebSocket.
    Session,
}

impl Service {
    /// Builds a service at `place`, whose endpoints get the places from `first_index` on.
    pub(crate) fn new(
        plan: Arc<ServicePlan>,
        place: usize,
        first_index: usize,
        tls: Option<&Arc<ClientTls>>,
        panics: &Arc<Panics>,
    ) -> Self {
        let endpoints: Vec<_> = (first_index..)
            .zip(&plan.endpoints)
            .map(|(index, plan)| {
                Arc::new(Endpoint {
                    plan: plan.clone(),
                    tls: tls.filter(|_| plan.is_tls).map(Arc::clone),
                    resolver: Resolver::new(&plan.authority, panics),
                    index,
                    live: AtomicUsize::new(0),
                })
            })
            .collect();
        let weights: Vec<_> = plan
            .endpoints
            .iter()
            .map(|endpoint| endpoint.weight)
            .collect();
        let balancer = |default| Balancer::new(plan.balance.unwrap_or(default), &weights);
        Self {
            for_http: balancer(Balance::RoundRobin),
            for_sessions: balancer(Balance::LeastSessions),
            endpoints,
            gauge: Gauge::up_to(plan.max_connections),
            plan,
            place,
            next_source: AtomicUsize::new(0),
        }
    }

    /// How many endpoints there are.
    pub(crate) const fn size(&self) -> usize {
        self.endpoints.len()
    }

    /// Chooses an endpoint that is not among `tried` (places within the service) and adds it there;
    /// `None` when all were tried. As many leases as there may be are an error.
    pub(crate) fn lease(
        &self,
        purpose: Purpose,
        tried: &mut Vec<usize>,
    ) -> Result<Option<Lease>, Overload> {
        let taken = match &self.gauge {
            Some(gauge) => Some(gauge.take().ok_or(Overload::ServiceFull)?),
            None => None,
        };
        let balancer = match purpose {
            Purpose::Call => &self.for_http,
            Purpose::Session => &self.for_sessions,
        };
        let live = |at: usize| self.endpoints[at].live();
        let Some(chosen) = balancer.choose(tried, live) else {
            return Ok(None);
        };
        tried.push(chosen);
        let endpoint = Arc::clone(&self.endpoints[chosen]);
        endpoint.live.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Lease {
            endpoint,
            _taken: taken,
        }))
    }

    /// Its endpoints, in the order of the configuration.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many leases are out.
    #[cfg(fuzzing)]
    pub(crate) fn live(&self) -> usize {
        self.endpoints.iter().map(|endpoint| endpoint.live()).sum()
    }
}

impl Endpoint {
    /// How many leases are out.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

impl Lease {
    /// The endpoint it is for.
    pub(crate) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.live.fetch_sub(1, Ordering::Relaxed);
    }
}
