//! TLS in the kit: clients and servers by rustls, and the cases of plain HTTP held over TLS.
//!
//! With `TIDEGATE_OVER_TLS` set, [`crate::TestGateway`] and [`crate::ScriptedUpstream`] speak TLS and
//! [`crate::Wire`] with them, so that what is promised over plain sockets is asked for over TLS.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tidegate::config::plan::{CertificateFiles, ListenerTls};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::certificates::{Authority, Files, Issued};
use crate::child::Scratch;

/// Whether the cases are held over TLS.
#[must_use]
pub fn is_over_tls() -> bool {
    static IS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TIDEGATE_OVER_TLS").is_some());
    *IS
}

/// The addresses where TLS is spoken because the cases are held over it.
static SPOKEN_AT: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

fn spoken_at() -> std::sync::MutexGuard<'static, HashSet<SocketAddr>> {
    SPOKEN_AT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// TLS is spoken at `address`, or not any more.
pub fn is_spoken_at(address: SocketAddr, is_spoken: bool) {
    if is_spoken {
        spoken_at().insert(address);
    } else {
        spoken_at().remove(&address);
    }
}

/// Whether whoever connects to `address` has to speak TLS.
#[must_use]
pub fn must_be_spoken_at(address: SocketAddr) -> bool {
    is_over_tls() && spoken_at().contains(&address)
}

/// Certificates for the loopback, for all cases that run now.
#[derive(Debug)]
pub struct Loopback {
    _folder: Scratch,
    files: Files,
    issued: Issued,
}

impl Loopback {
    /// Those of now.
    pub fn now() -> Arc<Self> {
        static NOW: Mutex<Weak<Loopback>> = Mutex::new(Weak::new());
        let mut now = NOW.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = now.upgrade() {
            return now;
        }
        let authority = Authority::new("the tests' authority");
        let issued = authority.server(&["localhost", "127.0.0.1", "::1"]);
        let folder = Scratch::new();
        let made = Arc::new(Self {
            files: issued.write(&folder, "server"),
            _folder: folder,
            issued,
        });
        *now = Arc::downgrade(&made);
        made
    }

    /// TLS of a listener.
    #[must_use]
    pub fn listener(&self) -> ListenerTls {
        ListenerTls::new(vec![CertificateFiles {
            cert: self.files.cert.clone(),
            key: self.files.key.clone(),
        }])
    }

    /// A server with its certificate.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        server(&self.issued)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server that shows this certificate, without asking for one.
#[must_use]
pub fn server(issued: &Issued) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let (chain, key) = parsed(issued);
    Arc::new(
        builder
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    )
}

/// A server that shows this certificate, and asks for one of `clients`.
#[must_use]
pub fn asking_server(issued: &Issued, clients: &Authority) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap();
    roots.add(der).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let (chain, key) = parsed(issued);
    Arc::new(
        builder
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap(),
    )
}

/// A client that believes `authority`, and shows `certificate`.
#[must_use]
pub fn client(authority: &Authority, certificate: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(der).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match certificate {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let (chain, key) = parsed(issued);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// A client that believes anybody.
#[must_use]
pub fn credulous() -> Arc<ClientConfig> {
    static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        Arc::new(
            ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Credulous(provider())))
                .with_no_client_auth(),
        )
    });
    Arc::clone(&CLIENT)
}

fn parsed(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    (chain, key)
}

/// Shakes hands as a client with `name`.
pub async fn connect(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await.map(TlsStream::Client)
}

/// Shakes hands as a server.
pub async fn accept(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    acceptor.accept(stream).await.map(TlsStream::Server)
}

#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
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
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
