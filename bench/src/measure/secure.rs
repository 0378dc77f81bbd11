//! TLS of the clients and of the upstream. Every record is verified, as is the signature of each
//! handshake; the certificate must be the one that the bench has made.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ProducesTickets;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, HandshakeKind,
    ServerConfig, ServerConnection, SignatureScheme,
};
use tidegate_tests::certificates::Authority;

use super::order::{Exchange, Order};
use super::words;

/// Whom the certificate is for.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Writes an authority, and a server's certificate of it with a key for P-256.
pub(crate) fn make(folder: &Path) -> Result<(), String> {
    let authority = Authority::new("bench");
    let server = authority.server(&NAMES);
    let both = format!("{}{}", server.cert, server.key);
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", &server.cert),
        ("server.key", &server.key),
        // HAProxy's way.
        ("server-with-key.pem", &both),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// What both sides of the load need for TLS.
#[derive(Debug)]
pub(super) struct Secrets {
    /// Where clients speak TLS.
    client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Where the upstream does.
    upstream: Option<Arc<ServerConfig>>,
    group: &'static dyn SupportedKxGroup,
}

impl Secrets {
    pub(super) fn load(order: &Order) -> Result<Self, String> {
        let group = match order.exchange {
            Exchange::Classic => kx_group::X25519,
            Exchange::Hybrid => kx_group::X25519MLKEM768,
        };
        let mut secrets = Self {
            client: None,
            upstream: None,
            group,
        };
        if !order.tls.client && !order.tls.upstream {
            return Ok(secrets);
        }
        let folder = Path::new(&order.certificates);
        let leaf = CertificateDer::from_pem_file(folder.join("server.pem")).map_err(words)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        });
        if order.tls.client {
            let config = client(Arc::clone(&provider), leaf.clone())?;
            let name = ServerName::from(SocketAddr::ip(&order.gateway));
            secrets.client = Some((config, name));
        }
        if order.tls.upstream {
            let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).map_err(words)?;
            secrets.upstream = Some(server(provider, leaf, key)?);
        }
        Ok(secrets)
    }

    /// TLS of a new client, where clients speak it.
    pub(super) fn client(&self) -> Result<Option<Tls>, String> {
        let Some((config, name)) = &self.client else {
            return Ok(None);
        };
        let client = ClientConnection::new(Arc::clone(config), name.clone()).map_err(words)?;
        Ok(Some(Tls::new(client.into(), Some(self.group))))
    }

    /// TLS of a new connection of the upstream, where that speaks it.
    pub(super) fn upstream(&self) -> Result<Option<Tls>, String> {
        let Some(config) = &self.upstream else {
            return Ok(None);
        };
        let server = ServerConnection::new(Arc::clone(config)).map_err(words)?;
        Ok(Some(Tls::new(server.into(), None)))
    }
}

fn client(
    provider: Arc<CryptoProvider>,
    leaf: CertificateDer<'static>,
) -> Result<Arc<ClientConfig>, String> {
    let verifier = Arc::new(Known {
        leaf,
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(words)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn server(
    provider: Arc<CryptoProvider>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(words)?
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .map_err(words)?;
    config.ticketer = Arc::new(Void);
    Ok(Arc::new(config))
}

/// Tickets that nobody comes back by: every gateway's handshakes are full ones.
#[derive(Debug)]
struct Void;

impl ProducesTickets for Void {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        60
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0; 16])
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What besides bytes there was in what was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opened {
    /// The end of the handshake.
    pub(super) is_shaken: bool,
    /// The peer's `close_notify`.
    pub(super) is_last: bool,
}

/// One connection's.
pub(super) struct Tls {
    connection: Connection,
    /// What a client must have agreed upon.
    group: Option<&'static dyn SupportedKxGroup>,
    is_shaken: bool,
}

impl Tls {
    fn new(mut connection: Connection, group: Option<&'static dyn SupportedKxGroup>) -> Self {
        connection.set_buffer_limit(None);
        Self {
            connection,
            group,
            is_shaken: false,
        }
    }

    /// Opens what has come, and appends it to `plain`.
    pub(super) fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Opened, String> {
        let (mut left, mut opened) = (bytes, Opened::default());
        while !left.is_empty() {
            self.connection.read_tls(&mut left).map_err(words)?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| format!("TLS: {error}"))?;
            opened.is_last |= state.peer_has_closed();
            let count = state.plaintext_bytes_to_read();
            let before = plain.len();
            plain.resize(before + count, 0);
            let mut reader = self.connection.reader();
            reader.read_exact(&mut plain[before..]).map_err(words)?;
        }
        if !self.is_shaken && !self.connection.is_handshaking() {
            self.must_be_as_ordered()?;
            self.is_shaken = true;
            opened.is_shaken = true;
        }
        Ok(opened)
    }

    /// Seals `plain`, with what TLS has to say itself. Before the end of the handshake it waits.
    pub(super) fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), String> {
        use std::io::Write as _;
        self.connection.writer().write_all(plain).map_err(words)?;
        while self.connection.wants_write() {
            self.connection.write_tls(wire).map_err(words)?;
        }
        Ok(())
    }

    /// Says `close_notify` with what is sealed next.
    pub(super) fn end(&mut self) {
        self.connection.send_close_notify();
    }

    /// Whether a server has taken the client's last words of the handshake: its tickets come behind.
    pub(super) fn is_taken(&self) -> bool {
        match &self.connection {
            Connection::Client(client) => client.tls13_tickets_received() > 0,
            Connection::Server(_) => true,
        }
    }

    fn must_be_as_ordered(&self) -> Result<(), String> {
        let Some(group) = self.group else {
            return Ok(());
        };
        let agreed = self.connection.negotiated_key_exchange_group();
        let agreed = agreed.map(|agreed| agreed.name());
        let kind = self.connection.handshake_kind();
        if agreed != Some(group.name()) || kind != Some(HandshakeKind::Full) {
            return Err(format!("a handshake of another kind: {kind:?}, {agreed:?}"));
        }
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The one certificate that may be shown.
#[derive(Debug)]
struct Known {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *leaf != self.leaf {
            return Err(Error::General("another certificate".to_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
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
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
