//! Other gateways before the same recording upstream, and what each made of a row.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use super::recorder::{Recorder, Script};
use crate::TestGateway;
use crate::child::{Process, Scratch, spare_port};
use crate::wire::Wire;

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Ours.
    Tidegate,
    /// Debian's nginx.
    Nginx,
    /// Debian's HAProxy.
    Haproxy,
}

/// What a gateway made of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// So many whole requests reached the upstream; the status that the client got.
    Forwarded(usize, u16),
    /// No whole request reached the upstream; the status that the client got, 0 without one.
    Refused(u16),
}

impl Did {
    /// Whether a whole request reached the upstream.
    #[must_use]
    pub const fn is_forwarded(self) -> bool {
        matches!(self, Self::Forwarded(..))
    }
}

/// A running gateway, and the upstream behind it.
#[derive(Debug)]
pub struct Target {
    /// Which.
    pub peer: Peer,
    /// What it says its version is.
    pub version: String,
    upstream: Recorder,
    address: SocketAddr,
    _running: Running,
}

/// What ends with a target.
#[derive(Debug)]
#[expect(dead_code, reason = "held until the target is dropped")]
enum Running {
    Gateway(Box<TestGateway>),
    Process(Process, Scratch),
}

impl Target {
    /// Starts one with the least configuration that proxies everything, WebSockets too.
    pub async fn start(peer: Peer) -> Self {
        let upstream = Recorder::start().await;
        let to = upstream.address();
        let (version, address, running) = match peer {
            Peer::Tidegate => {
                let gateway = TestGateway::start_among(
                    &[("UP", to)],
                    "services: { up: { endpoints: ['http://UP'] } }\n\
                     routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n",
                );
                let version = "tidegate, this build".to_owned();
                (
                    version,
                    gateway.address(),
                    Running::Gateway(Box::new(gateway)),
                )
            }
            Peer::Nginx => {
                let (process, address, scratch) = nginx(to).await;
                let version = version("nginx", "-v");
                (version, address, Running::Process(process, scratch))
            }
            Peer::Haproxy => {
                let (process, address, scratch) = haproxy(to).await;
                let version = version("haproxy", "-v");
                (version, address, Running::Process(process, scratch))
            }
        };
        Self {
            peer,
            version,
            upstream,
            address,
            _running: running,
        }
    }

    /// Sends a row's bytes, and sees what reaches the upstream. A gateway that is silent for
    /// `patience` has said that it waits for more.
    pub async fn requests(&self, bytes: &[u8], patience: Duration) -> Did {
        let answer = self.ask(bytes, patience).await;
        let status = answer.map_or(0, |(status, _)| status);
        self.did(status).await
    }

    /// Sends `request`, which the upstream answers as the script says: whether the answer came to
    /// the client whole.
    pub async fn replies(&self, request: &[u8], script: Script, patience: Duration) -> Did {
        self.upstream.script(script);
        let answer = self.ask(request, patience).await;
        self.upstream.unscript();
        let _ = self.upstream.settled().await;
        match answer {
            // 502 is what a gateway says of an answer that it refuses; no row sends one itself.
            Some((status, true)) if status != 502 => Did::Forwarded(1, status),
            answer => Did::Refused(answer.map_or(0, |(status, _)| status)),
        }
    }

    async fn did(&self, status: u16) -> Did {
        let (_, seen) = self.upstream.settled().await;
        match seen.iter().filter(|one| one.whole).count() {
            0 => Did::Refused(status),
            count => Did::Forwarded(count, status),
        }
    }

    /// The status of the first answer, and whether it was whole.
    async fn ask(&self, bytes: &[u8], patience: Duration) -> Option<(u16, bool)> {
        let mut client = Wire::connect(self.address).await;
        // A gateway that hangs up at the first wrong byte does not take the rest.
        client.try_send(bytes).await.ok();
        let is_head = bytes.starts_with(b"HEAD ");
        let answer = timeout(patience, client.read_loosely(is_head)).await;
        answer.ok().flatten()
    }
}

async fn nginx(upstream: SocketAddr) -> (Process, SocketAddr, Scratch) {
    let scratch = Scratch::new();
    let root = scratch.path().display();
    let port = spare_port();
    let config = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; error_log /dev/null; pid {root}/pid;\n\
             events {{}}\n\
             http {{\n access_log off; large_client_header_buffers 8 128k; \
             proxy_buffer_size 128k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; \
             client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n \
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n \
             map $http_upgrade $wish {{ default upgrade; '' close; }}\n \
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream};\n \
             proxy_http_version 1.1; proxy_set_header Host $http_host;\n \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wish; }} }} }}\n"
        ),
    );
    let mut command = Command::new(program("nginx"));
    command.arg("-p").arg(scratch.path()).arg("-c").arg(config);
    let mut process = Process::start(&mut command);
    let address = process.listens().await;
    (process, address, scratch)
}

async fn haproxy(upstream: SocketAddr) -> (Process, SocketAddr, Scratch) {
    let scratch = Scratch::new();
    let port = spare_port();
    let config = scratch.write(
        "haproxy.cfg",
        &format!(
            "global\n tune.bufsize 131072\n tune.http.maxhdr 200\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n \
             timeout http-request 10s\n\
             frontend front\n bind 127.0.0.1:{port}\n default_backend back\n\
             backend back\n server up {upstream}\n"
        ),
    );
    let mut command = Command::new(program("haproxy"));
    command.arg("-db").arg("-f").arg(config);
    let mut process = Process::start(&mut command);
    let address = process.listens().await;
    (process, address, scratch)
}

/// Debian keeps daemons where a user's PATH does not look.
fn program(name: &str) -> std::path::PathBuf {
    let daemon = Path::new("/usr/sbin").join(name);
    if daemon.is_file() {
        daemon
    } else {
        name.into()
    }
}

fn version(name: &str, option: &str) -> String {
    let output = Command::new(program(name)).arg(option).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or_default().to_owned()
}
