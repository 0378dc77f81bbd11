//! `Sec-WebSocket-Extensions`: read in one way only; a server's answer fits the offer, whatever that is,
//! and what a client takes for an answer keeps to the RFC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ws::deflate::{Config, accept, answered, answers, offers};
use tidegate_ws::handshake::{Extension, extensions};

fuzz_target!(|bytes: &[u8]| {
    let [settings, bits, header @ ..] = bytes else {
        return;
    };
    let mut config = Config::default();
    config.server_no_context_takeover = settings & 1 == 1;
    config.client_no_context_takeover = settings & 2 == 2;
    config.server_max_window_bits = 8 + (bits & 7);
    config.client_max_window_bits = 8 + (bits >> 3 & 7);

    // A NUL never stands in a header's value, so it may part the lines of one header here.
    let Ok(elements) = extensions(header.split(|&byte| byte == 0)) else {
        return;
    };
    let mut parts = 0;
    for element in &elements {
        assert_eq!(Extension::parse(element.text), Some(*element));
        assert!(!element.text.contains(','));
        // As many parameters as there are semicolons: none was hidden, none made up.
        let parameters = element.parameters().count();
        assert_eq!(parameters, element.text.matches(';').count());
        parts += 1 + parameters;
    }
    let separators = header.iter().filter(|byte| b",;\0".contains(byte)).count();
    assert!(parts <= separators + 1);

    if let Some((agreed, answer)) = accept(&elements, &config) {
        let texts: Vec<String> = elements.iter().map(|one| one.text.to_owned()).collect();
        let parsed = Extension::parse(&answer).unwrap();
        assert!(answers(&parsed, &texts), "{answer} for {texts:?}");
        assert!(is_sound(&parsed), "{answer}");
        assert!((8..=config.server_max_window_bits).contains(&agreed.own_bits));
        assert!((8..=15).contains(&agreed.peer_bits));
        assert!(!(agreed.own_takeover && config.server_no_context_takeover));
        assert!(!(agreed.peer_takeover && config.client_no_context_takeover));
        // Some offer has nothing that must be declined.
        assert!(elements.iter().any(|one| one.is_deflate() && is_sound(one)));
    }
    if let Ok(Some(agreed)) = answered(&elements, std::slice::from_ref(&config)) {
        let offer = offers(std::slice::from_ref(&config));
        assert!(answers(&elements[0], std::slice::from_ref(&offer)));
        assert!(elements.len() == 1 && is_sound(&elements[0]));
        assert!(agreed.own_bits <= config.client_max_window_bits);
        // A window of 8 bits is asked of no server, because zlib has none: 9 is what it may answer then.
        let asked = config.server_max_window_bits.max(9);
        assert_eq!(server_bits(&offer).unwrap_or(15), asked, "{offer}");
        let named = server_bits(elements[0].text);
        assert!(named.is_some() || asked == 15);
        assert_eq!(agreed.peer_bits, named.unwrap_or(15));
        assert!(agreed.peer_bits <= asked);
        assert!(!(agreed.own_takeover && config.client_no_context_takeover));
        assert!(!(agreed.peer_takeover && config.server_no_context_takeover));
    }
});

/// The window that an element names for the server, by another reader.
fn server_bits(text: &str) -> Option<u8> {
    let plain = text
        .replace(['"', '\\', ' ', '\t'], "")
        .to_ascii_lowercase();
    let mut parts = plain.split(';');
    let value = parts.find_map(|part| part.strip_prefix("server_max_window_bits="))?;
    Some(value.parse().expect("a number"))
}

/// RFC 7692 section 7.1 once more, by another reader: the names are known, none stands twice, and the
/// values are those that are listed.
fn is_sound(element: &Extension<'_>) -> bool {
    const NUMBERS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];
    let plain = element.text.replace(['"', '\\', ' ', '\t'], "");
    let mut names = Vec::new();
    plain.split(';').skip(1).all(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
            None => (part.to_ascii_lowercase(), None),
        };
        let is_known = match name.as_str() {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "server_max_window_bits" => value.is_some_and(|value| NUMBERS.contains(&value)),
            "client_max_window_bits" => value.is_none_or(|value| NUMBERS.contains(&value)),
            _ => false,
        };
        let is_new = !names.contains(&name);
        names.push(name);
        is_known && is_new
    })
}
