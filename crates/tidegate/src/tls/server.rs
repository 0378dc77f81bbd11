//! What a listener shows and asks for, made of its files, and made anew when they change.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::certificate::Parts;
use super::files::{self, FileError};
use crate::config::plan::{ClientCertificates, ListenerTls, TlsVersion};

/// The one protocol that is spoken behind TLS.
pub(super) const ALPN: &[u8] = b"http/1.1";

/// TLS on a listener, shared by all workers.
#[derive(Debug)]
pub(crate) struct ServerTls {
    plan: ListenerTls,
    current: ArcSwap<ServerConfig>,
    made: Mutex<Made>,
}

/// Of what the current configuration was made.
#[derive(Debug)]
struct Made {
    files: Files,
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// The contents of all files.
#[derive(PartialEq, Eq)]
struct Files {
    certificates: Vec<(Vec<u8>, Vec<u8>)>,
    ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(..)")
    }
}

impl Files {
    fn read(plan: &ListenerTls) -> Result<Self, FileError> {
        let pair = |of: &crate::config::plan::CertificateFiles| {
            Ok((files::read(&of.cert)?, files::read(&of.key)?))
        };
        let ca = plan.client_certificates.as_ref();
        Ok(Self {
            certificates: plan
                .certificates
                .iter()
                .map(pair)
                .collect::<Result<_, _>>()?,
            ca: ca.map(|asked| files::read(&asked.ca)).transpose()?,
        })
    }
}

impl ServerTls {
    /// Reads the files of `plan`.
    pub(crate) fn load(plan: &ListenerTls) -> Result<Self, FileError> {
        let files = Files::read(plan)?;
        let tickets = tickets(plan)?;
        let config = build(plan, &files, tickets.as_ref())?;
        for files in &plan.certificates {
            files::warn_of_open_key(&files.key);
        }
        Ok(Self {
            plan: plan.clone(),
            current: ArcSwap::new(Arc::new(config)),
            made: Mutex::new(Made { files, tickets }),
        })
    }

    /// What the next handshake is held with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// How long a handshake may take.
    pub(crate) const fn handshake_timeout(&self) -> Duration {
        self.plan.handshake_timeout
    }

    /// Whether upstreams are told of clients' certificates.
    pub(crate) fn forwards_certificates(&self) -> bool {
        let asked = self.plan.client_certificates.as_ref();
        asked.is_some_and(|asked| asked.forward)
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.plan.certificates.iter();
        let pairs = pairs.flat_map(|files| [files.cert.clone(), files.key.clone()]);
        let ca = self.plan.client_certificates.as_ref();
        pairs.chain(ca.map(|asked| asked.ca.clone())).collect()
    }

    /// Reads the files again; whether they have changed. What is wrong with them leaves all as it is.
    pub(super) fn reload(&self) -> Result<bool, FileError> {
        let files = Files::read(&self.plan)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if files == made.files {
            return Ok(false);
        }
        // A ticket speaks for a certificate that was good by the authorities of its day.
        let tickets = if files.ca == made.files.ca {
            made.tickets.clone()
        } else {
            tickets(&self.plan)?
        };
        let config = build(&self.plan, &files, tickets.as_ref())?;
        self.current.store(Arc::new(config));
        *made = Made { files, tickets };
        Ok(true)
    }
}

fn tickets(plan: &ListenerTls) -> Result<Option<Arc<dyn ProducesTickets>>, FileError> {
    if !plan.tickets {
        return Ok(None);
    }
    // Its keys change every six hours.
    let made = Ticketer::new().map_err(|error| whole(plan, &error))?;
    Ok(Some(made))
}

/// An error that is nobody's file's.
fn whole(plan: &ListenerTls, error: &dyn std::fmt::Display) -> FileError {
    let first = plan.certificates.first();
    FileError::new(
        first.map_or(std::path::Path::new(""), |files| &files.cert),
        error,
    )
}

fn build(
    plan: &ListenerTls,
    files: &Files,
    tickets: Option<&Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, FileError> {
    let mut provider = files::provider();
    if !plan.cipher_suites.is_empty() {
        provider.cipher_suites = files::chosen_suites(&plan.cipher_suites);
    }
    let provider = Arc::new(provider);
    let resolver = Certificates::load(plan, files, &provider)?;
    let verifier = match (&plan.client_certificates, &files.ca) {
        (Some(asked), Some(ca)) => verifier(asked, ca, &provider)?,
        _ => WebPkiClientVerifier::no_client_auth(),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(plan.min_version))
        .map_err(|error| whole(plan, &error))?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // What a client is quickest at it puts first; an order that is written down holds.
    config.ignore_client_order = !plan.cipher_suites.is_empty();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => config.ticketer = Arc::clone(tickets),
        None => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

/// The versions from `least` on.
pub(super) const fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
    const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match least {
        TlsVersion::Tls12 => ALL,
        TlsVersion::Tls13 => NEW,
    }
}

fn verifier(
    asked: &ClientCertificates,
    ca: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let mut roots = RootCertStore::empty();
    files::add_authorities(&mut roots, &asked.ca, ca)?;
    let provider = Arc::clone(provider);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if asked.is_required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|error| FileError::new(&asked.ca, error))
}

/// Certificates by the name that a client asks for.
#[derive(Debug)]
struct Certificates {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    fn load(
        plan: &ListenerTls,
        files: &Files,
        provider: &CryptoProvider,
    ) -> Result<Self, FileError> {
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        let mut all = Vec::new();
        for (paths, (certificate, key)) in plan.certificates.iter().zip(&files.certificates) {
            let certified =
                files::certified_key((&paths.cert, certificate), (&paths.key, key), provider)?;
            let parts = certified.cert.first().and_then(|leaf| Parts::of(leaf));
            for name in parts.iter().flat_map(Parts::dns_names) {
                by_name
                    .entry(name)
                    .or_default()
                    .push(Arc::clone(&certified));
            }
            all.push(certified);
        }
        Ok(Self { by_name, all })
    }

    /// Those for a name: of the name itself, else of all names beside it.
    fn of(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        let beside = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        exact.or_else(beside).map(Vec::as_slice)
    }
}

thread_local! {
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name for which a certificate was asked for since this was asked last, on this thread: rustls's
/// unbuffered half tells it to nobody else.
pub(crate) fn asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

impl ResolvesServerCert for Certificates {
    /// Of those for the name, or else of all in their order, the first whose key the client can
    /// check.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED_FOR.set(hello.server_name().map(Into::into));
        let named = hello.server_name().and_then(|name| self.of(name));
        let candidates = named.unwrap_or(&self.all);
        let can_check =
            |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = candidates.iter().find(can_check).or(candidates.first());
        chosen.map(Arc::clone)
    }
}
