//! Requests put together of pieces that readers are known to disagree on.

use arbitrary::{Result, Unstructured};

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PURGE", "get",
    "CONNECT", "G@T", "GET ", "TRACE",
];
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/..",
    "/.",
    "/%2e",
    "/%2e%2e",
    "/%2f",
    "/%5c",
    "\\",
    "//",
    "?q=1",
    "?",
    "#",
    "*",
    "/%00",
    "/%0d%0a",
    " ",
    "\t",
    "http://a.example",
    "https://b:80",
    "ws://c",
    "/%61",
    "/%C3%A9",
    "/\u{e9}",
    "%",
    "@",
    ":",
    ";",
    "/a b",
    "?a?b",
    "http://",
    "//a.example/",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/0.9",
    "",
];
const NAMES: &[&str] = &[
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Upgrade",
    "TE",
    "Trailer",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "HTTP2-Settings",
    "Cookie",
    "Authorization",
    "Origin",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "Forwarded",
    "X-Real-IP",
    "X-Secret",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Content_Length",
    "X-Up",
    "Content-Type",
    "Sec-WebSocket-Accept",
];
const VALUES: &[&str] = &[
    "a.example",
    "0",
    "2",
    "5",
    "+5",
    "05",
    "5, 5",
    "-1",
    "18446744073709551616",
    "chunked",
    "Chunked",
    "gzip, chunked",
    "chunked, chunked",
    "identity",
    "\x0bchunked",
    "close",
    "keep-alive",
    "upgrade",
    "Upgrade, HTTP2-Settings",
    "websocket",
    "h2c",
    "websocket, h2c",
    "trailers",
    "100-continue",
    "X-Secret",
    "X-Secret, Cookie, Host",
    "x-forwarded-for, te",
    "Content-Length",
    "Transfer-Encoding, close",
    "1.2.3.4",
    "for=1.2.3.4",
    "13",
    "8",
    "13, 8",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "chat, superchat",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate",
    "",
    " ",
    "\t",
    "a\u{e9}",
    "b:81",
    "[::1]",
    "u@a",
    "x\0y",
    "c, d",
    "\"",
];
const SEPARATORS: &[&str] = &[
    ": ", ": ", ": ", ":", ":\t", " : ", "", ":\r\n ", ": \r\n\t",
];
const ENDS: &[&str] = &[
    "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\n\r", "\r\r\n",
];
const BODIES: &[&str] = &[
    "",
    "ab",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
    "5;ext=1\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "0x2\r\nab\r\n0\r\n\r\n",
    "2\r\nabc\r\n0\r\n\r\n",
    "00000000000000002\r\nab\r\n0\r\n\r\n",
    "0\r\nContent-Length: 9\r\nHost: x\r\n\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "fffffffffffffffe\r\n",
    "\r\n",
];

/// A client's stream of up to four requests.
pub fn requests(input: &[u8]) -> Result<Vec<u8>> {
    let mut from = Unstructured::new(input);
    let mut stream = Vec::new();
    for _ in 0..from.int_in_range(1..=4)? {
        request(&mut from, &mut stream)?;
    }
    Ok(stream)
}

fn request(from: &mut Unstructured<'_>, into: &mut Vec<u8>) -> Result<()> {
    if !from.ratio(1, 8)? {
        into.extend(from.choose(METHODS)?.bytes());
        into.push(b' ');
        into.push(b'/');
        for _ in 0..from.int_in_range(0..=3)? {
            into.extend(from.choose(TARGETS)?.bytes());
        }
        into.push(b' ');
        into.extend(from.choose(VERSIONS)?.bytes());
        into.extend(from.choose(ENDS)?.bytes());
    } else {
        into.extend(b"GET http://b.example?x HTTP/1.1\r\n");
    }
    if !from.ratio(1, 8)? {
        into.extend(b"Host: a.example\r\n");
    }
    // A whole handshake, or a body, is seldom put together by chance.
    match from.int_in_range(0..=7)? {
        0 => into.extend(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        1 => into.extend(b"Transfer-Encoding: chunked\r\n"),
        2 => into.extend(b"Content-Length: 5\r\n"),
        _ => {}
    }
    for _ in 0..from.int_in_range(0..=5)? {
        into.extend(from.choose(NAMES)?.bytes());
        into.extend(from.choose(SEPARATORS)?.bytes());
        into.extend(from.choose(VALUES)?.bytes());
        into.extend(from.choose(ENDS)?.bytes());
    }
    into.extend(b"\r\n");
    into.extend(from.choose(BODIES)?.bytes());
    Ok(())
}
