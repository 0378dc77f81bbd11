//! TLS: what a listener shows and asks for, whom an upstream must be, and who the client is.
//!
//! The bytes are `transport/`'s. Here are the files (`files`), what is made of them for a listener
//! (`server`) and for a service (`client`), how that is made anew when they change (`watch`), and
//! what a certificate says (`certificate`, `der`).

pub(crate) mod accept;
mod certificate;
pub(crate) mod client;
pub(crate) mod der;
pub(crate) mod files;
pub(crate) mod server;
pub(crate) mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::{CommonState, HandshakeKind};

pub use self::certificate::ClientCertificate;
pub(crate) use self::certificate::public_key_of;
use self::client::ClientTls;
pub use self::client::TlsFailure;
pub use self::files::FileError;
use self::server::ServerTls;
pub use self::watch::Reload;
use self::watch::Watched;
use crate::config::Plan;
use crate::config::plan::{ServiceTls, StorePlan};

/// What the two ends of a connection agreed upon.
#[derive(Debug, Clone)]
pub struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by the name that IANA gave it.
    pub cipher_suite: &'static str,
    /// The name that the client asked for (SNI), in lower case, where it asked for one.
    pub server_name: Option<Box<str>>,
    /// Whether the client came back by a ticket.
    pub is_resumed: bool,
    /// The client's certificate, where it was asked for one and had one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether upstreams are told of it.
    pub(crate) forwards_certificate: bool,
}

/// TLS of a whole plan, with its files read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// By the names of the listeners.
    pub(crate) listeners: HashMap<Arc<str>, Arc<ServerTls>>,
    /// The admin listener's.
    pub(crate) admin: Option<Arc<ServerTls>>,
    /// By the names of the services.
    pub(crate) services: HashMap<Arc<str>, Arc<ClientTls>>,
    /// Of whom publishes the keys of tokens.
    pub(crate) jwks: Option<Arc<ClientTls>>,
}

/// Which file of whom is wrong.
#[derive(Debug, thiserror::Error)]
#[error("TLS of the {kind} `{name}`")]
pub struct TlsError {
    kind: &'static str,
    name: Arc<str>,
    source: FileError,
}

/// Reads all files that TLS of `plan` needs, and tells of each thing that is wrong with them.
#[must_use]
pub fn check(plan: &Plan) -> Vec<TlsError> {
    Loaded::all(plan).1
}

impl Loaded {
    /// Reads the files of `plan`.
    pub(crate) fn load(plan: &Plan) -> Result<Self, TlsError> {
        let (loaded, errors) = Self::all(plan);
        errors.into_iter().next().map_or(Ok(loaded), Err)
    }

