//! TLS: what a listener shows and asks for, and whom an upstream must be.

use std::path::PathBuf;
use std::time::Duration;

use super::super::defaults;

/// TLS on a listener. The files are read when the gateway starts, and again when they change.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// What it shows, at least one: the one that is for the name that a client asks for, else the
    /// first.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that it speaks; 1.2.
    pub min_version: TlsVersion,
    /// The cipher suites that it speaks, by their IANA names and in this order; empty (the default):
    /// those that rustls holds safe.
    pub cipher_suites: Vec<Box<str>>,
    /// Whether clients show certificates; `None` (the default): they are not asked for any.
    pub client_certificates: Option<ClientCertificates>,
    /// How long a handshake may take; 10 s.
    pub handshake_timeout: Duration,
    /// Whether clients get tickets, with which they come back by a short handshake; they do.
    pub tickets: bool,
}

impl ListenerTls {
    /// TLS with these certificates and the defaults.
    #[must_use]
    pub const fn new(certificates: Vec<CertificateFiles>) -> Self {
        Self {
            certificates,
            min_version: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
            client_certificates: None,
            handshake_timeout: defaults::TLS_HANDSHAKE_TIMEOUT,
            tickets: true,
        }
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, with the rest of its chain behind it.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What is asked of clients' certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether a client without one is refused.
    pub is_required: bool,
    /// The authorities that they must be from, in PEM.
    pub ca: PathBuf,
    /// Whether upstreams are told of them in `Client-Cert` (RFC 9440), `X-Client-Cert-Subject` and
    /// `X-Client-Cert-San`; they are not.
    pub forward: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// TLS to the endpoints of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTls {
    /// Whether the authorities of the system are believed; they are unless there are others.
    pub system_roots: bool,
    /// Other authorities that are believed, in PEM.
    pub ca: Option<PathBuf>,
    /// What we show where we are asked for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// Whom the endpoints must be, and are asked for; `None` (the default): the host of their URL.
    pub server_name: Option<Box<str>>,
    /// The oldest version that is spoken; 1.2.
    pub min_version: TlsVersion,
    /// Whether anybody may be the upstream. Whoever stands in between can then read and change all.
    pub is_insecure: bool,
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self {
            system_roots: true,
            ca: None,
            certificate: None,
            server_name: None,
            min_version: TlsVersion::Tls12,
            is_insecure: false,
        }
    }
}
