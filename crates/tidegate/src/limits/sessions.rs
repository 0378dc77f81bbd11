//! How many sessions there may be, of all, of one client and of one user, where one too many is refused.
//! Where it sends the oldest away instead, `presence` looks after it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Addresses, ClusterCaps, Gauge, Overload, Permits, Users};
use crate::config::plan::{OverSessions, SessionLimits};
use crate::presence::Eviction;

/// The caps on sessions of the gateway, or of a route.
#[derive(Debug)]
pub(crate) struct SessionCaps {
    all: Option<Arc<Gauge>>,
    clients: Option<(Arc<Addresses>, usize)>,
    users: Option<Users>,
    eviction: Option<Eviction>,
    /// Those that hold on all nodes together; each node by itself keeps to the same numbers.
    cluster: Option<Arc<ClusterCaps>>,
}

impl SessionCaps {
    /// Those of a route, or of the gateway.
    pub(crate) fn new(limits: &SessionLimits, route: Option<&Arc<str>>) -> Self {
        // What may send others away is itself never refused.
        let refused = |most: Option<usize>| most.filter(|_| limits.over == OverSessions::Reject);
        Self {
            all: Gauge::up_to(refused(limits.most)),
            clients: refused(limits.per_address).map(|most| (Arc::default(), most)),
            users: refused(limits.per_user).map(|most| Users::new(Some(most))),
            eviction: Eviction::wanted(limits),
            cluster: ClusterCaps::wanted(limits, route),
        }
    }

    /// Those that hold on all nodes together.
    pub(crate) const fn cluster(&self) -> Option<&Arc<ClusterCaps>> {
        self.cluster.as_ref()
    }

    /// Whether all nodes together have as many as they may, as far as is known.
    pub(super) fn is_full_elsewhere(&self) -> bool {
        let all = self.cluster.as_ref().zip(self.all.as_ref());
        all.is_some_and(|(cluster, all)| cluster.is_full(all.used()))
    }

    fn is_full_elsewhere_for(&self, user: &str) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.is_full_for(user))
    }

    /// Counts all of them.
    pub(super) const fn all(&self) -> Option<&Arc<Gauge>> {
        self.all.as_ref()
    }

    /// Who goes for one too many.
    pub(crate) const fn eviction(&self) -> Option<&Eviction> {
        self.eviction.as_ref()
    }

    /// The permit of one more session of a client.
    pub(super) fn admit_client(
        &self,
        client: IpAddr,
        permits: &mut Permits,
    ) -> Result<(), Overload> {
        if let Some((clients, most)) = &self.clients {
            let counted = clients.count(client, |has| has < *most);
            permits.count(counted.ok_or(Overload::TooManySessions)?);
        }
        Ok(())
    }

    /// The permit of one more session of a user.
    pub(super) fn admit_user(&self, user: &str, permits: &mut Permits) -> Result<(), Overload> {
        if self.is_full_elsewhere_for(user) {
            return Err(Overload::TooManySessions);
        }
        let gauge = self.users.as_ref().and_then(|users| users.gauge(user));
        gauge.map_or(Ok(()), |gauge| {
            permits.take(&gauge, Overload::TooManySessions)
        })
    }

    /// Whether one more session of a client and of a user would have its permits. Nothing is taken.
    pub(super) fn would_admit(&self, client: IpAddr, user: Option<&str>) -> Result<(), Overload> {
        let clients = self.clients.as_ref();
        let of_client = clients.is_none_or(|(clients, most)| clients.has(client) < *most);
        let users = self.users.as_ref().zip(user);
        let gauge = users.and_then(|(users, user)| users.gauge(user));
        let of_user = gauge.is_none_or(|gauge| gauge.used() < gauge.most())
            && !user.is_some_and(|user| self.is_full_elsewhere_for(user));
        if of_client && of_user {
            Ok(())
        } else {
            Err(Overload::TooManySessions)
        }
    }
}
