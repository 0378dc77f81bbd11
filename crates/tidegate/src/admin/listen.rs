//! Accepting for the admin listener: few connections, short ones, and descriptors in reserve.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::reserve::{Refill, Reserve};
use super::waits::{Stage, Waits, refusing};
use crate::connection;
use crate::error::{GatewayError, is_shortage};
use crate::task::{self, Kind, Panics};
use crate::tls::server::ServerTls;
use crate::transport::{self, HandshakeError, Transport};

/// Connections at one time, but for those that wait. For one more, the oldest without a request is cut:
/// whoever holds them all keeps nobody out.
pub(super) const CONNECTIONS: usize = 64;
/// The same with those that have just come, whose requests may be on their way, and for how long that is.
const CROWD: usize = 4 * CONNECTIONS;
const JUST: Duration = Duration::from_secs(1);
/// Those of one address, beyond which its own are cut first.
const OF_ONE: usize = CONNECTIONS / 4;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, its one answer included.
const LIFETIME: Duration = Duration::from_secs(30);
/// The most bytes and fields of a head.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 128;
/// How long accepting pauses when not even the reserve has a descriptor.
const PAUSE: Duration = Duration::from_millis(10);
/// Callers that are told at one time that there is no room for them, and how long that may take.
const REFUSALS: usize = 64;
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// How long answers under way have when the gateway has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Stands in the extensions of an answer that goes on for as long as its caller likes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting;

