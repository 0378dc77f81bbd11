//! A browser's calls over HTTP/1.1, on one connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zlib_rs::{InflateConfig, decompress_slice};

use super::socket::Counted;
use super::words;

/// What browsers say beside the path, the host and the token; some 700 bytes with those.
const FIELDS: &str = "Connection: keep-alive\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    Accept: application/json\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://app.example/orders\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n\
    Cookie: theme=dark; sid=5f1d7a84db00d2fce00b31a7fc73224f\r\n";
/// More than an answer has.
const ROOM: usize = 128 * 1024;

pub(super) struct Client {
    stream: Counted,
    gateway: SocketAddr,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: Counted, gateway: SocketAddr) -> Self {
        Self {
            stream,
            gateway,
            read: Vec::with_capacity(ROOM),
        }
    }

    /// The answer's body, unpacked.
    pub(super) async fn call(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let (host, token) = (self.gateway, super::token());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{FIELDS}Authorization: Bearer {token}\r\n\r\n"
        );
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.map_err(words)?;
        self.read.clear();
        loop {
            let count = self.stream.read_buf(&mut self.read).await.map_err(words)?;
            if count == 0 {
                return Err("the gateway has hung up".to_owned());
            }
            if let Some(body) = whole(&self.read)? {
                return Ok(body);
            }
        }
    }
}

/// The body of an answer that is there as a whole.
fn whole(read: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let Some(end) = memchr::memmem::find(read, b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = (String::from_utf8_lossy(&read[..end]), &read[end + 4..]);
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    };
    let length = field("content-length").and_then(|length| length.parse::<usize>().ok());
    let length = length.filter(|_| head.starts_with("HTTP/1.1 200 "));
    let length = length.ok_or_else(|| format!("a wrong answer: {head}"))?;
    if body.len() < length {
        return Ok(None);
    }
    if field("content-encoding").as_deref() != Some("gzip") {
        return Ok(Some(body.to_vec()));
    }
    let mut room = vec![0; ROOM];
    let config = InflateConfig {
        window_bits: 15 + 16,
    };
    Ok(Some(decompress_slice(&mut room, body, config).0.to_vec()))
}
