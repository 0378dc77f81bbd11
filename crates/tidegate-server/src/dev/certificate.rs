//! A development certificate: an authority of its own, in a folder that goes with the demo.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tidegate::config::plan::{CertificateFiles, ListenerTls};

/// The files, until this is dropped.
#[derive(Debug)]
pub(super) struct Development {
    folder: PathBuf,
}

impl Development {
    /// Makes an authority and a certificate of it for this machine's own names, and for `address`.
    /// The authority's key is forgotten, so that it can sign nothing else.
    pub(super) fn make(address: IpAddr) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-dev-{}", process::id()));
        let _left_over = fs::remove_dir_all(&folder);
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let development = Self { folder };
        let mut authority = named("Tidegate development authority", Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = authority.self_signed(&key)?;
        development.write("ca.pem", &pem("CERTIFICATE", certificate.der()))?;
        let issuer = Issuer::new(authority, key);
        let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        if !address.is_unspecified() && !names.contains(&address.to_string()) {
            names.push(address.to_string());
        }
        let mut server = named("Tidegate development", names)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;
        development.write("cert.pem", &pem("CERTIFICATE", certificate.der()))?;
        development.write("key.pem", &pem("PRIVATE KEY", &key.serialize_der()))?;
        Ok(development)
    }

    /// TLS with it.
    pub(super) fn tls(&self) -> ListenerTls {
        ListenerTls::new(vec![CertificateFiles {
            cert: self.folder.join("cert.pem"),
            key: self.folder.join("key.pem"),
        }])
    }

    /// The authority to trust.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path: &Path = &self.folder.join(name);
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        // Whoever finds it later finds no key that anybody trusts.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let text = lines.join("\n");
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A demo that runs longer than a week is none.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Clocks need not agree to the minute.
const SLACK: Duration = Duration::from_secs(60 * 60);

fn named(name: &str, names: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - SLACK).into();
    params.not_after = (now + LIFETIME).into();
    Ok(params)
}
