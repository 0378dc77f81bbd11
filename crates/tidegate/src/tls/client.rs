//! Whom the endpoints of a service must be, and what we show them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};

use super::certificate::Parts;
use super::files::{self, FileError};
use super::server::{ALPN, versions};
use crate::config::plan::ServiceTls;

/// TLS to one service, shared by all workers.
#[derive(Debug)]
pub(crate) struct ClientTls {
    plan: ServiceTls,
    current: ArcSwap<Trust>,
    made: Mutex<Files>,
}

/// Whom we believe, as of one moment.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
}

/// The contents of all files.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files(..)")
    }
}

impl Files {
    fn read(plan: &ServiceTls) -> Result<Self, FileError> {
        let certificate = plan.certificate.as_ref();
        let certificate = certificate.map(|of| Ok((files::read(&of.cert)?, files::read(&of.key)?)));
        Ok(Self {
            ca: plan.ca.as_ref().map(|path| files::read(path)).transpose()?,
            certificate: certificate.transpose()?,
        })
    }
}

impl ClientTls {
    /// Reads the files of `plan`, and the authorities of the system where those are believed.
    pub(crate) fn load(plan: &ServiceTls) -> Result<Self, FileError> {
        let files = Files::read(plan)?;
        let trust = Trust::build(plan, &files)?;
        if let Some(files) = &plan.certificate {
            files::warn_of_open_key(&files.key);
        }
        Ok(Self {
            plan: plan.clone(),
            current: ArcSwap::new(Arc::new(trust)),
            made: Mutex::new(files),
        })
    }

    /// Whom we believe now.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        self.current.load_full()
    }

    /// Whether `trust` is still what holds.
    pub(crate) fn holds(&self, trust: &Arc<Trust>) -> bool {
        Arc::ptr_eq(&self.current.load(), trust)
    }

    /// Whom an endpoint at `host` must be; `None` where that is no name.
    pub(crate) fn name_of(&self, host: &str) -> Option<ServerName<'static>> {
        let name = self.plan.server_name.as_deref().unwrap_or(host);
        let name = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        ServerName::try_from(name.to_owned()).ok()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let pair = self.plan.certificate.iter();
        let pair = pair.flat_map(|files| [files.cert.clone(), files.key.clone()]);
        pair.chain(self.plan.ca.clone()).collect()
    }

    /// Reads the files again; whether they have changed. What is wrong with them leaves all as it is.
    pub(super) fn reload(&self) -> Result<bool, FileError> {
        let files = Files::read(&self.plan)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if files == *made {
            return Ok(false);
        }
        // With it go the sessions that could be resumed, and idle connections that it was made for.
        self.current
            .store(Arc::new(Trust::build(&self.plan, &files)?));
        *made = files;
        Ok(true)
    }
}

impl Trust {
    fn build(plan: &ServiceTls, files: &Files) -> Result<Self, FileError> {
        let provider = Arc::new(files::provider());
        let verifier: Arc<dyn ServerCertVerifier> = if plan.is_insecure {
            Arc::new(Anybody(Arc::clone(&provider)))
        } else {
            Arc::new(Known::build(plan, files, &provider)?)
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(plan.min_version))
            .map_err(|error| FileError::new("".as_ref(), error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (&plan.certificate, &files.certificate) {
            (Some(paths), Some((certificate, key))) => {
                let key =
                    files::certified_key((&paths.cert, certificate), (&paths.key, key), &provider)?;
                builder
                    .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

/// Verifies by authorities, and tells who signed for itself from who was signed by a stranger.
#[derive(Debug)]
struct Known(Arc<WebPkiServerVerifier>);

impl Known {
    fn build(
        plan: &ServiceTls,
        files: &Files,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, FileError> {
        let mut roots = RootCertStore::empty();
        if plan.system_roots {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some authorities of the system cannot be read");
            }
            roots.add_parsable_certificates(found.certs);
        }
        if let (Some(path), Some(ca)) = (&plan.ca, &files.ca) {
            files::add_authorities(&mut roots, path, ca)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        match verifier.build() {
            Ok(verifier) => Ok(Self(verifier)),
            Err(_none) => {
                let what = "no authority is known by which an upstream could be verified";
                Err(FileError::new("the system's store".as_ref(), what))
            }
        }
    }
}

/// That a certificate is signed by its own key, and nobody else's.
#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is signed by itself alone")
    }
}

impl std::error::Error for SelfSigned {}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(leaf, chain, name, ocsp, now);
        verified.map_err(|error| {
            let is_own = || Parts::of(leaf).is_some_and(|parts| parts.issuer == parts.subject);
            match error {
                Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_),
                ) if is_own() => {
                    let other = OtherError(Arc::new(SelfSigned));
                    Error::InvalidCertificate(CertificateError::Other(other))
                }
                error => error,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes anybody who holds the key of whatever certificate he shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            leaf,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why TLS to an upstream failed.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {what}")]
pub struct TlsFailure {
    check: &'static str,
    what: String,
}

impl TlsFailure {
    /// Which check failed, in one word: `expired`, `not_yet_valid`, `wrong_name`, `unknown_issuer`,
    /// `self_signed` and so on.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        self.check
    }

    pub(crate) fn of(error: &Error) -> Self {
        Self {
            check: check(error),
            what: error.to_string(),
        }
    }

    pub(crate) fn lost(error: &io::Error) -> Self {
        Self {
            check: "lost",
            what: format!("the connection ended within the handshake: {error}"),
        }
    }

    /// What TLS says to a stream that fails, where it was TLS that failed.
    pub(crate) fn within(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref()?;
        Some(Self::of(inner))
    }

    pub(crate) fn no_name(host: &str) -> Self {
        Self {
            check: "wrong_name",
            what: format!("{host} is no name that a certificate could be for"),
        }
    }
}

fn check(error: &Error) -> &'static str {
    use {AlertDescription as Alert, CertificateError as Certificate};
    match error {
        Error::InvalidCertificate(error) => match error {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "not_yet_valid",
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "wrong_name"
            }
            Certificate::UnknownIssuer => "unknown_issuer",
            Certificate::Revoked => "revoked",
            Certificate::BadSignature => "bad_signature",
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
                "wrong_purpose"
            }
            Certificate::BadEncoding => "malformed",
            Certificate::Other(OtherError(other)) if other.is::<SelfSigned>() => "self_signed",
            _ => "certificate",
        },
        Error::NoCertificatesPresented => "no_certificate",
        Error::AlertReceived(
            Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::NoApplicationProtocol,
        ) => "nothing_in_common",
        Error::AlertReceived(_) => "refused_by_upstream",
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => "nothing_in_common",
        Error::InvalidMessage(_) => "not_tls",
        _ => "protocol",
    }
}
