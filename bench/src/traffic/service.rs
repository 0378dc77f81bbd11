//! The service behind the gateway: answers with JSON, compressed where it is asked below `/gzip`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use zlib_rs::{DeflateConfig, compress_slice};

use super::words;

/// Answers that differ; who asks for one more gets the first of them again.
const BODIES: usize = 64;
/// Windows of 15 bits, and gzip around it, as zlib counts.
const GZIP: i32 = 15 + 16;

/// Serves until the process ends.
pub(super) fn start(address: SocketAddr) -> Result<(), String> {
    let listener = TcpListener::bind(address).map_err(words)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    Ok(())
}

fn serve(stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let line = lines.next()?.ok()?;
        let path = line.strip_prefix("GET ")?.split(' ').next()?.to_owned();
        while !lines.next()?.ok()?.is_empty() {}
        let mut stream = stream;
        stream.write_all(&answer(&path)?).ok()?;
    }
}

fn answer(path: &str) -> Option<Vec<u8>> {
    let mut steps = path.trim_start_matches('/').split('/');
    let (kind, size, number) = (steps.next()?, steps.next()?, steps.next()?);
    let mut body = body(size.parse().ok()?, number.parse().ok()?).into_bytes();
    let mut encoding = "";
    if kind == "gzip" {
        body = gzip(&body);
        encoding = "Content-Encoding: gzip\r\n";
    }
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: application/json; charset=utf-8\r\n{encoding}Content-Length: {}\r\n\
         Cache-Control: no-cache\r\nVary: Accept-Encoding\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Some(answer)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let config = DeflateConfig {
        window_bits: GZIP,
        ..DeflateConfig::new(6)
    };
    let mut room = vec![0; body.len() + 1024];
    compress_slice(&mut room, body, config).0.to_vec()
}

/// The answer of that number, JSON of about so many bytes: rows as an app lists them.
pub(super) fn body(size: usize, number: usize) -> String {
    let mut random = fastrand::Rng::with_seed((size * 1000 + number % BODIES) as u64);
    let mut rows = Vec::new();
    let mut length = 12;
    while rows.is_empty() || length < size {
        let row = row(&mut random);
        length += row.len() + 1;
        rows.push(row);
    }
    format!("{{\"items\":[{}]}}", rows.join(","))
}

fn row(random: &mut fastrand::Rng) -> String {
    const NAMES: [&str; 8] = [
        "Anna", "Bela", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hugo",
    ];
    const STATES: [&str; 4] = ["open", "paid", "shipped", "returned"];
    let name = NAMES[random.usize(..NAMES.len())];
    format!(
        "{{\"id\":\"{:016x}\",\"customer\":\"{name} {}\",\"state\":\"{}\",\"total\":{}.{:02},\
         \"currency\":\"EUR\",\"created\":\"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z\"}}",
        random.u64(..),
        random.u32(100..1000),
        STATES[random.usize(..STATES.len())],
        random.u32(1..2000),
        random.u32(..100),
        random.u32(1..13),
        random.u32(1..29),
        random.u32(..24),
        random.u32(..60),
        random.u32(..60),
    )
}

#[cfg(test)]
mod tests {
    use zlib_rs::{InflateConfig, decompress_slice};

    use super::*;

    #[test]
    fn bodies_are_about_as_large_as_asked_and_come_back_out_of_gzip() {
        for size in [200, 1024, 16 * 1024] {
            let body = body(size, 7);
            assert!(body.len().abs_diff(size) < 200, "{}", body.len());
            let packed = gzip(body.as_bytes());
            assert!(packed.len() < body.len());
            let mut room = vec![0; body.len()];
            let config = InflateConfig { window_bits: GZIP };
            let (unpacked, _) = decompress_slice(&mut room, &packed, config);
            assert_eq!(unpacked, body.as_bytes());
        }
    }
}