/// Whose connection a request came by; stands in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Binds the listener.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // For those that it accepts.
    transport::set_options(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What callers find.
#[derive(Clone)]
pub(super) struct Callers {
    pub(super) router: Router,
    /// Over TLS, where there is some.
    pub(super) tls: Option<Arc<ServerTls>>,
}

/// Accepts and answers until the gateway has ended.
pub(super) async fn serve(
    listener: TcpListener,
    reserve: Reserve,
    callers: Callers,
    panics: Arc<Panics>,
    ended: CancellationToken,
) {
    let mut open = Open::default();
    let waits = Waits::new(reserve.clone());
    let refused = Callers {
        router: refusing(),
        tls: callers.tls.clone(),
    };
    let mut second = interval(Duration::from_secs(1));
    loop {
        let accepted = tokio::select! {
            () = ended.cancelled() => break,
            Some(_ended) = open.tasks.join_next() => continue,
            Some(_ended) = open.refusals.join_next() => continue,
            _ = second.tick() => {
                reserve.fill();
                open.trim();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => Some(accepted),
            Err(error) if is_shortage(&error) && reserve.is_empty() => {
                open.make_room().await;
                None
            }
            Err(error) if is_shortage(&error) => reserve.accept(&listener).await,
            // The caller was gone before it was accepted.
            Err(error) => {
                tracing::debug!(%error, "not accepted");
                None
            }
        };
        if let Some((stream, peer)) = accepted {
            let is_short = !reserve.is_full();
            let refill = Refill::new(&reserve);
            let (stage, peer) = (Arc::<Stage>::default(), Peer(peer.ip().to_canonical()));
            let has_room = open.has_room(peer.0);
            let callers = if has_room { &callers } else { &refused };
            let waits = waits.of(&stage);
            let said = (callers.clone(), waits, Arc::clone(&stage));
            let answer = answer(refill, (stream, peer), said);
            let panics = Arc::clone(&panics);
            let connection = async move {
                // It ends with the panic, which is told there.
                let _ended = task::survive(Kind::Admin, &panics, answer).await;
            };
            if has_room {
                open.add(connection, peer.0, stage);
            } else if !is_short {
                open.refuse(connection);
            }
            // A request that is at hand is heard before anybody else is accepted.
            yield_now().await;
        }
    }
    drop(listener);
    let last_words = async { while open.tasks.join_next().await.is_some() {} };
    let _in_time = timeout(FAREWELL, last_words).await;
}

/// The open connections.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    /// Those that are refused.
    refusals: JoinSet<()>,
    /// The oldest first; some may have ended.
    order: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    peer: IpAddr,
    stage: Arc<Stage>,
    since: Instant,
}

impl Connection {
    /// Whether it has not asked for anything for so long.
    fn is_silent_for(&self, time: Duration) -> bool {
        self.stage.is_silent() && self.since.elapsed() >= time
    }
}

impl Open {
    fn add(
        &mut self,
        connection: impl Future<Output = ()> + Send + 'static,
        peer: IpAddr,
        stage: Arc<Stage>,
    ) {
        let task = self.tasks.spawn(connection);
        self.order.push_back(Connection {
            task,
            peer,
            stage,
            since: Instant::now(),
        });
    }

    /// Whether one more of that address can be added; another may be cut for it.
    fn has_room(&mut self, peer: IpAddr) -> bool {
        self.forget_ended();
        let here = self.order.iter().filter(|one| !one.stage.is_waiting());
        let is_old = |one: &&Connection| !one.stage.is_silent() || one.is_silent_for(JUST);
        let (all, old) = (here.clone().count(), here.filter(is_old).count());
        if all >= CROWD {
            return self.cut_one(Some(peer), Duration::ZERO);
        }
        old < CONNECTIONS || self.cut_one(Some(peer), JUST)
    }

    /// Cuts those that have come lately and have not asked, where they are too many.
    fn trim(&mut self) {
        self.forget_ended();
        let here = self.order.iter().filter(|one| !one.stage.is_waiting());
        let old = here.filter(|one| !one.stage.is_silent() || one.is_silent_for(JUST));
        for _ in CONNECTIONS..old.count() {
            self.cut_silent(JUST);
        }
    }

    fn refuse(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        if self.refusals.len() < REFUSALS {
            self.refusals.spawn(async move {
                let _in_time = timeout(REFUSED_WITHIN, connection).await;
            });
        }
    }

    /// Sees to it that the reserve has a descriptor soon.
    async fn make_room(&mut self) {
        self.forget_ended();
        if self.cut_one(None, Duration::ZERO) {
            yield_now().await; // it ends now, and the reserve is filled
        } else {
            sleep(PAUSE).await;
        }
    }

    fn forget_ended(&mut self) {
        self.order
            .retain(|connection| !connection.task.is_finished());
    }

    /// Cuts the oldest that has not asked for that `time`, of an address that has many if there is one. One that
    /// is being answered is cut only where its address has many, and `newcomer` is another; whether there
    /// was any.
    fn cut_one(&mut self, newcomer: Option<IpAddr>, time: Duration) -> bool {
        if self.cut_silent(time) {
            return true;
        }
        let of_each = self.of_each();
        self.cut(|one| {
            let is_waiting = one.stage.is_waiting();
            !is_waiting && newcomer != Some(one.peer) && has_many(&of_each, one)
        })
    }

    fn cut_silent(&mut self, time: Duration) -> bool {
        let of_each = self.of_each();
        self.cut(|one| one.is_silent_for(time) && has_many(&of_each, one))
            || self.cut(|one| one.is_silent_for(time))
    }

    fn of_each(&self) -> HashMap<IpAddr, usize> {
        let mut of_each = HashMap::new();
        for connection in self.order.iter().filter(|one| !one.stage.is_waiting()) {
            *of_each.entry(connection.peer).or_default() += 1;
        }
        of_each
    }

    /// Cuts the oldest of these; whether there was any.
    fn cut(&mut self, may_go: impl Fn(&Connection) -> bool) -> bool {
        let first = self.order.iter().position(may_go);
        let cut = first.and_then(|place| self.order.remove(place));
        cut.inspect(|one| one.task.abort()).is_some()
    }
}

fn has_many(of_each: &HashMap<IpAddr, usize>, one: &Connection) -> bool {
    of_each.get(&one.peer).is_some_and(|&has| has > OF_ONE)
}

/// One request, and its answer. The reserve is filled when the connection has been dropped, and so is
/// the first of the arguments, which are dropped from the last to the first.
async fn answer(
    _refill: Refill,
    (stream, peer): (TcpStream, Peer),
    (callers, waits, stage): (Callers, Waits, Arc<Stage>),
) {
    let mut stream = Transport::accepted(stream);
    if let Some(tls) = &callers.tls {
        let held = timeout(tls.handshake_timeout(), stream.accept_tls(tls.config()));
        match held.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "handshake of TLS with the admin listener failed");
                if matches!(error, HandshakeError::PlainHttp) {
                    refuse_plain(stream).await;
                }
                return;
            }
            Err(_elapsed) => return,
        }
    }
    let service = TowerToHyperService::new(callers.router);
    let lasts = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&lasts);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(waits.clone());
        stage.set_heard();
        let (called, noted) = (service.call(request), Arc::clone(&noted));
        async move {
            let answer = called.await;
            let is_lasting = |answer: &Response| answer.extensions().get::<Lasting>().is_some();
            noted.store(answer.as_ref().is_ok_and(is_lasting), Ordering::Relaxed);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut ended = timeout(LIFETIME, &mut connection).await;
    if ended.is_err() && lasts.load(Ordering::Relaxed) {
        ended = Ok(connection.await);
    }
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_elapsed) => tracing::debug!("admin connection took too long"),
    }
}

