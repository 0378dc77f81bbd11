//! TLS for a client, on rustls; none of its types is seen outside.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ClientError;

pub(super) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Whom to believe, and what to show them. A clone is cheap, and shares the sessions that can be
/// resumed.
#[derive(Clone)]
pub struct Tls {
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

/// Why certificates or a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl Tls {
    /// Believes the authorities of the system. They are read anew, from its files.
    ///
    /// # Errors
    /// When there is none.
    pub fn system() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(TlsError("the system has no authorities".into()));
        }
        Self::build(Arc::new(roots), None)
    }

    /// Believes these authorities alone, one or more certificates in PEM.
    ///
    /// # Errors
    /// When there is none, or one that is no authority's.
    pub fn trusting(authorities: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError(format!("a certificate is no authority: {error}")))?;
        }
        Self::build(Arc::new(roots), None)
    }

    /// Shows a certificate to servers that ask for one: it with its chain, and its key, in PEM.
    ///
    /// # Errors
    /// When either is none, or they do not belong together.
    pub fn identity(self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        // What is said repeats nothing of the key.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_error| TlsError("there is no private key in it".into()))?;
        Self::build(self.roots, Some((certificates(chain)?, key)))
    }

    /// That of the system, read once.
    pub(super) fn of_system() -> Result<Self, TlsError> {
        static SYSTEM: OnceLock<Tls> = OnceLock::new();
        if let Some(tls) = SYSTEM.get() {
            return Ok(tls.clone());
        }
        let tls = Self::system()?;
        Ok(SYSTEM.get_or_init(|| tls).clone())
    }

    fn build(
        roots: Arc<RootCertStore>,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, TlsError> {
        let failed = |error: rustls::Error| TlsError(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(Arc::clone(&roots));
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Ok(Self { roots, config })
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        io: TcpStream,
    ) -> Result<TlsStream, ClientError> {
        let name = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned())
            .map_err(|_error| ClientError::Url("its host is no name for TLS"))?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, io)
            .await
            .map_err(|error| ClientError::Tls(error.into()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.roots.len())
            .finish_non_exhaustive()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| TlsError(format!("it is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsError("there is no certificate in it".into()));
    }
    Ok(certificates)
}
