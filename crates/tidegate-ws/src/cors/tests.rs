mod properties;

use http::header::VARY;
use http::{HeaderMap, HeaderValue};

use super::*;

const OWN: Own<'_> = Own {
    scheme: Some("https"),
    authority: Some("api.example.com"),
};

fn of(line: &str) -> Origin<'_> {
    Origin::parse([line.as_bytes()].into_iter())
}

fn pattern(text: &str) -> OriginPattern {
    text.parse().unwrap()
}

fn allowing(origins: &[&str]) -> Cors {
    origins.iter().fold(Cors::new(), |cors, origin| {
        cors.allow_origin(pattern(origin))
    })
}

fn handshake(allowed: &[&str], origin: &str) -> Result<(), CorsRefusal> {
    let policy = allowing(allowed).build().unwrap();
    policy.handshake(&of(origin), OWN)
}

fn field<'a>(fields: &'a CorsFields, wanted: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(name, _)| name.as_str() == wanted);
    let value = found.next().map(|(_, value)| value.to_str().unwrap());
    assert!(found.next().is_none(), "{wanted} stands twice");
    value
}

#[test]
fn without_settings_only_the_same_origin_gets_in() {
    assert_eq!(handshake(&[], "https://api.example.com"), Ok(()));
    assert_eq!(handshake(&[], "HTTPS://API.example.com:443"), Ok(()));
    for other in [
        "http://api.example.com",
        "https://api.example.com:8443",
        "https://example.com",
        "https://evil.net",
        "https://xapi.example.com",
        "https://api.example.com.evil.net",
        "wss://api.example.com",
    ] {
        let refused = Err(CorsRefusal::OriginNotAllowed);
        assert_eq!(handshake(&[], other), refused, "{other}");
    }
}

#[test]
fn the_same_origin_with_ports_and_schemes() {
    let is_same = |origin: &str, scheme: Option<&str>, authority: &str| {
        let Origin::Of(origin) = of(origin) else {
            panic!("{origin}");
        };
        let authority = Some(authority);
        origin.is_same(Own { scheme, authority })
    };
    assert!(is_same("http://h:8080", Some("http"), "h:8080"));
    assert!(is_same("https://h", Some("wss"), "H:443"));
    assert!(is_same("http://[::1]:80", Some("ws"), "[0:0::1]"));
    assert!(is_same("https://h", None, "h"), "TLS ended by a peer");
    assert!(is_same("https://h", None, "h:443"));
    assert!(!is_same("https://h", None, "h:80"));
    assert!(!is_same("https://h", Some("http"), "h"));
    assert!(!is_same("http://h", Some("http"), "h:81"));
    assert!(!is_same("capacitor://h", None, "h"), "no page of a server");
    assert!(!is_same("http://h", None, "user@h"));
    let nowhere = Own::default();
    assert_eq!(
        CorsPolicy::same_origin().handshake(&of("http://h"), nowhere),
        Err(CorsRefusal::OriginNotAllowed)
    );
}

#[test]
fn exact_origins() {
    let allowed = ["https://app.example.com", "http://localhost:3000"];
    for origin in allowed {
        assert_eq!(handshake(&allowed, origin), Ok(()), "{origin}");
    }
    assert_eq!(handshake(&allowed, "https://APP.example.com:443"), Ok(()));
    for other in [
        "https://app.example.com.evil.net",
        "https://app.example.com:444",
        "https://app.example.comx",
        "https://app.example.co",
        "https://xapp.example.com",
        "https://x.app.example.com",
        "https://app-example.com",
        "http://app.example.com",
        "http://localhost",
        "http://localhost:30000",
    ] {
        let refused = Err(CorsRefusal::OriginNotAllowed);
        assert_eq!(handshake(&allowed, other), refused, "{other}");
    }
}

#[test]
fn wildcard_hosts_match_whole_labels() {
    let allowed = ["https://*.example.org", "http://localhost:*"];
    for origin in [
        "https://a.example.org",
        "https://a.b.EXAMPLE.org",
        "http://localhost",
        "http://localhost:5173",
    ] {
        assert_eq!(handshake(&allowed, origin), Ok(()), "{origin}");
    }
    for other in [
        "https://example.org",
        "https://evilexample.org",
        "https://a.example.org.evil.net",
        "https://a.example.org:8443",
        "http://a.example.org",
        "https://a.example.org.",
        "http://localhost.evil.net:5173",
    ] {
        let refused = Err(CorsRefusal::OriginNotAllowed);
        assert_eq!(handshake(&allowed, other), refused, "{other}");
    }
}

