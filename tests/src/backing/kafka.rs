//! A Kafka broker, alone and its own controller.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;

use super::daemon::{Daemon, insist};
use super::{Place, Proxy};
use crate::certificates::Authority;
use crate::child::spare_port;
use crate::tools;

/// Who may log in by SASL.
pub const USER: &str = "alice";
/// Their password.
pub const PASSWORD: &str = "alice-secret";

/// A broker. It is spoken to in the clear, by SASL, by TLS and by both, each at a port of its own, and
/// through doors: proxies of its own, behind which it names the door as its address, so that nobody who
/// came through one gets past it.
#[derive(Debug)]
pub struct Kafka {
    daemon: Daemon,
    plain: u16,
    sasl: u16,
    tls: u16,
    sasl_tls: u16,
    doors: Vec<Proxy>,
    place: Place,
}

/// A listener: its name, protocol, port, and the port by which others find it.
type Listener = (String, &'static str, u16, u16);

impl Kafka {
    /// The broker of all cases that do it no harm; each uses topics of its own (see [`topic`]). `None`,
    /// said aloud, where there is none.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        let folder = tools::kafka(test)?;
        Some(SHARED.get_or_init(|| Self::launch(folder, 0)).await)
    }

    /// One for this case, with so many doors; `None`, said aloud, where there is none.
    pub async fn start(test: &str, doors: usize) -> Option<Self> {
        let folder = tools::kafka(test)?;
        Some(Self::launch(folder, doors).await)
    }

    async fn launch(folder: PathBuf, doors: usize) -> Self {
        insist(async || {
            let kafka = Self::begin(&folder, doors);
            kafka.is_ready().await.map(|()| kafka)
        })
        .await
    }

    fn begin(folder: &Path, doors: usize) -> Self {
        let place = Place::new("kafka");
        let data = place.join("data");
        std::fs::create_dir(&data).unwrap();
        for entry in folder.join("blank").read_dir().unwrap() {
            let file = entry.unwrap();
            std::fs::copy(file.path(), data.join(file.file_name())).unwrap();
        }
        let [plain, sasl, tls, sasl_tls] = [(); 4].map(|()| spare_port());
        let mut listeners: Vec<Listener> = vec![
            ("PLAIN".into(), "PLAINTEXT", plain, plain),
            ("SASL".into(), "SASL_PLAINTEXT", sasl, sasl),
            ("TLS".into(), "SSL", tls, tls),
            ("SASLTLS".into(), "SASL_SSL", sasl_tls, sasl_tls),
        ];
        let mut proxies = Vec::new();
        for number in 0..doors {
            let port = spare_port();
            let proxy = Proxy::to_kafka(([127, 0, 0, 1], port).into());
            listeners.push((format!("DOOR{number}"), "PLAINTEXT", port, proxy.port()));
            proxies.push(proxy);
        }
        certify(&place);
        let settings = place.join("broker.properties");
        std::fs::write(&settings, properties(&place, &data, &listeners)).unwrap();
        let home = folder.to_owned();
        let daemon = Daemon::start("kafka", place.path(), move || {
            let log = tools::script("kafka/log4j2.xml");
            let mut command = small_java(&home);
            command.arg(format!("-Dlog4j2.configurationFile={}", log.display()));
            command.arg("-cp").arg(home.join("lib/*"));
            command.arg("kafka.Kafka").arg(&settings);
            command
        });
        Self {
            daemon,
            plain,
            sasl,
            tls,
            sasl_tls,
            doors: proxies,
            place,
        }
    }

    async fn is_ready(&self) -> Result<(), String> {
        let has_started = async || self.daemon.has_said("Kafka Server started");
        self.daemon.ready(has_started).await
    }

    /// Where it is spoken to in the clear, as a configuration names it.
    #[must_use]
    pub fn brokers(&self) -> String {
        at(self.plain)
    }

    /// The same for SASL in the clear: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 of [`USER`].
    #[must_use]
    pub fn sasl(&self) -> String {
        at(self.sasl)
    }

    /// The same for TLS; [`Self::authority`] has signed its certificate for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn tls(&self) -> String {
        at(self.tls)
    }

    /// The same for SASL over TLS.
    #[must_use]
    pub fn sasl_tls(&self) -> String {
        at(self.sasl_tls)
    }

    /// A file with the certificate that its own is believed by.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.place.join("authority.pem")
    }

    /// A door of it.
    ///
    /// # Panics
    /// When it was started with fewer.
    #[must_use]
    pub fn door(&self, number: usize) -> &Proxy {
        &self.doors[number]
    }

    /// The process: to end, kill, pause and resume.
    #[must_use]
    pub const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Takes from the end of each partition of a topic all but the first records, as when a broker that has not
    /// got the others becomes its leader. It must not be running; each record was published by itself.
    pub fn truncate(&self, topic: &str, keeps: usize) {
        for folder in self.place.join("data").read_dir().unwrap() {
            let folder = folder.unwrap();
            let name = folder.file_name();
            let is_its = name
                .to_string_lossy()
                .rsplit_once('-')
                .map(|one| one.0 == topic);
            if is_its == Some(true) {
                truncate(&folder.path(), keeps);
            }
        }
    }

    /// Starts it again, after it has ended, at the same ports and with the same data.
    pub async fn start_again(&self) {
        self.daemon.launch();
        self.is_ready()
            .await
            .unwrap_or_else(|words| panic!("{words}"));
    }
}

