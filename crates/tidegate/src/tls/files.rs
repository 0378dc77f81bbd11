//! Certificates, keys and authorities as files hold them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::plan::BusTls;

/// The largest file that is read.
const LARGEST_FILE: u64 = 8 << 20;

/// What is wrong with a file, and which one it is.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct FileError {
    path: PathBuf,
    what: String,
}

impl FileError {
    pub(super) fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}

/// The cryptography that is used everywhere.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(io::Error::other("it is too large"));
        }
        Ok(bytes)
    };
    read().map_err(|error| FileError::new(path, format_args!("the file cannot be read: {error}")))
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let certificates = certificates
        .map_err(|error| FileError::new(path, format_args!("it is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(FileError::new(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// A certificate with its chain, and its key. Nothing that is said repeats any of the key.
pub(super) fn certified_key(
    (certificate, chain): (&Path, &[u8]),
    (key, secret): (&Path, &[u8]),
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, FileError> {
    let chain = certificates(certificate, chain)?;
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|_error| FileError::new(key, "there is no private key in it"))?;
    let signing = provider
        .key_provider
        .load_private_key(secret)
        .map_err(|_error| FileError::new(key, "its key is of no kind that can be used"))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            let what = format_args!("it is not the key of {}", certificate.display());
            Err(FileError::new(key, what))
        }
        Err(error) => Err(FileError::new(certificate, error)),
    }
}

/// Adds the authorities of a PEM file.
pub(super) fn add_authorities(
    roots: &mut RootCertStore,
    path: &Path,
    bytes: &[u8],
) -> Result<(), FileError> {
    for certificate in certificates(path, bytes)? {
        roots.add(certificate).map_err(|error| {
            FileError::new(
                path,
                format_args!("a certificate in it is no authority: {error}"),
            )
        })?;
    }
    Ok(())
}

/// Reads what TLS to a system of others needs, and keeps none of it.
pub(super) fn check_outgoing(plan: &BusTls) -> Result<(), FileError> {
    if let Some(path) = &plan.ca {
        add_authorities(&mut RootCertStore::empty(), path, &read(path)?)?;
    }
    if let Some(files) = &plan.certificate {
        let (chain, secret) = (read(&files.cert)?, read(&files.key)?);
        let (certificate, key) = (&*files.cert, &*files.key);
        certified_key((certificate, &chain), (key, &secret), &provider())?;
    }
    Ok(())
}

/// Warns where others than its owner and group can read a key.
pub(super) fn warn_of_open_key(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map(|of| of.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        let path = path.display();
        tracing::warn!(%path, "everybody on this machine can read this private key");
    }
}

/// The name that IANA gave a cipher suite; rustls writes those of TLS 1.3 in its own way.
pub(super) fn iana_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        name => name,
    }
}

/// The names of all cipher suites that there are.
pub(crate) fn cipher_suites() -> impl Iterator<Item = &'static str> {
    aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .filter_map(|suite| suite.suite().as_str())
        .map(iana_name)
}

/// The suites of these names, in their order.
pub(super) fn chosen_suites(names: &[Box<str>]) -> Vec<rustls::SupportedCipherSuite> {
    let suite = |name: &str| {
        aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .find(|suite| suite.suite().as_str().map(iana_name) == Some(name))
            .copied()
    };
    names.iter().filter_map(|name| suite(name)).collect()
}
