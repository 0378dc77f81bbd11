//! A gateway that is killed, stopped and started again while others go on speaking to it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::Request;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::frame::{Frame, PING, PONG, TEXT};
use tidegate_tests::time::eventually_does_within;
use tidegate_tests::wire::{End, Wire};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a node may take to be ready, broker and all.
pub(super) const LONG: Duration = Duration::from_secs(90);
/// How long somebody waits for an answer before it goes elsewhere. Who gives up too early is only told
/// less, and nothing is judged by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// A place for a gateway.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    scratch: Scratch,
    running: Mutex<Running>,
}

/// The gateway that is there now.
#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    is_stopped: bool,
    /// What those before it have said.
    said: String,
}

impl Node {
    pub(super) fn new(name: &str, yaml: &str) -> Self {
        let scratch = Scratch::new();
        let _file = scratch.write("tidegate.yaml", yaml);
        Self {
            name: name.to_owned(),
            scratch,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process, and waits until it is ready.
    pub(super) async fn start(&self, binary: &Path) {
        let mut command = Command::new(binary);
        command.args(["run", "--log-level", "info,tidegate_adapters=debug"]);
        command.args(["--log-format", "json", "--config"]);
        command.arg(self.scratch.path().join("tidegate.yaml"));
        let mut process = Process::start(&mut command);
        let public = process.address_of("public").await;
        let admin = process.address_of("admin").await;
        {
            let mut running = self.running();
            running.process = Some(process);
            running.addresses = Some((public, admin));
        }
        let what = format!("node {} is ready", self.name);
        eventually_does_within(LONG, &what, async || self.is_ready().await).await;
    }

    async fn is_ready(&self) -> bool {
        match self.ask(&Request::get("/readyz")).await {
            Ok((status, _)) => status == 200,
            Err(_unanswered) => false,
        }
    }

    /// Kills it.
    pub(super) async fn kill(&self) {
        self.signal("KILL");
        self.ends().await;
    }

    /// Has it drain, and waits for its end.
    pub(super) async fn drain(&self) {
        self.signal("TERM");
        self.ends().await;
    }

    async fn ends(&self) {
        let process = self.running().process.take();
        if let Some(mut process) = process {
            let (status, said) = process.ends_late().await;
            let mut running = self.running();
            running.addresses = None;
            running.is_stopped = false;
            running
                .said
                .push_str(&format!("{said}--- ended with {status}\n"));
        }
    }

    /// Stops it: its sockets stay, and nobody answers.
    pub(super) fn stop(&self) {
        self.signal("STOP");
        self.running().is_stopped = true;
    }

    pub(super) fn go_on(&self) {
        self.signal("CONT");
        self.running().is_stopped = false;
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &self.running().process {
            process.signal(name);
        }
    }

    /// Whether somebody who looks would find it.
    pub(super) fn is_up(&self) -> bool {
        let running = self.running();
        running.addresses.is_some() && running.process.is_some() && !running.is_stopped
    }

    /// All that it has said.
    pub(super) fn said(&self) -> String {
        let running = self.running();
        let now = running.process.as_ref().map(Process::output);
        running.said.clone() + &now.unwrap_or_default()
    }

    /// Asks the admin listener.
    pub(super) async fn ask(&self, request: &Request) -> Result<(u16, Vec<u8>), Unanswered> {
        let addresses = self.running().addresses;
        let (_, admin) = addresses.ok_or(Unanswered::Unsent)?;
        let stream = connect(admin).await.ok_or(Unanswered::Unsent)?;
        let mut wire = Wire::new(stream).patient(LONG);
        let request = request.clone().set("Host", &admin.to_string());
        let asking = async {
            wire.try_send(request.bytes())
                .await
                .map_err(|_| End::Reset)?;
            let head = wire.read_head_or_end().await?;
            let body = wire.read_body(&head).await.map_err(|(_, end)| end)?.0;
            Ok::<_, End>((head.status(), body))
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Unknown),
        }
    }

    /// What a GET is answered with.
    pub(super) async fn json(&self, target: &str) -> Option<Value> {
        let (status, body) = self.ask(&Request::get(target)).await.ok()?;
        let told = serde_json::from_slice(&body).ok()?;
        (status == 200).then_some(told)
    }

    /// Opens a WebSocket.
    pub(super) async fn open(&self, handshake: &Request) -> Option<Client> {
        let (public, _) = self.running().addresses?;
        let mut wire = Wire::new(connect(public).await?).patient(LONG);
        let shaking = async {
            wire.try_send(handshake.bytes()).await.ok()?;
            let head = wire.read_head_or_end().await.ok()?;
            (head.status() == 101).then_some(())
        };
        timeout(PATIENCE, shaking).await.ok()??;
        Some(Client(wire))
    }

    /// Waits until it is in the cluster again.
    pub(super) async fn is_connected(&self) -> bool {
        let ready = self.json("/readyz?verbose").await;
        ready.is_some_and(|ready| ready["degraded"] == false)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Nobody was there to be asked.
    Unsent,
    /// Nobody knows what became of it.
    Unknown,
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(address))
        .await
        .ok()?
        .ok()
}

/// One socket of a client of version 1.
#[derive(Debug)]
pub(super) struct Client(pub(super) Wire);

impl Client {
    /// The next envelope, or how the socket ends: the code, where one was said.
    pub(super) async fn receive(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let frame = self.0.read_frame_or_end().await.map_err(|_end| None)?;
            match frame.opcode {
                PING => {
                    let pong = Frame::new(PONG, &frame.payload).from_client();
                    self.0.try_send(pong.bytes()).await.map_err(|_gone| None)?;
                }
                TEXT => {
                    assert!(frame.fin, "{frame:?}");
                    return Ok(serde_json::from_slice(&frame.payload).unwrap());
                }
                _ => return Err(frame.close_code()),
            }
        }
    }

    /// Sends it, if the other side is there.
    pub(super) async fn send(&mut self, envelope: &Value) {
        let frame = Frame::text(&envelope.to_string()).from_client();
        self.0.try_send(frame.bytes()).await.ok();
    }
}
