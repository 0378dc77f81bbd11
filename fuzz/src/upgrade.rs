//! The handshake as each side says it, right or wrong, and what an upstream agreed to.

use tidegate_ws::handshake::Key;

use crate::message::{self, Head, Look};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake that an upstream agreed to, and where the session's bytes begin.
pub struct Asked {
    /// In what the upstream got.
    pub head: usize,
    /// In what it sent.
    pub answer: usize,
    pub deflate: bool,
}

/// Judges what an upstream got; tells whether it was asked for a WebSocket and agreed.
#[must_use]
pub fn asked(got: &[u8], sent: &[u8]) -> Option<Asked> {
    let mut at = 0;
    while at < got.len() {
        let (head, size) = match message::request(&got[at..]) {
            Look::Whole(head, size) => (head, size),
            Look::More => return None,
            Look::Bad(why) => panic!("an upstream got {why} that is wrong: {:?}", got),
        };
        if head.list("upgrade") == ["websocket"] {
            assert_eq!(at, 0, "a handshake on a connection that was used before");
            if let Some((answer, deflate)) = agreed(&head, sent) {
                return Some(Asked {
                    head: size,
                    answer,
                    deflate,
                });
            }
            assert!(
                got.len() == size || is_refused(sent),
                "bytes of the client before the upstream agreed"
            );
        }
        let framing = head.request_framing().expect("a request's framing");
        let body = message::body(&got[at + size..], framing, false).right();
        if !body.whole {
            return None;
        }
        at += size + body.size;
    }
    None
}

/// Whether an upstream gave another answer than a 101, behind which its connection is HTTP again.
fn is_refused(sent: &[u8]) -> bool {
    final_head(sent).is_some_and(|(head, _)| head.status() != 101)
}

/// An upstream's first head that is not of an interim answer, and where it ends.
fn final_head(sent: &[u8]) -> Option<(Head, usize)> {
    let mut at = 0;
    loop {
        let Look::Whole(head, size) = message::response(&sent[at..]) else {
            return None;
        };
        at += size;
        if head.status() == 101 || head.status() >= 200 {
            return Some((head, at));
        }
    }
}

/// Whether an upstream agreed to the handshake, where its 101 ends, and to deflate too.
fn agreed(asked: &Head, sent: &[u8]) -> Option<(usize, bool)> {
    let (answer, at) = final_head(sent).filter(|(head, _)| head.status() == 101)?;
    let key = Key::of_request(asked.values("sec-websocket-key")).expect("a key of the gateway's");
    let offered = asked.list("sec-websocket-protocol");
    let chosen: Vec<_> = answer
        .values("sec-websocket-protocol")
        .map(message::lower)
        .collect();
    let extensions = answer.list("sec-websocket-extensions");
    let deflate = asked.values("sec-websocket-extensions").next().is_some();
    let right = answer.is_http11()
        && answer.list("upgrade") == ["websocket"]
        && answer.list("connection").contains(&"upgrade".to_owned())
        && answer.values("sec-websocket-accept").collect::<Vec<_>>() == [key.accept()]
        && chosen.len() < 2
        && chosen.iter().all(|one| offered.contains(one))
        && extensions.len() < 2
        && (extensions.is_empty() || deflate && extensions[0].starts_with("permessage-deflate"));
    right.then_some((at, !extensions.is_empty()))
}

/// A client's handshake, right but for what the bits ask for.
#[must_use]
pub fn wish(bits: u8) -> String {
    let mut text = match bits & 0x30 {
        0x10 => "GET /x HTTP/1.0\r\n",
        0x20 => "POST /x HTTP/1.1\r\n",
        _ => "GET /x HTTP/1.1\r\n",
    }
    .to_owned();
    text += "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    text += match bits & 0x0c {
        0x04 => "Sec-WebSocket-Version: 8\r\n",
        0x08 => "Sec-WebSocket-Version: 13\r\nContent-Length: 3\r\n",
        _ => "Sec-WebSocket-Version: 13\r\n",
    };
    text += &match bits & 0xc0 {
        0x40 => "Sec-WebSocket-Key: short\r\n".to_owned(),
        0x80 => format!("Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}\r\n"),
        _ => format!("Sec-WebSocket-Key: {KEY}\r\n"),
    };
    if bits & 1 != 0 {
        text += "Sec-WebSocket-Protocol: chat, other\r\n";
    }
    if bits & 2 != 0 {
        text += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    }
    text + "\r\n"
}

/// An upstream's answer to the handshake that it `got`, right or wrong in one thing.
#[must_use]
pub fn answer(variant: u8, got: &[u8]) -> String {
    let key = match message::request(got) {
        Look::Whole(head, _) => Key::of_request(head.values("sec-websocket-key")).ok(),
        Look::More | Look::Bad(_) => None,
    };
    let accept = key.map_or([b'A'; 28], |key| key.accept());
    let accept = String::from_utf8_lossy(&accept);
    let upgrade = "Upgrade: websocket\r\n";
    let connection = "Connection: Upgrade\r\n";
    let accepts = format!("Sec-WebSocket-Accept: {accept}\r\n");
    let head = |start: &str, lines: &[&str]| format!("{start}\r\n{}\r\n", lines.concat());
    let switch = "HTTP/1.1 101 Switching Protocols";
    let right = [upgrade, connection, &accepts];
    match variant & 0x0f {
        1 => head(
            switch,
            &[&right[..], &["Sec-WebSocket-Protocol: chat\r\n"]].concat(),
        ),
        2 => {
            let line = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
            head(switch, &[&right[..], &[line]].concat())
        }
        3 => head(
            switch,
            &[upgrade, connection, "Sec-WebSocket-Accept: wrong\r\n"],
        ),
        4 => head(switch, &[connection, &accepts]),
        5 => head(switch, &[upgrade, &accepts]),
        6 => head(
            switch,
            &[&right[..], &["Sec-WebSocket-Extensions: x\r\n"]].concat(),
        ),
        7 => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(),
        8 => "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n".into(),
        9 => format!("HTTP/1.1 103 Hints\r\n\r\n{}", head(switch, &right)),
        10 => head("HTTP/1.0 101 Old", &right),
        11 => head(
            switch,
            &[&right[..], &["Content-Length: 5\r\nX-Hop: 1\r\n"]].concat(),
        ),
        12 => head(switch, &[&right[..], &[&accepts]].concat()),
        13 => "HTTP/1.1 302 Elsewhere\r\nLocation: /\r\n\r\nuntil the end".into(),
        14 => "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n".into(),
        15 => {
            let behind = String::from_utf8_lossy(b"\x81\x02hi").into_owned();
            head(switch, &[&right[..], &["Set-Cookie: a=b\r\n"]].concat()) + &behind
        }
        _ => head(switch, &right),
    }
}
