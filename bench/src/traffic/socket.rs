//! A client's socket, which counts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::words;

/// Bytes that went up and that came down.
#[derive(Debug, Default)]
pub(super) struct Count([AtomicU64; 2]);

impl Count {
    pub(super) fn look(&self) -> [u64; 2] {
        let [up, down] = &self.0;
        [up, down].map(|bytes| bytes.load(Ordering::Relaxed))
    }

    fn add(&self, side: usize, bytes: usize) {
        if let Some(count) = self.0.get(side) {
            count.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    count: Arc<Count>,
}

pub(super) async fn connect(to: SocketAddr) -> Result<(Counted, Arc<Count>), String> {
    let stream = TcpStream::connect(to).await.map_err(words)?;
    stream.set_nodelay(true).map_err(words)?;
    let count = Arc::new(Count::default());
    let counted = Counted {
        stream,
        count: Arc::clone(&count),
    };
    Ok((counted, count))
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.count.add(1, buffer.filled().len() - before);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.count.add(0, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