/// Leaves the first batches of a partition's only segment.
fn truncate(partition: &Path, keeps: usize) {
    for file in partition.read_dir().unwrap() {
        let path = file.unwrap().path();
        match path.extension().and_then(|name| name.to_str()) {
            // They are made again.
            Some("index" | "timeindex" | "snapshot") => std::fs::remove_file(&path).unwrap(),
            Some("log") => {
                let log = std::fs::read(&path).unwrap();
                let mut rest = &log[..];
                for _ in 0..keeps {
                    let Some(length) = rest.get(8..12) else { break };
                    let length = u32::from_be_bytes(length.try_into().unwrap());
                    rest = &rest[12 + length as usize..];
                }
                std::fs::write(&path, &log[..log.len() - rest.len()]).unwrap();
            }
            _ => {}
        }
    }
}

/// A name for a topic that nobody else has.
#[must_use]
pub fn topic(name: &str) -> String {
    format!("{name}-{:x}", fastrand::u64(..))
}

fn at(port: u16) -> String {
    SocketAddr::from(([127, 0, 0, 1], port)).to_string()
}

/// A certificate, as Kafka wants it: key and chain in one file.
fn certify(place: &Place) {
    let authority = Authority::new("the brokers' authority");
    let issued = authority.server(&["localhost", "127.0.0.1"]);
    std::fs::write(place.join("authority.pem"), authority.pem()).unwrap();
    let both = format!("{}{}", issued.key, issued.cert);
    std::fs::write(place.join("server.pem"), both).unwrap();
}

fn properties(place: &Place, data: &Path, listeners: &[Listener]) -> String {
    const LOGIN: &str = "org.apache.kafka.common.security";
    let controller = spare_port();
    let each = |show: &dyn Fn(&Listener) -> String| {
        let shown: Vec<String> = listeners.iter().map(show).collect();
        shown.join(",")
    };
    let mut text = std::fs::read_to_string(tools::script("kafka/broker.properties")).unwrap();
    let mut set = |name: &str, value: &str| writeln!(text, "{name}={value}").unwrap();
    set("log.dirs", &data.display().to_string());
    set(
        "controller.quorum.voters",
        &format!("1@127.0.0.1:{controller}"),
    );
    let bound = each(&|(name, _, port, _)| format!("{name}://127.0.0.1:{port}"));
    set(
        "listeners",
        &format!("{bound},CONTROLLER://127.0.0.1:{controller}"),
    );
    let named = each(&|(name, _, _, port)| format!("{name}://127.0.0.1:{port}"));
    set("advertised.listeners", &named);
    let protocols = each(&|(name, protocol, _, _)| format!("{name}:{protocol}"));
    set(
        "listener.security.protocol.map",
        &format!("{protocols},CONTROLLER:PLAINTEXT"),
    );
    set("ssl.keystore.type", "PEM");
    let keys = place.join("server.pem");
    set("ssl.keystore.location", &keys.display().to_string());
    for listener in ["sasl", "sasltls"] {
        let before = format!("listener.name.{listener}");
        set(
            &format!("{before}.plain.sasl.jaas.config"),
            &format!("{LOGIN}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
        );
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            set(
                &format!("{before}.{mechanism}.sasl.jaas.config"),
                &format!("{LOGIN}.scram.ScramLoginModule required;"),
            );
        }
    }
    text
}

/// A JVM that starts fast and stays small, for what is installed in `home`: the classes that it loads
/// first are at hand there.
pub(super) fn small_java(home: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    let classes = home.join("classes.jsa");
    command.arg(format!("-XX:SharedArchiveFile={}", classes.display()));
    command
}
