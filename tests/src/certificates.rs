//! An authority of our own, and certificates of every kind from it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType, date_time_ymd,
};

use crate::child::Scratch;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

/// The two as files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It was good once.
    Expired,
    /// It will be good one day.
    NotYetValid,
}

impl Authority {
    /// An authority of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = pem("CERTIFICATE", params.self_signed(&key).unwrap().der());
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server's certificate for these names and addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Issued {
        self.flawed_server(names, Flaw::None)
    }

    /// The same for who is a server and a client of its like.
    #[must_use]
    pub fn peer(&self, names: &[&str]) -> Issued {
        let mut params = params(names, "peer");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(&params)
    }

    /// A server's certificate with something wrong about it.
    #[must_use]
    pub fn flawed_server(&self, names: &[&str], flaw: Flaw) -> Issued {
        let mut params = params(names, "server");
        let year = |year| date_time_ymd(year, 1, 1);
        match flaw {
            Flaw::None => {}
            Flaw::Expired => (params.not_before, params.not_after) = (year(2000), year(2001)),
            Flaw::NotYetValid => (params.not_before, params.not_after) = (year(4000), year(4001)),
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A client's certificate with this subject and these names.
    #[must_use]
    pub fn client(&self, subject: &[(DnType, &str)], names: &[SanType]) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            cert: pem("CERTIFICATE", cert.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
        }
    }
}

/// A server's certificate that nobody else has signed.
#[must_use]
pub fn self_signed(names: &[&str]) -> Issued {
    let key = KeyPair::generate().unwrap();
    let cert = params(names, "nobody").self_signed(&key).unwrap();
    Issued {
        cert: pem("CERTIFICATE", cert.der()),
        key: pem("PRIVATE KEY", &key.serialize_der()),
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

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

impl Issued {
    /// Writes both into `folder`, as `name.pem` and `name.key`.
    #[must_use]
    pub fn write(&self, folder: &Scratch, name: &str) -> Files {
        Files {
            cert: folder.write(&format!("{name}.pem"), &self.cert),
            key: folder.write(&format!("{name}.key"), &self.key),
        }
    }
}

impl Files {
    /// The two as a configuration names them.
    #[must_use]
    pub fn yaml(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("{{ cert: '{cert}', key: '{key}' }}")
    }
}
