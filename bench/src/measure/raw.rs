//! A relay that parses nothing: what two sockets cost whoever stands between them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use super::words;

const LISTENER: Token = Token(usize::MAX);
/// One read: a message of 64 KiB and its header fit.
const READ: usize = 128 * 1024;

#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// What is still to be written to it.
    output: Vec<u8>,
    /// It has sent its last byte.
    has_ended: bool,
}

/// A client's end and the upstream's; their tokens are twice the pair's number, and one more.
type Pair = [End; 2];

/// Relays for ever, in so many threads with an epoll each.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr, threads: usize) -> Result<(), String> {
    let others: Vec<_> = (1..threads)
        .map(|_| thread::spawn(move || relay(listen, upstream)))
        .collect();
    relay(listen, upstream)?;
    for other in others {
        other.join().map_err(|_panic| "a thread has panicked")??;
    }
    Ok(())
}

fn relay(listen: SocketAddr, upstream: SocketAddr) -> Result<(), String> {
    let mut listener = listener(listen).map_err(words)?;
    let mut poll = Poll::new().map_err(words)?;
    let registered = poll
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE);
    registered.map_err(words)?;
    let mut events = Events::with_capacity(1024);
    let mut pairs = Slab::new();
    let mut scratch = vec![0; READ];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(words(error)),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, upstream, &poll, &mut pairs)?;
                continue;
            }
            let (number, which) = (event.token().0 / 2, event.token().0 % 2);
            let Some(pair) = pairs.get_mut(number) else {
                continue;
            };
            let is_alive = (!event.is_writable() || flush(pair, which, &mut scratch))
                && (!(event.is_readable() || event.is_read_closed())
                    || pump(pair, which, event.is_read_closed(), &mut scratch));
            if !is_alive {
                pairs.remove(number);
            }
        }
    }
}

/// Each thread has a listener of its own on the one port.
fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn accept(
    listener: &TcpListener,
    upstream: SocketAddr,
    poll: &Poll,
    pairs: &mut Slab<Pair>,
) -> Result<(), String> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(words(error)),
        };
        let mut pair = [client, TcpStream::connect(upstream).map_err(words)?].map(|stream| End {
            stream,
            output: Vec::new(),
            has_ended: false,
        });
        let entry = pairs.vacant_entry();
        for (which, end) in pair.iter_mut().enumerate() {
            // It fails for a connection that is gone already, which the next read tells.
            let _ = end.stream.set_nodelay(true);
            let both = Interest::READABLE | Interest::WRITABLE;
            let token = Token(entry.key() * 2 + which);
            let registry = poll.registry();
            let registered = registry.register(&mut end.stream, token, both);
            registered.map_err(words)?;
        }
        entry.insert(pair);
    }
}

/// Moves what one end has sent to the other; says whether the pair lives on.
fn pump(pair: &mut Pair, from: usize, has_ended: bool, scratch: &mut [u8]) -> bool {
    let [first, second] = pair;
    let (from, to) = if from == 0 {
        (first, second)
    } else {
        (second, first)
    };
    // An end that takes nothing is waited for; its `flush` comes back here.
    while to.output.is_empty() && !from.has_ended {
        match from.stream.read(scratch) {
            Ok(0) => {
                from.has_ended = true;
                // It fails where the other end is gone, too.
                let _ = to.stream.shutdown(Shutdown::Write);
            }
            Ok(count) => {
                if !write(to, &scratch[..count]) {
                    return false;
                }
                if count < scratch.len() && !has_ended {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    !(from.has_ended && to.has_ended)
}

/// Writes what is left for an end, and then reads the other one on.
fn flush(pair: &mut Pair, which: usize, scratch: &mut [u8]) -> bool {
    let output = std::mem::take(&mut pair[which].output);
    if output.is_empty() {
        return true;
    }
    write(&mut pair[which], &output)
        && (!pair[which].output.is_empty() || pump(pair, 1 - which, true, scratch))
}

/// Writes what the kernel takes, and keeps the rest.
fn write(end: &mut End, bytes: &[u8]) -> bool {
    let mut left = bytes;
    while !left.is_empty() {
        match end.stream.write(left) {
            Ok(count) => left = &left[count..],
            // Not connected yet counts as full.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    end.output.extend_from_slice(left);
    true
}
