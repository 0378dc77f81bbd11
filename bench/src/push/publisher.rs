//! A service that pushes, by a gateway's admin listener.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::words;

#[derive(Debug)]
pub(crate) struct Publisher {
    admin: SocketAddr,
}

impl Publisher {
    pub(crate) const fn new(admin: SocketAddr) -> Self {
        Self { admin }
    }

    /// Pushes what the body says, and waits for the answer.
    pub(crate) fn push(&self, body: &str) -> Result<(), String> {
        let mut stream = TcpStream::connect(self.admin).map_err(words)?;
        let head = format!(
            "POST /v1/push HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.admin,
            body.len()
        );
        stream.write_all((head + body).as_bytes()).map_err(words)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(words)?;
        if !answer.starts_with("HTTP/1.1 202 ") {
            return Err(format!("not pushed: {answer}"));
        }
        Ok(())
    }
}
