//! TLS between the gateway's transport and rustls itself, over a wire that a script cuts, bends and
//! ends. What either side gets is a beginning of what the other said; an end is one that was said.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tidegate::fuzzing::{Left, Peer, Secure, activity};
use tokio::runtime::Builder;

const CA: &[u8] = include_bytes!("../certificates/ca.pem");
const SERVER: [&[u8]; 2] = [
    include_bytes!("../certificates/server.pem"),
    include_bytes!("../certificates/server.key"),
];
const CLIENT: [&[u8]; 2] = [
    include_bytes!("../certificates/client.pem"),
    include_bytes!("../certificates/client.key"),
];
const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];
const NAME: &str = "fuzz.example";
/// How many bytes may wait for the peer.
const ROOMS: [usize; 4] = [usize::MAX, 4096, 100, 37];
/// Rounds after which nothing may go on any more.
const ROUNDS: usize = 20_000;

/// By what the settings' bits ask for: tickets, certificates of clients, small records.
static SERVERS: LazyLock<Vec<Arc<ServerConfig>>> =
    LazyLock::new(|| (0..8).map(|bits| Arc::new(server(bits))).collect());
/// By the version, and small records.
static CLIENTS: LazyLock<Vec<Arc<ClientConfig>>> =
    LazyLock::new(|| (0..4).map(|bits| Arc::new(client(bits))).collect());

fn certificate([chain, key]: [&[u8]; 2]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::from_pem_slice(chain).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
    (vec![chain], key)
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(CA).expect("an authority");
    roots.add(authority).expect("an authority");
    roots
}

fn server(bits: usize) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let asking = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider.clone());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("both versions");
    let builder = if bits & 2 == 0 {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_verifier(asking.build().expect("a verifier"))
    };
    let (chain, key) = certificate(SERVER);
    let config = builder.with_single_cert(chain, key);
    let mut config = config.expect("a certificate and its key");
    config.send_tls13_tickets = 2 * (bits & 1);
    config.max_fragment_size = (bits & 4 != 0).then_some(40);
    config
}

fn client(bits: usize) -> ClientConfig {
    let (chain, key) = certificate(CLIENT);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(VERSIONS[bits & 1])
        .expect("a version")
        .with_root_certificates(roots())
        .with_client_auth_cert(chain, key);
    let mut config = config.expect("a certificate and its key");
    config.max_fragment_size = (bits & 2 != 0).then_some(40);
    config
}

/// What either side says: each byte tells its place.
fn word(from: usize, size: usize) -> Vec<u8> {
    (from..from + size)
        .map(|place| (place % 251) as u8)
        .collect()
}

/// One side's words.
#[derive(Default)]
struct Words {
    said: usize,
    heard: usize,
}

impl Words {
    fn hear(&mut self, bytes: &[u8]) {
        assert!(
            bytes == word(self.heard, bytes.len()),
            "what was not said was heard"
        );
        self.heard += bytes.len();
        assert!(self.heard <= self.said, "more was heard than was said");
    }
}

/// How ours last answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Waits,
    Ended,
    Failed,
}

struct Play {
    ours: Secure,
    peer: Peer,
    other: Connection,
    room: usize,
    /// What the other has sealed and ours has not got.
    wire: Vec<u8>,
    down: Words,
    up: Words,
    /// The other has said that it will say no more.
    goodbye: bool,
    /// The other has heard so.
    heard_goodbye: bool,
    is_shut: bool,
    renewals: usize,
    /// What came to ours is not what was sent, or ends early.
    is_bent: bool,
    is_over: bool,
    last: Answer,
}

pub fn play(input: &[u8]) {
    let Some((&settings, script)) = input.split_first() else {
        return;
    };
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets");
    runtime.block_on(async {
        let mut play = Play::new(usize::from(settings));
        play.run(script);
        play.settle().await;
        play.judge();
    });
}

