//! The upstreams: two ports that do what a request's path tells them, and can be cut.

mod scripts;

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::soak::talk::{self, Fault, orders, say_counts};
use crate::soak::wire::Wire;

/// How long a port that was cut refuses.
const AWAY: Duration = Duration::from_secs(2);

/// What is counted.
#[derive(Debug, Default)]
struct Counts {
    connections: Cell<u64>,
    accepted: Cell<u64>,
    faults: Cell<u64>,
    cuts: Cell<u64>,
}

/// Obeys `cut`, until there are no more orders.
pub(crate) async fn run() -> Result<(), Fault> {
    let counts = Rc::new(Counts::default());
    let (cut, seen) = watch::channel(0);
    let steady = reserve(0)?;
    let shaky = reserve(0)?;
    let ports = (port(&steady)?, port(&shaky)?);
    spawn_local(serve(listen(ports.0)?, Rc::clone(&counts), None));
    spawn_local(shake(ports.1, Rc::clone(&counts), seen));
    say_counts(&[("steady", ports.0.into()), ("shaky", ports.1.into())]);

    let mut orders = orders();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = second.tick() => say_counts(&[
                ("connections", counts.connections.get()),
                ("accepted", counts.accepted.get()),
                ("faults", counts.faults.get()),
                ("cuts", counts.cuts.get()),
            ]),
            order = orders.next_line() => match order.ok().flatten().as_deref() {
                Some("cut") => cut.send_modify(|cuts| *cuts += 1),
                Some(other) => return Err(format!("no such order: {other}")),
                None => return Ok(()),
            },
        }
    }
}

/// The port that is cut: then every connection is reset, and for a while none is accepted.
async fn shake(port: u16, counts: Rc<Counts>, mut cut: watch::Receiver<u64>) {
    loop {
        match listen(port) {
            Ok(listener) => {
                tokio::select! {
                    () = serve(listener, Rc::clone(&counts), Some(cut.clone())) => return,
                    changed = cut.changed() => if changed.is_err() { return },
                }
            }
            Err(error) => return talk::say("fault", &format!("port {port} is lost: {error}")),
        }
        sleep(AWAY).await;
        counts.cuts.set(counts.cuts.get() + 1);
    }
}

async fn serve(listener: TcpListener, counts: Rc<Counts>, cut: Option<watch::Receiver<u64>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                spawn_local(connection(stream, Rc::clone(&counts), cut.clone()));
            }
            Err(error) => {
                talk::say("fault", &format!("upstream: cannot accept: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, counts: Rc<Counts>, cut: Option<watch::Receiver<u64>>) {
    counts.connections.set(counts.connections.get() + 1);
    counts.accepted.set(counts.accepted.get() + 1);
    if let Ok(mut wire) = Wire::new(stream) {
        tokio::select! {
            biased;
            () = is_cut(cut) => wire.reset_when_dropped(),
            done = scripts::serve(&mut wire) => if let Err(fault) = done {
                counts.faults.set(counts.faults.get() + 1);
                talk::say("fault", &format!("upstream: {fault}"));
            },
        }
    }
    counts.connections.set(counts.connections.get() - 1);
}

/// Comes when the port is cut; never for the port that is not.
async fn is_cut(cut: Option<watch::Receiver<u64>>) {
    if let Some(mut cut) = cut
        && cut.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Keeps a port ours while nobody listens on it.
fn reserve(port: u16) -> Result<Socket, Fault> {
    let bind = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind().map_err(|error: std::io::Error| format!("port {port}: {error}"))
}

fn listen(port: u16) -> Result<TcpListener, Fault> {
    let socket = reserve(port)?;
    let listen = || {
        socket.listen(4096)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|error| format!("port {port}: {error}"))
}

fn port(socket: &Socket) -> Result<u16, Fault> {
    let address = socket.local_addr().map_err(|error| error.to_string())?;
    let address = address.as_socket().ok_or("no address")?;
    Ok(address.port())
}
