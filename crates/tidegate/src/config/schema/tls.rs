//! `tls`: of a listener, of the admin listener, and of a service. The files are read when a gateway
//! starts; here they are only named.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::super::error::{Fault, Problems};
use super::super::plan::{
    CertificateFiles, ClientCertificates, ListenerTls, ServiceTls, TlsVersion,
};
use super::super::value;
use super::super::yaml::{Fields, Quoted, Spot, did_you_mean};
use crate::tls::files;

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
const MODES: [(&str, bool); 2] = [("required", true), ("wanted", false)];
const ROOTS: [(&str, Root); 2] = [("system", Root::System), ("file", Root::File)];
const CERTIFICATES: &str = "certificates: { cert: /path/to/cert.pem, key: /path/to/key.pem }";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    System,
    File,
}

/// That of a listener; `None` where it cannot be told what it shows.
pub(super) fn listener(spot: &Spot<'_>, problems: &mut Problems) -> Option<ListenerTls> {
    let mut fields = spot.fields(problems)?;
    let certificates = fields.need("certificates", CERTIFICATES, problems);
    let certificates = certificates.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let certificates = certificates.iter();
    let mut tls = ListenerTls::new(
        certificates
            .filter_map(|spot| certificate(spot, problems))
            .collect(),
    );
    tls.min_version = min_version(&mut fields, problems);
    if let Some(spot) = fields.take("cipher_suites") {
        let names = spot.one_or_many(problems);
        let names = names.iter();
        tls.cipher_suites = names
            .filter_map(|spot| spot.value(problems, cipher_suite))
            .collect();
        if !tls.cipher_suites.is_empty() && !has_suite(&tls) {
            let message = "none of these is for a version that is spoken";
            problems.suggest(&spot.place(), message, "add some, or leave the key out");
        }
    }
    let asked = fields.take("client_certificates");
    tls.client_certificates = asked.and_then(|spot| client_certificates(&spot, problems));
    if let Some(spot) = fields.take("handshake_timeout") {
        let timeout = spot.value(problems, value::duration);
        tls.handshake_timeout = timeout.unwrap_or(tls.handshake_timeout);
    }
    if let Some(spot) = fields.take("tickets") {
        tls.tickets = spot.truth(problems).unwrap_or(tls.tickets);
    }
    fields.finish(problems);
    (!tls.certificates.is_empty()).then_some(tls)
}

/// That of a service.
pub(super) fn service(spot: &Spot<'_>, problems: &mut Problems) -> Option<ServiceTls> {
    let mut fields = spot.fields(problems)?;
    let ca = fields.take("ca");
    let ca_path = ca.as_ref().and_then(|spot| path(spot, problems));
    let mut tls = ServiceTls {
        system_roots: ca.is_none(),
        ca: ca_path,
        ..ServiceTls::default()
    };
    if let Some(spot) = fields.take("roots") {
        let roots = spot.one_or_many(problems);
        let roots = roots.iter();
        let roots: Vec<_> = roots
            .filter_map(|spot| spot.name_of(problems, "kind of roots", &ROOTS))
            .collect();
        if roots.contains(&Root::File) != ca.is_some() {
            let (message, remedy) = if ca.is_some() {
                ("the authorities of `ca` are not believed", "add `file`")
            } else {
                ("there is no file of roots", "write `ca: /path/to/ca.pem`")
            };
            problems.suggest(&spot.place(), message, remedy);
        }
        tls.system_roots = roots.contains(&Root::System);
    }
    if let Some(spot) = fields.take("certificate") {
        tls.certificate = certificate(&spot, problems);
    }
    if let Some(spot) = fields.take("server_name") {
        tls.server_name = spot.value(problems, server_name);
    }
    tls.min_version = min_version(&mut fields, problems);
    if let Some(spot) = fields.take("insecure") {
        tls.is_insecure = spot.truth(problems).unwrap_or(false);
        if tls.is_insecure {
            let message = "anybody may be this upstream: no certificate is verified";
            problems.doubt(
                &spot.place(),
                message,
                "name its authority: `ca: /path/to/ca.pem`",
            );
        }
    }
    fields.finish(problems);
    Some(tls)
}

pub(super) fn certificate(spot: &Spot<'_>, problems: &mut Problems) -> Option<CertificateFiles> {
    let mut fields = spot.fields(problems)?;
    let cert = fields.need("cert", "cert: /path/to/cert.pem", problems);
    let key = fields.need("key", "key: /path/to/key.pem", problems);
    let cert = cert.and_then(|spot| path(&spot, problems));
    let key = key.and_then(|spot| path(&spot, problems));
    fields.finish(problems);
    Some(CertificateFiles {
        cert: cert?,
        key: key?,
    })
}

fn client_certificates(spot: &Spot<'_>, problems: &mut Problems) -> Option<ClientCertificates> {
    let mut fields = spot.fields(problems)?;
    let mode = fields.need("mode", "mode: required", problems);
    let mode = mode.and_then(|spot| spot.name_of(problems, "mode", &MODES));
    let ca = fields.need("ca", "ca: /path/to/ca.pem", problems);
    let ca = ca.and_then(|spot| path(&spot, problems));
    let forward = fields.take("forward");
    let forward = forward.and_then(|spot| spot.truth(problems));
    fields.finish(problems);
    Some(ClientCertificates {
        is_required: mode?,
        ca: ca?,
        forward: forward.unwrap_or(false),
    })
}

fn min_version(fields: &mut Fields<'_>, problems: &mut Problems) -> TlsVersion {
    let written = fields.take("min_version");
    let version = written.and_then(|spot| spot.name_of(problems, "version of TLS", &VERSIONS));
    version.unwrap_or_default()
}

pub(super) fn path(spot: &Spot<'_>, problems: &mut Problems) -> Option<PathBuf> {
    spot.value(problems, |text| {
        if Path::new(text).is_absolute() {
            return Ok(PathBuf::from(text));
        }
        let fault = Fault::new(format!("the path {} is not absolute", Quoted(text)));
        Err(fault.suggest("write it from the root on, such as `/etc/tidegate/cert.pem`"))
    })
}

fn cipher_suite(text: &str) -> Result<Box<str>, Fault> {
    if files::cipher_suites().any(|name| name == text) {
        return Ok(text.into());
    }
    let mut fault = Fault::new(format!("{} is no cipher suite of ours", Quoted(text)));
    let names: Vec<_> = files::cipher_suites().collect();
    fault.suggestion = did_you_mean(text, names);
    Err(fault)
}

/// Whether one of its suites is for a version that it speaks.
fn has_suite(tls: &ListenerTls) -> bool {
    let is_of_13 = |name: &str| !name.contains("_WITH_");
    tls.min_version == TlsVersion::Tls12 || tls.cipher_suites.iter().any(|name| is_of_13(name))
}

fn server_name(text: &str) -> Result<Box<str>, Fault> {
    match ServerName::try_from(text) {
        Ok(_name) => Ok(text.into()),
        Err(_invalid) => Err(Fault::new(format!("{} is not a host", Quoted(text)))
            .suggest("write a name or an address without a port, such as `app.example`")),
    }
}