#[test]
fn what_is_no_origin_is_refused_even_where_all_are_allowed() {
    let malformed = Err(CorsRefusal::OriginMalformed);
    for text in [
        "",
        " ",
        "*",
        "NULL",
        "null, https://a",
        "https://",
        "https://.example.org",
        "https://a..example.org",
        "https://a/",
        "https://a/path",
        "https://a?q",
        "https://a#f",
        "https://user@a",
        "https://a:",
        "https://a:x",
        "https://a:+80",
        "https://a:65536",
        "https://a:80:80",
        "https://a b",
        "https://a https://b",
        "https://a,https://b",
        "https://a`.example.org",
        "https://a%00.example.org",
        "https://[::1",
        "https://[::1]x",
        "https://[a]",
        "//a",
        "a",
        "1s://a",
        "https:/a",
    ] {
        assert_eq!(handshake(&["*"], text), malformed, "{text:?}");
        assert_eq!(handshake(&["https://*.example.org"], text), malformed);
    }
    assert_eq!(handshake(&["*"], "null"), Err(CorsRefusal::OriginNull));
    assert_eq!(handshake(&["*"], "https://anybody.net"), Ok(()));
    let two = Origin::parse([&b"https://a"[..], b"https://a"].into_iter());
    assert_eq!(two, Origin::Malformed);
    let bytes = Origin::parse([&b"https://\xff"[..]].into_iter());
    assert_eq!(bytes, Origin::Malformed);
}

#[test]
fn a_missing_origin_passes_unless_it_is_demanded() {
    let missing = Origin::parse(std::iter::empty());
    assert_eq!(missing, Origin::Missing);
    assert_eq!(CorsPolicy::default().handshake(&missing, OWN), Ok(()));
    let strict = Cors::new().missing_origin(MissingOrigin::Refuse);
    let strict = strict.build().unwrap();
    let refused = strict.handshake(&missing, OWN);
    assert_eq!(refused, Err(CorsRefusal::OriginMissing));
    // A page's own GET has no Origin.
    assert!(strict.request(&missing, OWN, &Method::GET).is_ok());
}

#[test]
fn patterns_that_cannot_be() {
    for text in [
        "null",
        "",
        "example.com",
        "https://",
        "https://*",
        "https://*.",
        "https://*.*.com",
        "https://a*.example.com",
        "https://a.*.example.com",
        "https://*example.com",
        "https://*.0.0.1",
        "https://example.com/",
        "https://example.com:x",
        "https://user@example.com",
        "https://bücher.example",
        "*://example.com",
        "https://*.example.com..",
    ] {
        assert!(text.parse::<OriginPattern>().is_err(), "{text}");
    }
    for text in [
        "*",
        "https://a",
        "https://*.a.b:8443",
        "http://[::1]:*",
        "capacitor://localhost",
    ] {
        assert_eq!(pattern(text).to_string(), text);
    }
    assert_eq!(pattern("HTTPS://A:443"), pattern("https://a"));
}

