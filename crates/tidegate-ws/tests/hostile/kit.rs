//! A server on a loopback socket, and a client that may send anything.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tidegate_ws::codec::Role;
use tidegate_ws::deflate::{self, Agreed};
use tidegate_ws::frame::{FrameHeader, MAX_HEADER, OpCode, apply_mask};
use tidegate_ws::{BoxError, Ending, Opening, SessionConfig, WebSocketSession, run};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Only a thing that never comes is missed, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the server does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    Echo,
    /// It never receives.
    Silent,
}

impl Handler {
    async fn handle(self, mut session: WebSocketSession) -> Result<(), BoxError> {
        if matches!(self, Self::Silent) {
            pending::<()>().await;
        }
        while let Some(message) = session.receive().await {
            session.send(message?).await?;
        }
        Ok(())
    }
}

/// What a client is let loose on.
pub(crate) struct Attack {
    pub(crate) handler: Handler,
    pub(crate) config: SessionConfig,
    pub(crate) agreed: Option<Agreed>,
}

impl Attack {
    pub(crate) fn on(handler: Handler) -> Self {
        let mut config = SessionConfig::default();
        config.handler_grace = Duration::from_secs(1);
        Self {
            handler,
            config,
            agreed: None,
        }
    }

    /// A session, and the client's end of it.
    pub(crate) async fn begin(self) -> (Peer, JoinHandle<Ending>) {
        let Self {
            handler,
            mut config,
            agreed,
        } = self;
        config.deflate = agreed.map(|_| deflate::Config::default());
        let mut opening = Opening::new(Role::Server);
        opening.deflate = agreed;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let io = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        let handle = move |session| handler.handle(session);
        let running = tokio::spawn(run(accepted, opening, Arc::new(config), handle));
        (Peer { io: io.unwrap() }, running)
    }

    /// Lets `client` loose; how the session ended, and what the client says.
    pub(crate) fn run<T>(self, client: impl AsyncFnOnce(Peer) -> T) -> (Ending, T) {
        runtime().block_on(async {
            let (peer, running) = self.begin().await;
            let said = timeout(DEADLINE, client(peer)).await.unwrap();
            let ending = timeout(DEADLINE, running).await.unwrap();
            (ending.unwrap(), said)
        })
    }
}

/// The client.
pub(crate) struct Peer {
    pub(crate) io: TcpStream,
}

impl Peer {
    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(OpCode, Vec<u8>)> {
        let mut bytes = Vec::new();
        let header = loop {
            if let Some((header, _)) = FrameHeader::parse(&bytes).unwrap() {
                break header;
            }
            bytes.push(self.io.read_u8().await.ok()?);
        };
        let mut payload = vec![0; usize::try_from(header.length).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        Some((header.opcode, payload))
    }

    /// Reads to the close frame: its code.
    pub(crate) async fn closes(&mut self) -> Option<u16> {
        loop {
            if let (OpCode::Close, payload) = self.next().await? {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
    }
}

/// A frame of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    opcode: OpCode,
    payload: &'a [u8],
    fin: bool,
    reserved: u8,
}

impl<'a> Frame<'a> {
    pub(crate) const fn new(opcode: OpCode, payload: &'a [u8]) -> Self {
        Self {
            opcode,
            payload,
            fin: true,
            reserved: 0,
        }
    }

    /// The same with further ones behind it.
    pub(crate) const fn open(mut self) -> Self {
        self.fin = false;
        self
    }

    pub(crate) const fn compressed(mut self) -> Self {
        self.reserved = 0b100;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64);
        let from = bytes.len();
        bytes.extend_from_slice(self.payload);
        apply_mask(&mut bytes[from..], MASK, 0);
        bytes
    }

    /// Its header alone, with another length.
    pub(crate) fn header(&self, length: u64) -> Vec<u8> {
        let mut start = [0; MAX_HEADER];
        let header = FrameHeader {
            fin: self.fin,
            reserved: self.reserved,
            opcode: self.opcode,
            mask: Some(MASK),
            length,
        };
        let size = header.write(&mut start);
        start[..size].to_vec()
    }

    /// One behind the other.
    pub(crate) fn all(frames: &[Self]) -> Vec<u8> {
        frames.iter().flat_map(Self::bytes).collect()
    }
}
