//! Redis's protocol (RESP2), as far as a case needs it to look and to meddle.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};
use tokio::io::{BufReader, Error, ErrorKind, Result};
use tokio::net::TcpStream;

use crate::tls;

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// There is nothing.
    Nil,
    /// A status or a value.
    Text(String),
    /// A number.
    Number(i64),
    /// Several.
    List(Vec<Self>),
    /// It could or would not; the words begin with a code (`WRONGTYPE`).
    Error(String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to Redis.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Connects, over TLS where `tls` says how.
    ///
    /// # Errors
    /// Nobody listens there, or they do not agree on TLS.
    pub async fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some(config) => Box::new(tls::connect(socket, config, "127.0.0.1").await?),
        };
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command, and reads what is answered.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        use std::fmt::Write as _;
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            write!(command, "${}\r\n{word}\r\n", word.len()).unwrap();
        }
        self.0.write_all(command.as_bytes()).await?;
        self.0.flush().await?;
        self.hear().await
    }

    /// Reads what comes: an answer, or what a subscription brings.
    ///
    /// # Errors
    /// The connection ended, or it is not Redis at the other end.
    pub async fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let Some(line) = line.strip_suffix("\r\n").filter(|line| !line.is_empty()) else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(|_| malformed(line));
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => number().map(Reply::Number),
            "$" | "*" => match (kind, usize::try_from(number()?)) {
                (_, Err(_)) => Ok(Reply::Nil),
                ("$", Ok(length)) => self.text(length).await,
                (_, Ok(length)) => self.list(length).await,
            },
            _ => Err(malformed(line)),
        }
    }

    async fn text(&mut self, length: usize) -> Result<Reply> {
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn list(&mut self, length: usize) -> Result<Reply> {
        let mut list = Vec::with_capacity(length);
        for _ in 0..length {
            list.push(Box::pin(self.hear()).await?);
        }
        Ok(Reply::List(list))
    }
}

impl Reply {
    /// The text; of anything else, none.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The texts of a list.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::List(list) => list.iter().map(Self::text).collect(),
            _ => Vec::new(),
        }
    }
}

fn malformed(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, line.to_owned())
}
