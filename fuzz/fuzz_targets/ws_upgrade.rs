//! Both ends of a handshake: what the server's takes is right by a reader of its own, and what it
//! answers is what the client's takes.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use libfuzzer_sys::fuzz_target;
use tidegate_ws::handshake::Key;
use tidegate_ws::handshake::client::Offer;
use tidegate_ws::handshake::server::{RequestError, decide};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let supported = ["chat", "mqtt"];
    let wish = match decide(&Method::GET, Version::HTTP_11, &headers) {
        Ok(wish) => wish,
        Err(error) => {
            assert!(matches!(error.status().as_u16(), 400 | 426), "{error}");
            assert_ne!(error, RequestError::Method);
            return;
        }
    };
    judge(&headers);
    let accepted = wish.accept(&supported);

    // The client that sent this, as far as one of ours could have.
    let mut offer = Offer::new(decoded(wish.key.as_bytes()));
    for protocol in &wish.protocols {
        offer = offer.protocol(protocol).expect("offered once, and a token");
    }
    let response = accepted.response();
    let agreed = offer.check(response.version(), response.headers());
    let agreed = agreed.expect("an end takes what the other says");
    assert_eq!(agreed.subprotocol, accepted.subprotocol());
    let wanted = wish
        .protocols
        .iter()
        .find(|offer| supported.contains(offer));
    assert_eq!(agreed.subprotocol, wanted.copied());
    assert!(agreed.extensions.is_empty());

    // Another key is not answered by it.
    let other = Offer::new([0x5a; 16]);
    if Key::new([0x5a; 16]) != wish.key {
        assert!(other.check(Version::HTTP_11, response.headers()).is_err());
    }
});

/// What RFC 6455 section 4.2.1 has, read in another way.
fn judge(headers: &HeaderMap) {
    let joined = |name: &str| -> String {
        let lines = headers.get_all(name).iter();
        let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).to_lowercase());
        lines.collect::<Vec<_>>().join(",")
    };
    let once = |name: &str| headers.get_all(name).iter().count() == 1;
    let has = |list: &str, token: &str| list.split(',').any(|one| one.trim() == token);
    assert!(has(&joined("connection"), "upgrade"));
    let upgrade = joined("upgrade");
    assert_eq!(upgrade.replace([',', ' ', '\t'], ""), "websocket");
    assert!(once("host") && once("sec-websocket-key") && once("sec-websocket-version"));
    assert_eq!(headers["sec-websocket-version"], "13");
    assert!(!headers.contains_key("transfer-encoding"));
    assert!(matches!(
        joined("content-length").replace([',', '0'], "").as_str(),
        ""
    ));
    let key = headers["sec-websocket-key"].as_bytes();
    assert!(key.len() == 24 && key.ends_with(b"=="));
    let mut protocols: Vec<_> = headers
        .get_all("sec-websocket-protocol")
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|one| !one.is_empty())
        .collect();
    assert!(
        protocols
            .iter()
            .flat_map(|one| one.iter())
            .all(|&byte| { byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte) })
    );
    let count = protocols.len();
    protocols.sort_unstable();
    protocols.dedup();
    assert_eq!(count, protocols.len());
}

/// Base64 of 16 bytes, decoded by hand.
fn decoded(key: &[u8; 24]) -> [u8; 16] {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = key[..22].iter().map(|byte| {
        let place = ALPHABET.iter().position(|known| known == byte);
        place.expect("a digit of base64") as u8
    });
    let bits: Vec<bool> = digits
        .flat_map(|digit| (0..6).rev().map(move |place| digit >> place & 1 == 1))
        .collect();
    assert!(bits[128..].iter().all(|bit| !bit), "bits to spare");
    std::array::from_fn(|byte| {
        bits[byte * 8..byte * 8 + 8]
            .iter()
            .fold(0, |sum, &bit| sum << 1 | u8::from(bit))
    })
}
