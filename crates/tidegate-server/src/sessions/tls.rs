//! TLS to an admin listener: whom it must be, and what it is shown.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};
use tidegate::config::plan::ListenerTls;

use crate::cli::AdminTlsArgs;

/// TLS to one admin listener.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS as `args` ask for it, with the listener at `host`; `None` where neither they nor the
    /// configuration say that it speaks any. Without authorities in `args`, it may also show a
    /// certificate that is `configured`.
    pub(super) fn new(
        args: &AdminTlsArgs,
        host: &str,
        configured: Option<&ListenerTls>,
    ) -> anyhow::Result<Option<Self>> {
        let is_asked = args.tls || args.ca.is_some() || args.cert.is_some();
        if !is_asked && args.server_name.is_none() && configured.is_none() {
            return Ok(None);
        }
        let provider = Arc::new(default_provider());
        let verifier = Expected::new(args.ca.as_deref(), configured, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => {
                let secret = PrivateKeyDer::from_pem_slice(&read(key)?);
                let no_key = |_error| anyhow!("there is no private key in {}", key.display());
                let shown =
                    builder.with_client_auth_cert(certificates(cert)?, secret.map_err(no_key)?);
                shown.with_context(|| format!("{} cannot be shown", cert.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Some(Self {
            config: Arc::new(config),
            name: name(args.server_name.as_deref().unwrap_or(host))?,
        }))
    }

    pub(super) fn over(
        &self,
        stream: TcpStream,
    ) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let client = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(StreamOwned::new(client, stream))
    }
}

/// The name within `host`, which may have a port.
fn name(host: &str) -> anyhow::Result<ServerName<'static>> {
    let has_port = |(_, port): &(&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit());
    let bare = match host.rsplit_once(':').filter(has_port) {
        // An IPv6 address alone has colons too.
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    };
    let bare = bare.strip_prefix('[').unwrap_or(bare);
    let bare = bare.strip_suffix(']').unwrap_or(bare);
    let named = ServerName::try_from(bare.to_owned());
    named.with_context(|| {
        format!("no certificate can be for `{bare}`: name another with --server-name")
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_none) => bail!("there is no certificate in {}", path.display()),
        Err(error) => bail!("{} is no PEM: {error}", path.display()),
    }
}

/// Believes the authorities, and besides who shows one of these very certificates.
#[derive(Debug)]
struct Expected {
    known: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Expected {
    fn new(
        ca: Option<&Path>,
        configured: Option<&ListenerTls>,
        provider: &Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let mut own = Vec::new();
        if let Some(path) = ca {
            for authority in certificates(path)? {
                let added = roots.add(authority);
                added.with_context(|| format!("{} holds no authority", path.display()))?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            // Who may read the configuration but not these goes by the authorities alone.
            let files = configured.into_iter().flat_map(|tls| &tls.certificates);
            let leaves = files.filter_map(|files| certificates(&files.cert).ok());
            own = leaves
                .filter_map(|chain| chain.into_iter().next())
                .collect();
        }
        let known =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(Self {
            // Without any authority nobody is known.
            known: known.build().ok(),
            own,
            provider: Arc::clone(provider),
        })
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.iter().any(|own| own == leaf) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.known {
            Some(known) => known.verify_server_cert(leaf, chain, name, ocsp, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What to do about a failure of TLS, where an option helps.
pub(super) fn advice(error: &Error) -> &'static str {
    use rustls::AlertDescription::{CertificateRequired, HandshakeFailure};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name the authority of its certificate with --ca"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "name whom its certificate is for with --server-name",
        Error::AlertReceived(CertificateRequired | HandshakeFailure) => {
            "show a certificate with --cert and --key"
        }
        Error::InvalidMessage(_) => "what answers speaks no TLS",
        _ => "TLS failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_listener_is_its_host() {
        for (host, wanted) in [
            ("gate.example:9900", "gate.example"),
            ("gate.example", "gate.example"),
            ("10.0.0.1:1", "10.0.0.1"),
            ("[::1]:9900", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(name(host).unwrap().to_str(), wanted, "{host}");
        }
        assert!(name("a b:1").is_err());
    }
}