#[test]
fn a_request_of_an_allowed_origin_may_be_read_by_it() {
    let policy = allowing(&["https://app.example.com"])
        .allow_method(Method::PUT)
        .expose_header(HeaderName::from_static("x-total"))
        .allow_credentials(true)
        .build()
        .unwrap();
    let app = of("https://app.example.com");
    let answer = policy.request(&app, OWN, &Method::PUT).unwrap();
    assert_eq!(
        field(&answer, "access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert_eq!(
        field(&answer, "access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(
        field(&answer, "access-control-expose-headers"),
        Some("x-total")
    );
    assert_eq!(answer.vary(), ["Origin"]);
    assert_eq!(
        policy.request(&app, OWN, &Method::GET),
        Err(CorsRefusal::MethodNotAllowed)
    );
    // Nobody else's answer says anything, but says what it depends on.
    for origin in [Origin::Missing, of("https://api.example.com")] {
        let answer = policy.request(&origin, OWN, &Method::DELETE).unwrap();
        assert_eq!(answer.iter().count(), 0);
        assert_eq!(answer.vary(), ["Origin"]);
    }
    assert_eq!(
        policy.request(&of("https://evil.net"), OWN, &Method::GET),
        Err(CorsRefusal::OriginNotAllowed)
    );
}

#[test]
fn with_any_origin_the_answer_is_the_same_for_all() {
    let policy = allowing(&["https://a", "*"]).build().unwrap();
    let first = policy.request(&of("https://a"), OWN, &Method::GET).unwrap();
    for origin in [
        Origin::Missing,
        of("https://b"),
        of("https://api.example.com"),
    ] {
        assert_eq!(policy.request(&origin, OWN, &Method::GET).unwrap(), first);
    }
    assert_eq!(field(&first, "access-control-allow-origin"), Some("*"));
    assert!(first.vary().is_empty());
}

#[test]
fn preflights() {
    let policy = allowing(&["https://app.example.com"])
        .allow_method(Method::GET)
        .allow_method(Method::DELETE)
        .allow_header(HeaderName::from_static("x-request"))
        .allow_header(http::header::CONTENT_TYPE)
        .max_age(Duration::from_secs(60))
        .build()
        .unwrap();
    let app = of("https://app.example.com");
    let ask = |origin, method: &str, headers: &[&'static str]| {
        let headers = headers.iter().map(|line| line.as_bytes());
        policy.preflight(&origin, OWN, method.as_bytes(), headers)
    };
    let answer = ask(app, "DELETE", &["X-Request, content-type"]).unwrap();
    let expected = [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "GET, DELETE"),
        ("access-control-allow-headers", "x-request, content-type"),
        ("access-control-max-age", "60"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&answer, name), Some(value));
    }
    assert_eq!(answer.iter().count(), expected.len());
    assert_eq!(answer.vary().len(), 3);
    let plain = ask(app, "GET", &[]).unwrap();
    assert_eq!(field(&plain, "access-control-allow-headers"), None);

    // What every page may send need not be listed; a `Content-Type` that is asked for is none of these.
    let simple = ask(app, "GET", &["Accept, accept-language, content-language"]).unwrap();
    let expected = Some("accept, accept-language, content-language");
    assert_eq!(field(&simple, "access-control-allow-headers"), expected);
    let narrow = allowing(&["https://app.example.com"]).build().unwrap();
    let lines = [&b"content-type"[..]].into_iter();
    let answer = narrow.preflight(&app, OWN, b"GET", lines);
    assert_eq!(answer, Err(CorsRefusal::HeaderNotAllowed));

    let refused = [
        (ask(app, "PUT", &[]), CorsRefusal::MethodNotAllowed),
        (ask(app, "delete", &[]), CorsRefusal::MethodNotAllowed),
        (ask(app, "A B", &[]), CorsRefusal::MethodNotAllowed),
        (
            ask(app, "GET", &["x-request", "x-other"]),
            CorsRefusal::HeaderNotAllowed,
        ),
        (ask(app, "GET", &["x y"]), CorsRefusal::HeaderNotAllowed),
        (
            ask(of("https://evil.net"), "GET", &[]),
            CorsRefusal::OriginNotAllowed,
        ),
        (ask(Origin::Null, "GET", &[]), CorsRefusal::OriginNull),
    ];
    for (answer, why) in refused {
        assert_eq!(answer, Err(why));
    }
}

#[test]
fn a_preflight_where_everything_is_allowed_repeats_what_is_asked() {
    let policy = allowing(&["https://a"])
        .allow_any_method()
        .allow_any_header()
        .allow_credentials(true)
        .build()
        .unwrap();
    let lines = [&b"x-a,x-b"[..], b"X-C"].into_iter();
    let answer = policy
        .preflight(&of("https://a"), OWN, b"PATCH", lines)
        .unwrap();
    // With credentials a browser takes `*` for a name.
    assert_eq!(
        field(&answer, "access-control-allow-methods"),
        Some("PATCH")
    );
    assert_eq!(
        field(&answer, "access-control-allow-headers"),
        Some("x-a, x-b, x-c")
    );
}

