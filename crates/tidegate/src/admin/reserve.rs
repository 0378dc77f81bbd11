//! Descriptors in reserve, for when the process has no others.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};

/// Descriptors that are held for nothing but to be given up when there are no others.
pub(super) const RESERVE: usize = 8;

/// Descriptors in reserve. Others of the process want one at the same time, so between giving one up
/// and taking the socket, and between the end of a socket and taking it back, nothing else is done.
#[derive(Clone)]
pub(super) struct Reserve(Arc<Mutex<Vec<File>>>);

impl Reserve {
    /// A full reserve.
    pub(super) fn full() -> io::Result<Self> {
        let spares = (0..RESERVE).map(|_| File::open("/dev/null"));
        let spares = spares.collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Mutex::new(spares))))
    }

    /// Takes back what it can have.
    pub(super) fn fill(&self) {
        let mut spares = self.lock();
        while spares.len() < RESERVE {
            let Ok(spare) = File::open("/dev/null") else {
                return;
            };
            spares.push(spare);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives one up for a socket that waits; `None` when there is none, or nobody waits any more.
    pub(super) async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        let accepted = poll_fn(|cx| {
            drop(self.lock().pop());
            Poll::Ready(listener.poll_accept(cx))
        });
        match accepted.await {
            Poll::Ready(Ok(accepted)) => Some(accepted),
            Poll::Ready(Err(_)) | Poll::Pending => {
                self.fill();
                None
            }
        }
    }

    /// Whether descriptors are not short.
    pub(super) fn is_full(&self) -> bool {
        self.lock().len() >= RESERVE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// Fills the reserve when it is dropped.
pub(super) struct Refill(Reserve);

impl Refill {
    pub(super) fn new(reserve: &Reserve) -> Self {
        Self(reserve.clone())
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        self.0.fill();
    }
}
