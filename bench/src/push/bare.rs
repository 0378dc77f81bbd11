//! A loop that writes a frame to each of its sockets: what the sockets alone cost.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tidegate_tests::accept_for;
use tidegate_tests::request::KEY;

use super::words;
use crate::measure::frames;

const WELCOME: &[u8] = b"{\"op\":\"welcome\",\"v\":1}";
/// More than a handshake has.
const HEAD: usize = 4096;

/// The frame that is written, as often as it is ordered.
#[derive(Debug)]
pub(super) struct Order(TcpStream);

impl Order {
    pub(super) fn connect(to: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(to).map_err(words)?;
        stream.set_nodelay(true).map_err(words)?;
        Ok(Self(stream))
    }

    /// Has it written to each socket.
    pub(super) fn write(&mut self, frame: &[u8]) -> Result<(), String> {
        let mut order = (frame.len() as u32).to_be_bytes().to_vec();
        order.extend_from_slice(frame);
        self.0.write_all(&order).map_err(words)
    }
}

/// Opens sessions on `listen` for ever, and writes what is ordered on `orders`.
pub(crate) fn run(listen: SocketAddr, orders: SocketAddr) -> Result<(), String> {
    let sessions = TcpListener::bind(listen).map_err(words)?;
    let orders = TcpListener::bind(orders).map_err(words)?;
    let sockets: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let all = Arc::clone(&sockets);
    thread::spawn(move || {
        for stream in sessions.incoming().flatten() {
            if let Some(stream) = opened(stream) {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(stream);
            }
        }
    });
    loop {
        let (mut order, _) = orders.accept().map_err(words)?;
        while let Some(frame) = next(&mut order) {
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            for socket in sockets.iter_mut() {
                // The kernel takes it: the one before was read.
                socket.write_all(&frame).map_err(words)?;
            }
        }
    }
}

fn opened(mut stream: TcpStream) -> Option<TcpStream> {
    stream.set_nodelay(true).ok()?;
    let mut head = [0; HEAD];
    let mut read = 0;
    while memchr::memmem::find(&head[..read], b"\r\n\r\n").is_none() {
        match stream.read(&mut head[read..]) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read += count,
        }
    }
    let accept = accept_for(KEY);
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    frames::write(tidegate_tests::frame::TEXT, WELCOME, &mut answer);
    stream.write_all(&answer).ok()?;
    Some(stream)
}

fn next(order: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    order.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    order.read_exact(&mut frame).ok()?;
    Some(frame)
}
