//! One question over TCP, and whether its answer is the right one.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long an answer may take until it is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether who listens at `port` answers `request` with something in which `wanted` stands.
pub(super) fn says(port: u16, request: &[u8], wanted: &[u8]) -> bool {
    ask(port, request, wanted).unwrap_or(false)
}

fn ask(port: u16, request: &[u8], wanted: &[u8]) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while !answer.windows(wanted.len()).any(|words| words == wanted) {
        match socket.read(&mut part)? {
            0 => return Ok(false),
            count => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_answer_is_the_right_one_or_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut asked = [0; 6];
                socket.read_exact(&mut asked).unwrap();
                socket.write_all(b"+PO").unwrap();
                socket.write_all(b"NG\r\n").unwrap();
            }
        });
        assert!(says(port, b"PING\r\n", b"+PONG"));
        assert!(!says(port, b"PING\r\n", b"+OK"));
    }

    #[test]
    fn nobody_says_nothing() {
        let port = crate::running::free_address().unwrap().port();
        assert!(!says(port, b"PING\r\n", b"+PONG"));
    }
}