impl Play {
    /// Bit 0: ours is the client; 1: TLS 1.2; 2: tickets; 3: certificates of clients; 4: small
    /// records; 5 and 6: the room.
    fn new(settings: usize) -> Self {
        let room = ROOMS[settings >> 5 & 3];
        let server = Arc::clone(&SERVERS[settings >> 2 & 7]);
        let client = Arc::clone(&CLIENTS[settings >> 1 & 1 | settings >> 3 & 2]);
        let name = NAME.try_into().expect("a name");
        let ((ours, peer), mut other) = if settings & 1 == 0 {
            let client = ClientConnection::new(client, name).expect("a client");
            (Secure::accept(server, room), Connection::from(client))
        } else {
            let server = ServerConnection::new(server).expect("a server");
            (
                Secure::connect(client, name, room),
                Connection::from(server),
            )
        };
        other.set_buffer_limit(None);
        Self {
            ours,
            peer,
            other,
            room,
            wire: Vec::new(),
            down: Words::default(),
            up: Words::default(),
            goodbye: false,
            heard_goodbye: false,
            is_shut: false,
            renewals: 0,
            is_bent: false,
            is_over: false,
            last: Answer::Waits,
        }
    }

    /// Steps of a code and an argument.
    fn run(&mut self, mut script: &[u8]) {
        while let [code, argument, rest @ ..] = script {
            script = rest;
            let size = usize::from(*argument);
            match code % 16 {
                0 | 1 => self.other_says(size * 8 + 1),
                2 => self.deliver(size),
                3 => self.deliver(usize::MAX),
                4 => self.say(size * 8 + 1, size),
                5 if self.room > 5000 => self.say(size * size + 1, size * 3),
                6 => self.listen(size + 1),
                7 => self.other_listens(),
                8 => self.other_says_goodbye(),
                9 => self.flush(),
                10 => self.shut(),
                11 => self.bend(size),
                12 => {
                    let (junk, rest) = script.split_at(size.min(script.len()));
                    script = rest;
                    if !self.is_shut {
                        self.wire.extend_from_slice(junk);
                        self.is_bent |= !junk.is_empty();
                    }
                }
                13 => self.other_renews_its_key(),
                14 => self.cut(size),
                _ => self.round(),
            }
        }
    }

    fn other_says(&mut self, size: usize) {
        if self.goodbye {
            return;
        }
        let word = word(self.down.said, size);
        // Who was told that what he sent is nonsense says no more.
        if let Err(error) = self.other.writer().write_all(&word) {
            assert!(self.is_bent, "{error}");
            return;
        }
        self.down.said += size;
        self.other_seals();
    }

    fn other_seals(&mut self) {
        while self.other.wants_write() {
            self.other
                .write_tls(&mut self.wire)
                .expect("memory takes all");
        }
    }

    fn other_says_goodbye(&mut self) {
        if !self.other.is_handshaking() && !self.goodbye {
            self.goodbye = true;
            self.other.send_close_notify();
            self.other_seals();
        }
    }

    fn other_renews_its_key(&mut self) {
        // More than 32 with nothing between them are misbehaviour.
        if !self.goodbye && self.renewals < 30 {
            self.renewals += 1;
            // TLS 1.2 has no such thing.
            self.other.refresh_traffic_keys().ok();
            self.other_seals();
        }
    }

