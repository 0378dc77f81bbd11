//! Holds what an upstream got against what the client sent, by a reader that is not the gateway's.

use tidegate::fuzzing::is_request_head;
use tidegate::router::Path;

use crate::message::{self, Head, Look, Message, lower};
use crate::requests::Seen;
use crate::world::{BASE, ENDPOINT};

/// RFC 9110 section 7.6.1, and what older senders use.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `Connection` cannot take away.
fn is_protected(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "origin",
        "set-cookie",
        "www-authenticate",
        "x-real-ip",
        "x-request-id",
    ];
    NAMES.contains(&name) || name.starts_with("sec-websocket-") || name.starts_with("x-forwarded-")
}

/// What tells of the client, in the spelling with underscores too.
fn tells_of_client(name: &str) -> bool {
    let name = name.replace('_', "-");
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

/// The fields that go from end to end: neither hop-by-hop nor named by `Connection`, nor written
/// anew by the gateway.
fn end_to_end(head: &Head, handshake: bool) -> Vec<(String, Vec<u8>)> {
    let named = head.list("connection");
    let anew = |name: &str| {
        ["host", "content-length"].contains(&name)
            || handshake
                && [
                    "expect",
                    "sec-websocket-accept",
                    "sec-websocket-extensions",
                    "sec-websocket-key",
                ]
                .contains(&name)
    };
    head.fields
        .iter()
        .map(|(name, value)| (lower(name), value.clone()))
        .filter(|(name, _)| {
            !HOP_BY_HOP.contains(&&name[..])
                && (is_protected(name) || !named.contains(name))
                && !tells_of_client(name)
                && !anew(name)
                // HTTP/1.0 knows no expectation (RFC 9110 section 10.1.1).
                && (head.is_http11() || name != "expect")
        })
        .collect()
}

/// Judges a client's whole connection.
pub fn exchanges(stream: &[u8], answers: &[u8], left: bool, seen: &[Seen]) {
    let (requests, _) = message::requests(stream);
    if std::env::var_os("FUZZ_SHOW").is_some() {
        show(stream, answers, seen);
    }
    for one in seen {
        stands_alone(one);
    }
    let mut upstream = seen.iter().enumerate().peekable();
    let (mut at, mut place) = (0, 0);
    while at < answers.len() {
        let request = requests.get(place);
        let head = match message::response(&answers[at..]) {
            Look::Whole(head, size) => {
                at += size;
                head
            }
            other => panic!("the client got no answer: {other:?} {:?}", &answers[at..]),
        };
        assert_ne!(head.status(), 101, "nobody switched protocols");
        if head.status() < 200 {
            assert_eq!(
                head.status(),
                100,
                "only a 100 is ever sent before an answer"
            );
            continue;
        }
        let method = match request {
            // A head that cannot be read cannot be known for that of a HEAD.
            Some(request) if !answers[at..].starts_with(b"{") => &request.head.start[0],
            _ => &b"GET"[..],
        };
        let framing = head.response_framing(method).expect("an answer's framing");
        let body = message::body(&answers[at..], framing, left).right();
        at += body.size;
        let refusal = refusal(&head, &body.data);
        if !body.whole {
            assert!(left, "an answer that stays unfinished");
            assert_eq!(at, answers.len());
        }
        answer_is_clean(&head);
        let hop = head.values("x-hop").next();
        assert_eq!(hop, None, "a field that Connection names went on");
        let by: Option<usize> = head
            .values("x-up")
            .next()
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        match (by, refusal.as_deref()) {
            (Some(by), None) => {
                let request = request.expect("a request that nobody else can read was answered");
                loop {
                    let (index, one) = upstream.next().expect("the upstream saw what it answered");
                    same(request, one);
                    if index == by {
                        break;
                    }
                    may_repeat(one);
                }
            }
            (None, Some(label)) => {
                while upstream
                    .next_if(|(_, one)| {
                        may_have_gone(label) && !one.answered && is_same(request, one)
                    })
                    .is_some()
                {}
                if ends(label) {
                    assert!(upstream.peek().is_none(), "{label}, and yet forwarded");
                    assert!(left, "{label}, and yet the connection stays");
                    assert_eq!(at, answers.len(), "bytes behind the last answer");
                }
            }
            other => panic!("an answer by nobody: {other:?}"),
        }
        place += 1;
    }
    // What the client did not wait for.
    for (_, one) in upstream {
        same(
            requests.get(place).expect("a request that was never sent"),
            one,
        );
    }
}

/// The word of a refusal of the gateway's own.
fn refusal(head: &Head, body: &[u8]) -> Option<String> {
    let is_ours = head
        .values("content-type")
        .any(|value| value == b"application/problem+json");
    let text = String::from_utf8_lossy(body);
    let word = text
        .split("\"code\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let closes = head.list("connection").contains(&"close".to_owned());
    // The answer to a HEAD does not tell.
    let unknown = if closes { "unknown, closed" } else { "unknown" };
    is_ours.then(|| word.unwrap_or(unknown).to_owned())
}

/// Refusals behind which nothing can be a request any more.
fn ends(label: &str) -> bool {
    [
        "bad_request",
        "bad_handshake",
        "bad_body",
        "slow_body",
        "slow_head",
        "head_too_large",
        "target_too_long",
        "upgrade_with_body",
        "unknown, closed",
    ]
    .contains(&label)
}

/// Failures behind the moment at which the upstream got the request.
fn may_have_gone(label: &str) -> bool {
    label.starts_with("upstream_")
        || label.starts_with("unknown")
        || ["bad_body", "slow_body"].contains(&label)
}

/// What holds for whatever an upstream gets, whoever asked for it.
fn stands_alone(seen: &Seen) {
    let head = &seen.head;
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut room);
    let size = other.parse(&seen.bytes).expect("httparse reads it too");
    assert_eq!(size, httparse::Status::Complete(seen.bytes.len()));
    assert_eq!(other.method.map(str::as_bytes), Some(&head.start[0][..]));
    assert_eq!(other.path.map(str::as_bytes), Some(&head.start[1][..]));
    assert_eq!(other.headers.len(), head.fields.len());
    // Near the limits it is the fields that the gateway adds which go over them.
    if head.fields.len() < 90 && seen.bytes.len() < 8000 {
        assert!(is_request_head(&seen.bytes), "we would refuse it ourselves");
    }

    let has = |name| head.values(name).next().is_some();
    let handshake = head.list("upgrade") == ["websocket"];
    assert!(handshake || !has("upgrade"), "an Upgrade went on");
    let connection = head.list("connection");
    let trailers = head.list("te") == ["trailers"];
    assert!(trailers || !has("te"), "a TE went on");
    let wanted: &[&str] = match (handshake, trailers) {
        (true, _) => &["upgrade"],
        (false, true) => &["te"],
        (false, false) => &[],
    };
    assert_eq!(connection, wanted, "Connection");
    for name in HOP_BY_HOP {
        let ours = [
            "connection",
            "te",
            "upgrade",
            "trailer",
            "transfer-encoding",
        ];
        assert!(ours.contains(&name) || !has(name), "{name} went on");
    }
    assert!(!has("trailer") || has("transfer-encoding"));
    assert_eq!(head.values("host").count(), 1);
    let target = &head.start[1];
    let path = target
        .split(|&byte| byte == b'?')
        .next()
        .unwrap_or_default();
    let path = path
        .strip_prefix(BASE.as_bytes())
        .expect("the endpoint's path");
    let normal = Path::normalise(path).expect("a path that is one");
    assert_eq!(normal.as_str().as_bytes(), path, "routed is not forwarded");
    for (name, wanted) in [
        ("x-forwarded-for", &b"192.0.2.7"[..]),
        ("x-forwarded-proto", b"http"),
        ("x-real-ip", b"192.0.2.7"),
    ] {
        assert_eq!(head.values(name).collect::<Vec<_>>(), [wanted], "{name}");
    }
    let told = |name: &str| tells_of_client(name) && name.contains('_');
    assert!(!head.fields.iter().any(|(name, _)| told(&lower(name))));
}

fn may_repeat(seen: &Seen) {
    let idempotent = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    let method = String::from_utf8_lossy(&seen.head.start[0]);
    assert!(
        idempotent.contains(&&*method) && seen.body.size == 0,
        "{method} was sent twice"
    );
}

fn is_same(request: Option<&Message>, seen: &Seen) -> bool {
    request.is_some_and(|request| request.head.start[0] == seen.head.start[0])
}

/// The upstream got this request, and nothing else.
fn same(request: &Message, seen: &Seen) {
    let (sent, got) = (&request.head, &seen.head);
    let handshake = !got.list("upgrade").is_empty();
    assert_eq!(sent.start[0], got.start[0], "the method");
    assert_eq!(got.start[2], b"HTTP/1.1");
    let (authority, target) = origin_form(&sent.start[1]);
    assert_eq!(
        String::from_utf8_lossy(&got.start[1]),
        String::from_utf8_lossy(&target),
        "the target"
    );
    assert_eq!(end_to_end(sent, handshake), end_to_end(got, handshake));
    let host = got.values("host").next().map(lower).unwrap_or_default();
    let wanted = authority
        .or_else(|| sent.values("host").next().map(lower))
        .unwrap_or_else(|| ENDPOINT.to_owned());
    assert_eq!(without_default(&host), without_default(&wanted), "the host");
    let trailers = |message: &message::Body| -> Vec<_> {
        let names = message.trailers.iter();
        names
            .map(|(name, value)| (lower(name), value.clone()))
            .collect()
    };
    if seen.body.whole {
        assert!(request.body.whole, "a body that had no end got one");
        assert_eq!(request.body.data, seen.body.data, "the body");
        let all = trailers(&request.body);
        for trailer in trailers(&seen.body) {
            assert!(all.contains(&trailer), "a trailer from nowhere");
            assert!(
                ![
                    "content-length",
                    "host",
                    "transfer-encoding",
                    "cookie",
                    "authorization"
                ]
                .contains(&&trailer.0[..])
                    && !HOP_BY_HOP.contains(&&trailer.0[..]),
                "the trailer {} went on",
                trailer.0
            );
        }
    } else {
        assert!(request.body.data.starts_with(&seen.body.data), "the body");
    }
    if handshake {
        assert_eq!(sent.start[0], b"GET");
        assert!(sent.is_http11() && sent.list("connection").contains(&"upgrade".into()));
        assert_ne!(
            sent.values("sec-websocket-key").next(),
            got.values("sec-websocket-key").next(),
            "each leg has a key of its own"
        );
    }
}

/// The authority of an absolute target, and what the upstream is asked for.
fn origin_form(target: &[u8]) -> (Option<String>, Vec<u8>) {
    let text = String::from_utf8_lossy(target);
    let (authority, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (
                Some(rest[..end].to_ascii_lowercase()),
                rest[end..].to_owned(),
            )
        }
        _ => (None, text.into_owned()),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&rest[..], None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let path = Path::normalise(path.as_bytes()).expect("a path that was accepted");
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    (authority, format!("{BASE}{path}{query}").into_bytes())
}

/// `a`, `a:` and `a:80` are one host.
fn without_default(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    match port.trim_start_matches('0') {
        "" | "80" => name.to_owned(),
        port => format!("{name}:{port}"),
    }
}

/// What an upstream's answer says of its own connection does not reach the client.
pub fn nothing_named(said: &Head, got: &Head) {
    for name in said.list("connection") {
        let there = got.values(&name).next().is_some();
        assert!(
            !there || is_protected(&name) || HOP_BY_HOP.contains(&&name[..]),
            "{name}, which Connection names, went on"
        );
    }
}

/// What holds for every answer that a client gets.
pub fn answer_is_clean(head: &Head) {
    for name in HOP_BY_HOP {
        let ours = ["connection", "trailer", "transfer-encoding", "upgrade"];
        let there = head.values(name).next().is_some();
        assert!(ours.contains(&name) || !there, "{name} went on");
    }
    for named in head.list("connection") {
        let known = ["close", "keep-alive", "upgrade"];
        assert!(known.contains(&&named[..]), "Connection: {named}");
    }
    let upgrade = head.list("upgrade");
    assert!(
        upgrade.is_empty() || upgrade == ["websocket"],
        "{upgrade:?}"
    );
}

/// Tells a whole exchange, for whoever looks into a finding.
#[allow(clippy::print_stderr, reason = "asked for")]
fn show(stream: &[u8], answers: &[u8], seen: &[Seen]) {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\r\\n", "\n");
    eprintln!("--- sent\n{}\n--- got\n{}", text(stream), text(answers));
    for one in seen {
        let answered = one.answered;
        eprintln!("--- upstream, answered {answered}\n{}", text(&one.bytes));
    }
}
