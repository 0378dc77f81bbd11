//! A registry of schemas (Apicurio's), spoken to by Confluent's API.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::daemon::{Daemon, insist};
use super::kafka::small_java;
use super::{Gate, Place, Proxy};
use crate::child::spare_port;
use crate::{Request, Wire, tools};

/// The registry.
#[derive(Debug)]
pub struct Registry {
    daemon: Daemon,
    door: Proxy,
    port: u16,
    _place: Place,
}

impl Registry {
    /// The registry of all cases that do it no harm; they share its subjects. `None`, said aloud, where
    /// there is none.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceCell<Registry> = OnceCell::const_new();
        let folder = tools::registry(test)?;
        Some(SHARED.get_or_init(|| Self::launch(folder)).await)
    }

    /// One for this case; `None`, said aloud, where there is none.
    pub async fn start(test: &str) -> Option<Self> {
        let folder = tools::registry(test)?;
        Some(Self::launch(folder).await)
    }

    async fn launch(folder: PathBuf) -> Self {
        insist(async || {
            let registry = Self::begin(&folder);
            registry.is_ready().await.map(|()| registry)
        })
        .await
    }

    fn begin(folder: &Path) -> Self {
        let (place, port) = (Place::new("registry"), spare_port());
        let entries = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut jars = entries.filter(|file| file.extension().is_some_and(|end| end == "jar"));
        let (jar, data) = (jars.next().unwrap(), place.join("schemas"));
        let home = folder.to_owned();
        let daemon = Daemon::start("registry", place.path(), move || {
            let mut command = small_java(&home);
            command.arg("-Dquarkus.http.host=127.0.0.1");
            command.arg(format!("-Dquarkus.http.port={port}"));
            command.arg("-jar").arg(&jar);
            let data = format!("jdbc:h2:file:{}", data.display());
            command.env("REGISTRY_DATASOURCE_URL", data);
            command
        });
        Self {
            daemon,
            door: Proxy::to(([127, 0, 0, 1], port).into()),
            port,
            _place: place,
        }
    }

    async fn is_ready(&self) -> Result<(), String> {
        let listens = async || self.daemon.has_said("Listening on:");
        self.daemon.ready(listens).await
    }

    /// Its URL, as a configuration names it.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// What it answers to a GET of this path (`/subjects`).
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub async fn get(&self, path: &str) -> Value {
        let path = format!("/apis/ccompat/v7{path}");
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let answer = Wire::new(socket).ask(&Request::get(&path)).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Registers a schema as it is written, and gives its number.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub async fn register(&self, subject: &str, schema: &str) -> u32 {
        let path = format!("/apis/ccompat/v7/subjects/{subject}/versions");
        let body = json!({ "schema": schema }).to_string();
        let request = Request::new("POST", &path).with("Content-Type", "application/json");
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let answer = Wire::new(socket).ask(&request.body(body)).await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        let id = said["id"].as_u64();
        id.and_then(|id| u32::try_from(id).ok())
            .unwrap_or_else(|| panic!("{subject}: {said}"))
    }

    /// The same as [`Self::url`], through its door.
    #[must_use]
    pub fn url_of_door(&self) -> String {
        url(self.door.port())
    }

    /// A gate of its own before it, for a user with a password; and its URL through that.
    #[must_use]
    pub fn gate(&self, user: &str, password: &str) -> (Gate, String) {
        let gate = Gate::to(([127, 0, 0, 1], self.port).into(), user, password);
        let url = url(gate.address().port());
        (gate, url)
    }

    /// Its door.
    #[must_use]
    pub const fn door(&self) -> &Proxy {
        &self.door
    }

    /// The process: to end, kill, pause and resume.
    #[must_use]
    pub const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Starts it again, after it has ended, at the same port and with the same schemas.
    pub async fn start_again(&self) {
        self.daemon.launch();
        self.is_ready()
            .await
            .unwrap_or_else(|words| panic!("{words}"));
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/apis/ccompat/v7")
}