#[test]
fn an_upstreams_own_fields_are_replaced() {
    let policy = allowing(&["https://a"]).build().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://b"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Accept-Encoding, ORIGIN"),
        ("x-kept", "1"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let of_a = policy.request(&of("https://a"), OWN, &Method::GET).unwrap();
    of_a.apply(&mut headers);
    of_a.apply(&mut headers);
    let all: Vec<_> = headers
        .get_all("access-control-allow-origin")
        .iter()
        .collect();
    assert_eq!(all, ["https://a"]);
    assert!(!headers.contains_key("access-control-allow-credentials"));
    assert_eq!(headers.get_all(VARY).iter().count(), 1);
    assert!(headers.contains_key("x-kept"));

    // An origin that may not read takes away what the upstream said.
    let own = policy.request(&Origin::Missing, OWN, &Method::GET).unwrap();
    own.apply(&mut headers);
    assert!(!headers.contains_key("access-control-allow-origin"));

    let mut fresh = HeaderMap::new();
    of_a.apply(&mut fresh);
    assert_eq!(fresh[VARY], "Origin");
}

#[test]
fn combined_settings() {
    let handler = allowing(&["https://handler"])
        .allow_method(Method::PUT)
        .max_age(Duration::from_secs(1));
    let pattern = allowing(&["https://pattern", "https://handler"])
        .allow_any_method()
        .allow_header(HeaderName::from_static("x-pattern"))
        .allow_credentials(true)
        .missing_origin(MissingOrigin::Refuse)
        .max_age(Duration::from_secs(2));
    let both = handler.combine(&pattern);
    let expected = allowing(&["https://handler", "https://pattern"])
        .allow_any_method()
        .allow_header(HeaderName::from_static("x-pattern"))
        .allow_credentials(true)
        .missing_origin(MissingOrigin::Refuse)
        .max_age(Duration::from_secs(1));
    assert_eq!(both, expected);
    assert_eq!(Cors::new().combine(&pattern), pattern);
    assert_eq!(pattern.combine(&Cors::new()), pattern);

    // The handler's scalar wins also where it says no.
    let careful = Cors::new().allow_credentials(false).combine(&pattern);
    assert_eq!(careful, pattern.allow_credentials(false));
}

#[test]
fn credentials_need_a_list() {
    let any = allowing(&["*"]);
    assert!(any.build().is_ok());
    let error = any.clone().allow_credentials(true).build().unwrap_err();
    assert_eq!(error, CorsError::CredentialsForAnyOrigin);
    // Also when the two come from different places.
    let handler = allowing(&["https://a"]).allow_credentials(true);
    assert!(handler.build().is_ok());
    assert_eq!(
        handler.combine(&any).build().unwrap_err(),
        CorsError::CredentialsForAnyOrigin
    );
    assert_eq!(
        handler.expose_any_header().build().unwrap_err(),
        CorsError::CredentialsWithAnyExposed
    );
}

#[test]
fn preflights_are_told_apart() {
    let mut headers = HeaderMap::new();
    headers.insert("origin", HeaderValue::from_static("https://a"));
    assert!(!is_preflight(&Method::OPTIONS, &headers));
    headers.insert(
        "access-control-request-method",
        HeaderValue::from_static("PUT"),
    );
    assert!(is_preflight(&Method::OPTIONS, &headers));
    assert!(!is_preflight(&Method::GET, &headers));
}

#[test]
fn what_is_sent_unasked_wants_credentials() {
    let app = "https://app.example.com";
    let ambient = |cors: &Cors, origin: &str| cors.build().unwrap().ambient(&of(origin), OWN);
    let refused = Err(CorsRefusal::CredentialsNotAllowed);
    let cors = allowing(&[app]);
    assert_eq!(ambient(&cors, app), refused);
    assert_eq!(ambient(&cors, "https://api.example.com"), Ok(()));
    assert_eq!(
        ambient(&cors.clone().allow_credentials(false), app),
        refused
    );
    let cors = cors.allow_credentials(true);
    assert_eq!(ambient(&cors, app), Ok(()));
    let other = Err(CorsRefusal::OriginNotAllowed);
    assert_eq!(ambient(&cors, "https://evil.net"), other);
    assert_eq!(ambient(&cors, "null"), Err(CorsRefusal::OriginNull));
    // A handshake without an origin is another matter.
    let policy = cors.missing_origin(MissingOrigin::Refuse).build().unwrap();
    assert_eq!(policy.ambient(&Origin::Missing, OWN), Ok(()));
}
