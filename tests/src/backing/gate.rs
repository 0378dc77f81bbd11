//! Somebody who lets only those to a server over HTTP who say who they are (RFC 7617).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A gate before a server. It works from a thread of its own. Each connection is for one request, so that
/// every one is looked at.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    admitted: AtomicUsize,
    refused: AtomicUsize,
}

impl Gate {
    /// Before `target`, for a user with a password.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(target: SocketAddr, user: &str, password: &str) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Counts>::default();
        let (counted, expected) = (Arc::clone(&counts), basic(user, password));
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let expected = Arc::<str>::from(expected);
                while let Ok((client, _)) = listener.accept().await {
                    let (counts, expected) = (Arc::clone(&counted), Arc::clone(&expected));
                    tokio::spawn(async move {
                        // Whoever leaves early is gone.
                        let _ = pass(client, target, &expected, &counts).await;
                    });
                }
            });
        });
        Self { address, counts }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests were let through.
    #[must_use]
    pub fn admitted(&self) -> usize {
        self.counts.admitted.load(Ordering::Acquire)
    }

    /// How many were not.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::Acquire)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

async fn pass(
    mut client: TcpStream,
    target: SocketAddr,
    expected: &str,
    counts: &Counts,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let is_named = |line: &str, name: &str| {
        let field = line.split_once(':');
        field.is_some_and(|(one, _)| one.eq_ignore_ascii_case(name))
    };
    let fields: Vec<&str> = lines.collect();
    let mut shown = fields
        .iter()
        .filter(|line| is_named(line, "authorization"))
        .filter_map(|line| line.split_once(':'));
    if shown.next().map(|(_, value)| value.trim()) != Some(expected) {
        counts.refused.fetch_add(1, Ordering::AcqRel);
        let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"schemas\"\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    }
    counts.admitted.fetch_add(1, Ordering::AcqRel);
    let mut server = TcpStream::connect(target).await?;
    let kept = fields.iter().filter(|line| !is_named(line, "connection"));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    let head = format!("{first}\r\n{kept}Connection: close\r\n\r\n");
    server.write_all(head.as_bytes()).await?;
    server.write_all(&request[end + 4..]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