    fn all(plan: &Plan) -> (Self, Vec<TlsError>) {
        let (mut loaded, mut errors) = (Self::default(), Vec::new());
        let failed = |kind, name: &Arc<str>| {
            let name = Arc::clone(name);
            move |source| TlsError { kind, name, source }
        };
        for listener in &plan.listeners {
            let Some(tls) = &listener.tls else {
                continue;
            };
            match ServerTls::load(tls).map_err(failed("listener", &listener.name)) {
                Ok(tls) => {
                    let name = Arc::clone(&listener.name);
                    loaded.listeners.insert(name, Arc::new(tls));
                }
                Err(error) => errors.push(error),
            }
        }
        if let Some(tls) = plan.admin.as_ref().and_then(|admin| admin.tls()) {
            match ServerTls::load(tls).map_err(failed("listener", &"admin".into())) {
                Ok(tls) => loaded.admin = Some(Arc::new(tls)),
                Err(error) => errors.push(error),
            }
        }
        for service in &plan.services {
            if !service.endpoints.iter().any(|endpoint| endpoint.is_tls) {
                continue;
            }
            match ClientTls::load(&service.tls).map_err(failed("service", &service.name)) {
                Ok(tls) => {
                    let name = Arc::clone(&service.name);
                    loaded.services.insert(name, Arc::new(tls));
                }
                Err(error) => errors.push(error),
            }
        }
        let jwt = plan.auth.jwt.as_ref();
        if let Some(jwks) = jwt.and_then(|jwt| jwt.jwks.as_ref()) {
            let service = &jwks.service;
            if service.endpoints.iter().any(|endpoint| endpoint.is_tls) {
                match ClientTls::load(&service.tls).map_err(failed("source of keys", &service.name))
                {
                    Ok(tls) => loaded.jwks = Some(Arc::new(tls)),
                    Err(error) => errors.push(error),
                }
            }
        }
        if let StorePlan::Redis(redis) = &plan.cluster.store
            && let Some(tls) = &redis.tls
        {
            // Whoever speaks with it reads them anew.
            let tls = ServiceTls {
                ca: tls.ca.clone(),
                certificate: tls.certificate.clone(),
                system_roots: tls.ca.is_none(),
                ..ServiceTls::default()
            };
            let read = ClientTls::load(&tls).map_err(failed("cluster", &"redis".into()));
            errors.extend(read.err());
        }
        if let Some(kafka) = &plan.bus.kafka {
            let registry = kafka.registry.as_ref();
            let registry = registry.filter(|registry| registry.endpoint.is_tls);
            let registry = registry.map(|registry| ("schema_registry", &registry.tls));
            let brokers = kafka.tls.as_ref().map(|tls| ("brokers", tls));
            for (name, tls) in brokers.into_iter().chain(registry) {
                let checked = files::check_outgoing(tls);
                errors.extend(checked.map_err(failed("bus.kafka", &name.into())).err());
            }
        }
        (loaded, errors)
    }

    /// All that is made of files.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let listener = |(name, tls): (&Arc<str>, &Arc<ServerTls>)| {
            Watched::Listener(Arc::clone(name), Arc::clone(tls))
        };
        let service = |(name, tls): (&Arc<str>, &Arc<ClientTls>)| {
            Watched::Service(Arc::clone(name), Arc::clone(tls))
        };
        let admin = self.admin.iter().map(|tls| {
            let name = Arc::from("admin");
            Watched::Listener(name, Arc::clone(tls))
        });
        let jwks = self
            .jwks
            .iter()
            .map(|tls| Watched::Service("jwks".into(), Arc::clone(tls)));
        let listeners = self.listeners.iter().map(listener);
        let services = self.services.iter().map(service);
        listeners.chain(admin).chain(services).chain(jwks).collect()
    }
}

impl Secured {
    pub(crate) fn of(state: &CommonState, server_name: Option<Box<str>>) -> Self {
        let version = match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        };
        let suite = state.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str());
        let leaf = state.peer_certificates().and_then(<[_]>::first);
        Self {
            version,
            cipher_suite: suite.map_or("", files::iana_name),
            server_name,
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: leaf.and_then(|leaf| ClientCertificate::parse(leaf)),
            forwards_certificate: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::PathBuf;

    use super::*;
    use crate::config::plan::{RedisPlan, RedisTls};
    use crate::session::testing::plan_with;

    #[test]
    fn files_for_the_store_of_a_cluster_are_read_before_it_is_asked() {
        let none = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (path, what) in [("/nope.pem", "cannot be read"), (none, "no certificate")] {
            let mut plan = plan_with("", "").clone();
            plan.cluster.store = StorePlan::Redis(Box::new(RedisPlan {
                tls: Some(RedisTls {
                    ca: Some(PathBuf::from(path)),
                    ..RedisTls::default()
                }),
                ..RedisPlan::new(Vec::new())
            }));
            let errors = check(&plan);
            let said = errors.first().and_then(|error| error.source());
            let said = said.map(ToString::to_string).unwrap_or_default();
            assert!(said.contains(path) && said.contains(what), "{said}");
        }
    }
}