    fn other_listens(&mut self) {
        let bytes = self.peer.take();
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            if self.other.read_tls(&mut bytes).is_err() {
                break;
            }
            match self.other.process_new_packets() {
                Ok(state) => self.heard_goodbye |= state.peer_has_closed(),
                // It heard no more than what ours answers to nonsense.
                Err(error) => {
                    assert!(self.is_bent, "{error}");
                    break;
                }
            }
            let mut heard = Vec::new();
            self.other.reader().read_to_end(&mut heard).ok();
            self.up.hear(&heard);
        }
        self.other_seals();
    }

    fn deliver(&mut self, size: usize) {
        let bytes: Vec<u8> = self.wire.drain(..size.min(self.wire.len())).collect();
        self.peer.send(&bytes);
        self.shake();
    }

    fn shake(&mut self) {
        if let Poll::Ready(Err(error)) = self.ours.poll_handshake(&mut context()) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        assert!(self.is_bent, "{error}");
        self.last = Answer::Failed;
    }

    fn say(&mut self, size: usize, first: usize) {
        if self.is_shut {
            return;
        }
        let word = word(self.up.said, size);
        let (first, second) = word.split_at(first.min(size));
        match self.ours.poll_write([first, second], &mut context()) {
            Some(Poll::Ready(Ok(taken))) => {
                assert!(taken > 0 && taken <= size, "{taken} of {size}");
                self.up.said += taken;
            }
            Some(Poll::Ready(Err(error))) => self.fail(&error),
            Some(Poll::Pending) | None => {}
        }
        // A word of at most 64 KiB waits, with what sealing adds to it.
        assert!(self.ours.unsent() <= 66 * 1024, "{}", self.ours.unsent());
    }

    fn listen(&mut self, room: usize) {
        let mut room = vec![0; room];
        match self.ours.poll_read(&mut room, &mut context()) {
            Some(Poll::Ready(Ok(0))) => {
                assert!(self.goodbye, "an end that nobody said");
                assert_eq!(
                    self.down.heard, self.down.said,
                    "an end before all was heard"
                );
                self.last = Answer::Ended;
            }
            Some(Poll::Ready(Ok(size))) => {
                assert_ne!(self.last, Answer::Ended, "words behind the end");
                self.down.hear(&room[..size]);
            }
            Some(Poll::Ready(Err(error))) => self.fail(&error),
            Some(Poll::Pending) => assert_ne!(self.last, Answer::Ended, "it waits behind the end"),
            None => {}
        }
    }

    fn flush(&mut self) {
        if let Some(Poll::Ready(Err(error))) = self.ours.poll_flush(&mut context()) {
            self.fail(&error);
        }
    }

    /// Not before nonsense comes: rustls asserts, where debug assertions are on, that it says nothing
    /// behind its goodbye, and says of nonsense that it is some.
    fn shut(&mut self) {
        if self.is_bent && !self.is_shut {
            return;
        }
        match self.ours.poll_shutdown(&mut context()) {
            Some(Poll::Ready(Err(error))) => self.fail(&error),
            Some(_) => self.is_shut = true,
            None => {}
        }
    }

    /// One bit on the wire is another.
    fn bend(&mut self, place: usize) {
        let length = self.wire.len();
        if length > 0 && !self.is_shut {
            self.wire[place * 31 % length] ^= 1 << (place % 8);
            self.is_bent = true;
        }
    }

    /// The wire ends, in order or by a reset, and what it still held is gone.
    fn cut(&mut self, manner: usize) {
        self.is_bent |= !self.goodbye || !self.wire.is_empty();
        self.wire.clear();
        self.is_over = true;
        if manner & 1 == 0 {
            self.peer.end();
        } else {
            self.is_bent = true;
            self.peer.reset();
        }
        self.shake();
    }

    /// All that can go on goes on.
    fn round(&mut self) {
        self.other_seals();
        self.deliver(usize::MAX);
        if self.is_shut {
            self.shut();
        } else {
            self.flush();
        }
        self.listen(70_000);
        self.other_listens();
    }

    async fn settle(&mut self) {
        // What the other takes makes room in the next round.
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < ROUNDS, "it goes on for ever");
            let before = (
                self.down.heard,
                self.peer.moved(),
                self.other.is_handshaking(),
            );
            self.round();
            let after = (
                self.down.heard,
                self.peer.moved(),
                self.other.is_handshaking(),
            );
            let is_quiet = before == after && self.wire.is_empty();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet == 2 {
                break;
            }
        }
        // A peer whose handshake failed has so long to read why.
        tokio::time::advance(Duration::from_secs(2)).await;
        let begun = activity();
        self.round();
        assert!(activity() - begun < 1000, "it spins");
    }

    fn judge(mut self) {
        if self.is_bent {
            // Whoever is cut off does not wait for more.
            assert!(!self.is_over || self.last != Answer::Waits);
            return;
        }
        assert!(
            !self.other.is_handshaking(),
            "the handshake came to nothing"
        );
        assert_eq!(self.down.heard, self.down.said);
        assert_eq!(self.up.heard, self.up.said);
        assert_eq!(self.ours.unsent(), 0);
        assert_eq!(self.last == Answer::Ended, self.goodbye);
        assert_eq!(self.heard_goodbye, self.is_shut);
        if self.is_shut {
            assert_eq!(self.peer.left(), Left::Ended);
        }
        if self.room == usize::MAX {
            // Whoever is let go is told so too.
            self.ours = Secure::accept(Arc::clone(&SERVERS[0]), 0).0;
            self.other_listens();
            assert!(self.heard_goodbye, "it left without a word");
            assert_eq!(self.peer.left(), Left::Ended);
        }
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
