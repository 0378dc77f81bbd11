//! The upstream: sends back what it gets, and answers requests.

use memchr::memmem;
use tidegate_tests::accept_for;
use tidegate_tests::frame::{BINARY, CLOSE, PING, PONG};

use super::client::Load;
use super::connection::Next;
use super::frames;

#[derive(Debug, Default)]
pub(super) struct Upstream {
    is_session: bool,
}

impl Upstream {
    /// Takes what is whole of `bytes`, and says how much that was.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        reply: &mut Vec<u8>,
        load: &Load,
    ) -> Result<(usize, Next), String> {
        let mut taken = 0;
        while !self.is_session {
            let Some(end) = memmem::find(&bytes[taken..], b"\r\n\r\n") else {
                return Ok((taken, Next::Wait));
            };
            let head = &bytes[taken..taken + end];
            taken += end + 4;
            self.answer(head, reply, load)?;
        }
        self.echo(bytes, taken, reply)
    }

    fn answer(&mut self, head: &[u8], reply: &mut Vec<u8>, load: &Load) -> Result<(), String> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let Some((_, key)) = key else {
            if !head.starts_with("GET ") {
                return Err(format!("a strange request: {head}"));
            }
            reply.extend_from_slice(load.answer());
            return Ok(());
        };
        let accept = accept_for(key.trim());
        reply.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        self.is_session = true;
        Ok(())
    }

    /// A message goes back as it lies on the wire: its masked bytes are the payload of the echo, so
    /// that unmasking costs nobody time, and the client knows what is due.
    fn echo(
        &self,
        bytes: &[u8],
        mut taken: usize,
        reply: &mut Vec<u8>,
    ) -> Result<(usize, Next), String> {
        while let Some(found) = frames::find(&bytes[taken..]) {
            let payload = &bytes[taken..][found.payload.clone()];
            let key = found.key.ok_or("a frame from the client without a mask")?;
            let unmasked = || payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b);
            match found.opcode {
                BINARY => frames::write(BINARY, payload, reply),
                PING => frames::write(PONG, &unmasked().collect::<Vec<u8>>(), reply),
                PONG => {}
                CLOSE => {
                    frames::write(CLOSE, &unmasked().collect::<Vec<u8>>(), reply);
                    return Ok((bytes.len(), Next::Close));
                }
                other => return Err(format!("a frame of opcode {other} from the client")),
            }
            taken += found.payload.end;
        }
        Ok((taken, Next::Wait))
    }
}
