//! `tidegate dev --tls`: the commands that it prints work as they are pasted, and its files go with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{eventually, tools};

/// The demo, and where the authority's file is.
struct Demo {
    process: Process,
    authority: PathBuf,
    temporary: Scratch,
}

impl Demo {
    async fn start(test: &str, bind: &str) -> Option<Self> {
        let binary = tools::tidegate(test)?;
        let temporary = Scratch::new();
        let mut command = Command::new(binary);
        command.args(["dev", "--tls", "--bind", bind, "--admin", "127.0.0.1:0"]);
        let process = Process::start(command.env("TMPDIR", temporary.path()));
        eventually("it prints its commands", || {
            process.output().contains("Ctrl-C ends it.")
        })
        .await;
        let output = process.output();
        let mut lines = output.lines().map(str::trim);
        let authority = lines.find(|line| line.ends_with("ca.pem")).unwrap().into();
        Some(Self {
            process,
            authority,
            temporary,
        })
    }

    /// The command that it prints and that begins so.
    fn command(&self, beginning: &str) -> String {
        let output = self.process.output();
        let mut lines = output.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with(beginning));
        line.unwrap_or_else(|| panic!("no {beginning:?}: {output}"))
            .to_owned()
    }

    /// The assignment before the command with `wscat`, and its URL.
    fn wscat(&self) -> (String, String) {
        let line = self.command("NODE_EXTRA_CA_CERTS");
        let (authority, url) = line.split_once(" npx wscat -c ").unwrap();
        (authority.to_owned(), url.to_owned())
    }
}

/// What a shell makes of a line.
async fn paste(line: &str) -> String {
    let mut command = Command::new("sh");
    let (status, output) = Process::start(command.args(["-c", line])).ends().await;
    assert!(status.success(), "{line}: {output}");
    output
}

#[tokio::test]
async fn what_it_prints_can_be_pasted() {
    let test = "tls::what_it_prints_can_be_pasted";
    let Some(demo) = Demo::start(test, "127.0.0.1:0").await else {
        return;
    };
    if tools::program(test, "curl").is_some() {
        let said = paste(&demo.command("curl --cacert")).await;
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        let said = paste(&demo.command("curl http://")).await;
        assert!(said.contains("\"version\""), "{said}");
    }
    if tools::program(test, "openssl").is_some() {
        let said = paste(&demo.command("openssl s_client")).await;
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains("TLSv1.3"), "{said}");
    }
    if let Some(folder) = tools::node_tools(test) {
        // wscat wants a terminal; what it stands on does not.
        let (authority, url) = demo.wscat();
        let script = format!(
            "const s = new (require('ws'))('{url}'); s.on('open', () => s.send('a word')); \
             s.on('message', (m) => {{ console.log(String(m)); s.close() }})"
        );
        let modules = folder.join("node_modules").display().to_string();
        let said = paste(&format!(
            "{authority} NODE_PATH={modules} node -e \"{script}\""
        ))
        .await;
        assert!(said.contains("a word"), "{said}");
    }
}

#[tokio::test]
async fn its_files_are_its_own_and_go_with_it() {
    let test = "tls::its_files_are_its_own_and_go_with_it";
    for signal in ["INT", "TERM"] {
        let Some(mut demo) = Demo::start(test, "127.0.0.1:0").await else {
            return;
        };
        let folder = demo.authority.parent().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder), 0o700);
        assert_eq!(mode(&folder.join("key.pem")), 0o600);
        // The authority's own key is nowhere.
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ca.pem", "cert.pem", "key.pem"]);
        assert!(folder.starts_with(demo.temporary.path()));
        demo.process.signal(signal);
        let (status, output) = demo.process.ends().await;
        assert!(status.success(), "{signal}: {status}: {output}");
        assert!(!folder.exists(), "{signal}");
    }
}

/// A demo for the whole network has a certificate for this machine's own names at least.
#[tokio::test]
async fn on_every_address_it_is_found_on_loopback() {
    let test = "tls::on_every_address_it_is_found_on_loopback";
    let Some(demo) = Demo::start(test, "0.0.0.0:0").await else {
        return;
    };
    if tools::program(test, "curl").is_some() {
        let line = demo.command("curl --cacert");
        assert!(line.contains("https://localhost:"), "{line}");
        assert!(paste(&line).await.contains("HTTP/1.1 200 OK"));
    }
}
