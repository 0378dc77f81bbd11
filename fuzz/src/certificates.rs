//! A certificate, whatever its bytes: what is said of it can stand in a list and in a log, and agrees
//! with the library that verifies it.

use tidegate::tls::ClientCertificate;

pub fn read(bytes: &[u8]) {
    let Some(certificate) = ClientCertificate::parse(bytes) else {
        return;
    };
    assert_eq!(certificate.der(), bytes);
    let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    assert!(is_plain(certificate.subject()));
    let names: Vec<_> = certificate.names().collect();
    for name in &names {
        assert!(is_plain(name) && !name.contains([',', '"', ' ']), "{name}");
        let (kind, _) = name.split_once(':').expect("a name has a kind");
        assert!(["DNS", "IP", "URI", "email"].contains(&kind), "{name}");
    }
    let der = bytes.into();
    let Ok(other) = webpki::EndEntityCert::try_from(&der) else {
        return;
    };
    for name in other.valid_dns_names() {
        assert!(
            names.contains(&&*format!("DNS:{name}")),
            "{name} of {names:?}"
        );
    }
}
