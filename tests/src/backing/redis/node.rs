//! One process of Redis, whatever its part is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;

use super::super::resp::{Connection, Reply};
use super::super::{Daemon, Place};
use crate::certificates::Authority;
use crate::child::spare_port;
use crate::time::within;
use crate::tls;

/// Who is let in, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guard {
    /// What `AUTH` must say.
    pub password: Option<&'static str>,
    /// Whether TLS is spoken, and nothing else.
    pub tls: bool,
}

/// A process of Redis.
#[derive(Debug)]
pub struct Node {
    daemon: Daemon,
    port: u16,
    guard: Guard,
    client: Option<Arc<ClientConfig>>,
    place: Place,
}

impl Node {
    /// Starts one with these settings besides its own: names and values, as a configuration has them.
    pub(super) fn start(
        program: &Path,
        name: &'static str,
        guard: Guard,
        settings: &[String],
    ) -> Self {
        Self::start_at(program, name, guard, spare_port(), settings)
    }

    /// The same at a port that others know already.
    pub(super) fn start_at(
        program: &Path,
        name: &'static str,
        guard: Guard,
        port: u16,
        settings: &[String],
    ) -> Self {
        let place = Place::new(name);
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", place.path().display()),
        ];
        if name != "sentinel" {
            // What it has answered it still has when it is killed.
            lines.extend(["save \"\"", "appendonly yes"].map(str::to_owned));
        }
        let client = guard.tls.then(|| certify(&place));
        lines.extend(guard.settings(&place, port));
        lines.extend(settings.iter().cloned());
        let file = place.join("redis.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let (program, is_sentinel) = (program.to_owned(), name == "sentinel");
        let daemon = Daemon::start(name, place.path(), move || {
            let mut command = Command::new(&program);
            command.arg(&file).args(is_sentinel.then_some("--sentinel"));
            command
        });
        Self {
            daemon,
            port,
            guard,
            client,
            place,
        }
    }

    pub(super) async fn is_ready(&self) -> Result<(), String> {
        let answers = async || match self.connect().await {
            Ok(mut connection) => {
                let pong = connection.ask(&["PING"]).await;
                pong.is_ok_and(|pong| pong.text() == "PONG")
            }
            Err(_) => false,
        };
        self.daemon.ready(answers).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The file with the certificate by which its own is believed, for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.place.join("authority.pem")
    }

    /// Connects, and says the password.
    ///
    /// # Errors
    /// It does not listen, or lets nobody in.
    pub async fn connect(&self) -> std::io::Result<Connection> {
        let mut connection = Connection::open(self.address(), self.client.as_ref()).await?;
        if let Some(password) = self.guard.password {
            let answer = connection.ask(&["AUTH", password]).await?;
            if let Reply::Error(words) = answer {
                return Err(std::io::Error::other(words));
            }
        }
        Ok(connection)
    }

    /// Asks it by a connection of its own.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ask(&self, words: &[&str]) -> Reply {
        within("Redis answers", async {
            self.connect().await?.ask(words).await
        })
        .await
        .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The process: to end, kill, pause and resume.
    #[must_use]
    pub const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Starts it again, after it has ended, at the same port and with the same data.
    pub async fn start_again(&self) {
        self.daemon.launch();
        self.is_ready()
            .await
            .unwrap_or_else(|words| panic!("{words}"));
    }
}

impl Guard {
    /// The scheme of its URLs.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }

    fn settings(self, place: &Place, port: u16) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(password) = self.password {
            lines.push(format!("requirepass {password}"));
        }
        if !self.tls {
            lines.push(format!("port {port}"));
            return lines;
        }
        let file = |name| place.join(name).display().to_string();
        lines.push("port 0".to_owned());
        lines.push(format!("tls-port {port}"));
        lines.push(format!("tls-cert-file {}", file("server.pem")));
        lines.push(format!("tls-key-file {}", file("server.key")));
        lines.push(format!("tls-ca-cert-file {}", file("authority.pem")));
        let fixed = [
            "tls-auth-clients no",
            "tls-replication yes",
            "tls-cluster yes",
        ];
        lines.extend(fixed.map(str::to_owned));
        lines
    }
}

/// Certificates of the one authority that all of Redis's processes here believe.
fn certify(place: &Place) -> Arc<ClientConfig> {
    static AUTHORITY: std::sync::LazyLock<Authority> =
        std::sync::LazyLock::new(|| Authority::new("Redis's authority"));
    let issued = AUTHORITY.peer(&["localhost", "127.0.0.1"]);
    let write = |name, text: &str| std::fs::write(place.join(name), text).unwrap();
    write("authority.pem", AUTHORITY.pem());
    write("server.pem", &issued.cert);
    write("server.key", &issued.key);
    tls::client(&AUTHORITY, None)
}
