//! `tidegate sessions` with an admin listener that speaks TLS, and asks for certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::DnType;
use tidegate_tests::certificates::Authority;
use tidegate_tests::child::Process;
use tidegate_tests::{ScriptedUpstream, TestGateway, eventually, tools};

use super::Kit;

/// A gateway whose admin listener shows a certificate for `localhost` alone.
struct Scene {
    binary: PathBuf,
    kit: Kit,
    gateway: TestGateway,
    upstream: ScriptedUpstream,
}

impl Scene {
    async fn set(test: &str, more: impl Fn(&Kit) -> String) -> Option<Self> {
        let binary = tools::tidegate(test)?;
        let mut kit = Kit::new();
        kit.issued = kit.authority.server(&["localhost"]);
        kit.server = kit.issued.write(&kit.folder, "server");
        let upstream = kit.upstream().await;
        let yaml = Self::yaml(&kit, &upstream, "127.0.0.1:0", &more(&kit));
        let gateway = TestGateway::from_file(&yaml);
        let at = gateway.admin().0.to_string();
        let yaml = Self::yaml(&kit, &upstream, &at, &more(&kit));
        let _file = kit.folder.write("tidegate.yaml", &yaml);
        Some(Self {
            binary,
            kit,
            gateway,
            upstream,
        })
    }

    fn yaml(kit: &Kit, upstream: &ScriptedUpstream, at: &str, more: &str) -> String {
        let endpoint = format!("https://localhost:{}", upstream.address().port());
        let yaml = kit.yaml("", &endpoint, &kit.trusts());
        let certificates = kit.server.yaml();
        let tls = format!("tls: {{ certificates: {certificates}, {more} }}");
        format!("{yaml}admin: {{ bind: '{at}', {tls} }}\n")
    }

    /// Where no configuration lies about.
    async fn elsewhere(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.run_in(Path::new("/"), arguments).await
    }

    async fn run_in(&self, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(&self.binary);
        command.arg("sessions").args(arguments).current_dir(folder);
        // Nobody is believed who is not named.
        command
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/nowhere");
        let (status, said) = Process::start(&mut command).ends().await;
        (status.code(), said)
    }

    fn path(&self, name: &str) -> String {
        self.kit.folder.path().join(name).display().to_string()
    }

    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.gateway.admin().0.port())
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended_over_it() {
    let test = "sessions_are_listed_and_ended_over_it";
    let Some(mut scene) = Scene::set(test, |_kit| String::new()).await else {
        return;
    };
    let (mut client, _peer) = scene.kit.open(&scene.gateway, &mut scene.upstream).await;
    let (ca, localhost, address) = (
        scene.path("ca.pem"),
        scene.at("localhost"),
        scene.at("127.0.0.1"),
    );
    let by_name = ["--admin", &localhost, "--ca", &ca];
    let by_address = [
        "--admin",
        &address,
        "--ca",
        &ca,
        "--server-name",
        "localhost",
    ];
    let config = scene.path("tidegate.yaml");
    let mut id = String::new();
    for place in [&by_name[..], &by_address, &["--config", &config]] {
        let (code, listed) = scene.elsewhere(&[&["ls", "--json"], place].concat()).await;
        assert_eq!(code, Some(0), "{place:?}: {listed}");
        let session: serde_json::Value = serde_json::from_str(&listed).unwrap();
        id = session["id"].as_str().unwrap().to_owned();
    }
    // The configuration beside it is found, and says that it speaks TLS and with which certificate.
    let (code, said) = scene.run_in(scene.kit.folder.path(), &["ls"]).await;
    assert_eq!((code, said.lines().count()), (Some(0), 2), "{said}");
    let (code, said) = scene
        .elsewhere(&[&["kill", &id], &by_name[..]].concat())
        .await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(client.read_close().await, Some(1008));
    drop(client);
    eventually("it is gone", || scene.gateway.sessions() == 0).await;
}

#[tokio::test]
async fn certificates_are_shown_where_they_are_asked_for() {
    let asking = |kit: &Kit| {
        let ca = kit.ca.display();
        format!("client_certificates: {{ mode: required, ca: '{ca}' }}")
    };
    let test = "certificates_are_shown_where_they_are_asked_for";
    let Some(scene) = Scene::set(test, asking).await else {
        return;
    };
    let subject = [(DnType::CommonName, "operator")];
    let files = |authority: &Authority, name| {
        let files = authority
            .client(&subject, &[])
            .write(&scene.kit.folder, name);
        [files.cert, files.key].map(|path| path.display().to_string())
    };
    let [cert, key] = files(&scene.kit.authority, "operator");
    let [strange_cert, strange_key] = files(&Authority::new("nobody"), "stranger");
    let config = scene.path("tidegate.yaml");
    let by_config = ["ls", "--config", &config];
    let shown = [&by_config[..], &["--cert", &cert, "--key", &key]].concat();
    let (code, said) = scene.elsewhere(&shown).await;
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    let (code, said) = scene.elsewhere(&by_config).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--cert and --key"), "{said}");
    let strange = ["--cert", &strange_cert, "--key", &strange_key];
    let (code, said) = scene.elsewhere(&[&by_config[..], &strange].concat()).await;
    assert_eq!(code, Some(1), "{said}");
    let crossed = ["--cert", &cert, "--key", &strange_key];
    let (code, said) = scene.elsewhere(&[&by_config[..], &crossed].concat()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{cert} cannot be shown")), "{said}");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let test = "nobody_else_is_believed";
    let Some(scene) = Scene::set(test, |_kit| String::new()).await else {
        return;
    };
    let stranger = Authority::new("nobody");
    let strange = scene.kit.folder.write("strange.pem", stranger.pem());
    let strange = strange.display().to_string();
    let (ca, config) = (scene.path("ca.pem"), scene.path("tidegate.yaml"));
    let no_pem = scene.path("server.key");
    let (localhost, address) = (scene.at("localhost"), scene.at("127.0.0.1"));
    for (arguments, complaint) in [
        (&["--admin", &localhost][..], "ask it with --tls"),
        (&["--admin", &localhost, "--tls"], "with --ca"),
        (&["--admin", &localhost, "--ca", &strange], "with --ca"),
        // Authorities that are named hold even where the configuration knows the certificate.
        (&["--config", &config, "--ca", &strange], "with --ca"),
        (&["--admin", &address, "--ca", &ca], "with --server-name"),
        (
            &["--admin", &localhost, "--ca", &no_pem],
            "no certificate in",
        ),
        (&["--admin", &localhost, "--ca", "/nowhere"], "/nowhere"),
    ] {
        let (code, said) = scene.elsewhere(&[&["ls"], arguments].concat()).await;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
    }
    // Nor is TLS spoken of where there is none.
    let mirror = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(
        &mirror,
        "admin: { bind: 127.0.0.1:0 }\nservices: { up: { endpoints: ['http://UP'] } }\n\
         routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n",
    );
    let at = gateway.admin().0.to_string();
    let (code, said) = scene.elsewhere(&["ls", "--admin", &at, "--ca", &ca]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("speaks no TLS"), "{said}");
    // What another shows is not what the configuration names.
    let other = stranger
        .server(&["localhost"])
        .write(&scene.kit.folder, "other");
    let yaml = std::fs::read_to_string(&config).unwrap();
    let yaml = yaml.replace(&scene.kit.server.yaml(), &other.yaml());
    let swapped = scene.kit.folder.write("swapped.yaml", &yaml);
    let swapped = swapped.display().to_string();
    let (code, said) = scene.elsewhere(&["ls", "--config", &swapped]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("with --ca"), "{said}");
}