/// Tells a caller that it came without TLS.
async fn refuse_plain(mut stream: Transport) {
    let answer = connection::refusal(&GatewayError::PlainHttp.answer(None));
    let said = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_HEAD as u64), &mut tokio::io::sink()).await
    };
    let _in_time = timeout(FAREWELL, said).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;

    use super::*;

    async fn stumble() -> &'static str {
        std::panic::panic_any("on purpose")
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _cut = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_panic_ends_one_connection_and_is_counted() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let router = Router::new()
            .route("/stumble", get(stumble))
            .route("/", get(|| async { "well" }));
        let (panics, ended) = (Arc::new(Panics::default()), CancellationToken::new());
        let reserve = Reserve::full().unwrap();
        let serving = serve(
            listener,
            reserve,
            Callers { router, tls: None },
            Arc::clone(&panics),
            ended.clone(),
        );
        let asking = async {
            for round in 1..=3 {
                assert_eq!(ask(address, "/stumble").await, "");
                assert_eq!(panics.count(), round);
                assert!(ask(address, "/").await.ends_with("well"));
            }
            ended.cancel();
        };
        tokio::join!(serving, asking);
        assert_eq!(panics.count(), 3);
    }

    #[tokio::test]
    async fn one_is_cut_that_has_not_asked_and_whose_address_has_many() {
        let mut open = Open::default();
        let mut add = |last: u8, heard: bool| {
            let peer = IpAddr::from([127, 0, 0, last]);
            let stage = Arc::<Stage>::default();
            if heard {
                stage.set_heard();
            }
            if open.has_room(peer) {
                open.add(pending(), peer, stage);
                open.order.back_mut().unwrap().since -= JUST;
            }
            let of = |last: u8| {
                let peer = IpAddr::from([127, 0, 0, last]);
                open.order.iter().filter(|one| one.peer == peer).count()
            };
            (of(1), of(2), open.order.len())
        };
        for _ in 0..4 {
            add(1, false);
        }
        for _ in 0..3 {
            add(2, true);
        }
        for _ in 0..57 {
            add(2, false);
        }
        // The oldest are of another, who has few; the next ones are being answered.
        for _ in 0..100 {
            assert_eq!(add(2, false), (4, 60, CONNECTIONS));
        }
        let heard = |one: &&Connection| !one.stage.is_silent();
        assert_eq!(add(1, false), (5, 59, CONNECTIONS));
        assert_eq!(open.order.iter().filter(heard).count(), 3);
    }

    #[tokio::test]
    async fn whoever_has_just_come_is_waited_for() {
        let mut open = Open::default();
        let peer = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..2 * CROWD {
            assert!(open.has_room(peer));
            open.add(pending(), peer, Arc::default());
            assert!(open.order.len() <= CROWD);
        }
        assert_eq!(open.order.len(), CROWD);
    }

    #[tokio::test]
    async fn whoever_is_answered_has_to_make_room_for_another_address_alone() {
        let mut open = Open::default();
        let [one, two] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        for _ in 0..CONNECTIONS {
            let stage = Arc::<Stage>::default();
            stage.set_heard();
            assert!(open.has_room(one));
            open.add(pending(), one, stage);
        }
        assert!(!open.has_room(one));
        assert_eq!(open.order.len(), CONNECTIONS);
        assert!(open.has_room(two));
        assert_eq!(open.order.len(), CONNECTIONS - 1);
        open.add(pending(), two, Arc::default());
        // Who waits has its place elsewhere.
        let waits = Waits::new(Reserve::full().unwrap());
        let waiting = open.order.iter().map(|one| waits.of(&one.stage).begin());
        let waiting: Vec<_> = waiting.map(Result::unwrap).collect();
        assert!(open.has_room(one));
        drop(waiting);
        assert_eq!(open.order.len(), CONNECTIONS);
    }
}
