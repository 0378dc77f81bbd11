//! A browser: headless Chromium loads a page by https, which opens WebSockets by wss, with a client's
//! certificate too.

use std::process::{Command, Stdio};

use rcgen::DnType;
use tidegate_tests::browser::{Browser, PATIENCE};
use tidegate_tests::child::Scratch;
use tidegate_tests::frame::Frame;
use tidegate_tests::upstream::echo;
use tidegate_tests::wire::switching;
use tidegate_tests::{ScriptedUpstream, TestGateway, Wire, tools};
use tokio::sync::mpsc;

use super::Kit;

const PAGE: &str = include_str!("../../tools/browser-page.html");

/// What the page told, and for whom the gateway took the browser.
type Told = (String, Option<String>);

/// What stands behind the gateway: the page, and whatever it asks for.
async fn upstream() -> (ScriptedUpstream, mpsc::UnboundedReceiver<Told>) {
    let (tell, told) = mpsc::unbounded_channel();
    let upstream = ScriptedUpstream::serve(move |mut wire| {
        let tell = tell.clone();
        async move {
            let Ok(head) = wire.read_head_or_end().await else {
                return;
            };
            match head.target() {
                "/echo" => {
                    let lines = ["Sec-WebSocket-Protocol: two"];
                    wire.send(switching(&head, &lines)).await;
                    echo(wire).await;
                }
                "/close" => {
                    wire.send(switching(&head, &[])).await;
                    wire.send_frame(&Frame::close(4002, "from above")).await;
                    wire.read_close().await;
                }
                "/refuse" => answer(&mut wire, "401 Unauthorized", "").await,
                "/" => answer(&mut wire, "200 OK", PAGE).await,
                "/mirror" | "/told" => {
                    let Ok((body, ..)) = wire.read_body(&head).await else {
                        return;
                    };
                    let body = String::from_utf8(body).unwrap();
                    answer(&mut wire, "200 OK", &body).await;
                    if head.target() == "/told" {
                        let subject = head.field("X-Client-Cert-Subject");
                        tell.send((body, subject.map(str::to_owned))).ok();
                    }
                }
                _ => answer(&mut wire, "404 Not Found", "").await,
            }
        }
    })
    .await;
    (upstream, told)
}

async fn answer(wire: &mut Wire, status: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    // Whoever has gone has no need of it.
    wire.try_send(head + body).await.ok();
}

/// A home for a browser that believes the kit's authority; `None` where its tools are missing.
struct Home<'a> {
    kit: &'a Kit,
    folder: Scratch,
}

impl<'a> Home<'a> {
    fn new(test: &str, kit: &'a Kit) -> Option<Self> {
        for program in ["chromium", "certutil", "pk12util", "openssl"] {
            tools::program(test, program)?;
        }
        let folder = Scratch::new();
        let home = Self { kit, folder };
        std::fs::create_dir_all(home.store()).unwrap();
        home.certutil(&["-N", "--empty-password"]);
        let ca = kit.ca.display().to_string();
        home.certutil(&["-A", "-n", "authority", "-t", "C,,", "-i", &ca]);
        Some(home)
    }

    fn store(&self) -> String {
        self.folder.path().join(".pki/nssdb").display().to_string()
    }

    fn certutil(&self, arguments: &[&str]) {
        let mut command = Command::new("certutil");
        run(command
            .arg("-d")
            .arg(format!("sql:{}", self.store()))
            .args(arguments));
    }

    /// Gives it a certificate to show at `origin`, without asking its user.
    fn put_certificate(&self, origin: &str) {
        let subject = [(DnType::CommonName, "a browser")];
        let client = self.kit.authority.client(&subject, &[]);
        let files = client.write(&self.folder, "client");
        let packed = self.folder.path().join("client.p12");
        let mut command = Command::new("openssl");
        command.args(["pkcs12", "-export", "-passout", "pass:x", "-in"]);
        run(command
            .arg(&files.cert)
            .arg("-inkey")
            .arg(&files.key)
            .arg("-out")
            .arg(&packed));
        let mut command = Command::new("pk12util");
        command.args(["-W", "x", "-K", "", "-d", &format!("sql:{}", self.store())]);
        run(command.arg("-i").arg(&packed));
        let setting = serde_json::json!({ "setting": { "filters": [{}] } });
        let exceptions =
            serde_json::json!({ "auto_select_certificate": { (format!("{origin},*")): setting } });
        let preferences =
            serde_json::json!({ "profile": { "content_settings": { "exceptions": exceptions } } });
        let profile = self.folder.path().join("profile/Default");
        std::fs::create_dir_all(&profile).unwrap();
        std::fs::write(profile.join("Preferences"), preferences.to_string()).unwrap();
    }

    fn browse(&self, url: &str) -> Browser {
        Browser::open(self.folder.path(), url)
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

async fn gateway(kit: &Kit, upstream: &ScriptedUpstream, tls: &str) -> (TestGateway, String) {
    let endpoint = format!("http://{}", upstream.address());
    let gateway = TestGateway::from_file(&kit.yaml(tls, &endpoint, ""));
    let origin = format!("https://localhost:{}", gateway.address().port());
    (gateway, origin)
}

/// Waits for what the page tells.
async fn hear(browser: &Browser, told: &mut mpsc::UnboundedReceiver<Told>) -> Told {
    match tokio::time::timeout(PATIENCE, told.recv()).await {
        Ok(told) => told.unwrap(),
        Err(_elapsed) => panic!("the page told nothing; the browser: {}", browser.output()),
    }
}

#[tokio::test]
async fn a_page_opens_sockets() {
    let kit = Kit::new();
    let Some(home) = Home::new("tls::browsers::a_page_opens_sockets", &kit) else {
        return;
    };
    let (upstream, mut told) = upstream().await;
    let (gateway, origin) = gateway(&kit, &upstream, "").await;
    let browser = home.browse(&format!("{origin}/"));
    assert_eq!(hear(&browser, &mut told).await, ("ok".to_owned(), None));
    drop(browser);
    gateway.is_empty().await;
}

#[tokio::test]
async fn a_page_shows_a_certificate() {
    let kit = Kit::new();
    let Some(home) = Home::new("tls::browsers::a_page_shows_a_certificate", &kit) else {
        return;
    };
    let (upstream, mut told) = upstream().await;
    let ca = kit.ca.display();
    let asking = format!("client_certificates: {{ mode: required, ca: '{ca}', forward: true }}");
    let (gateway, origin) = gateway(&kit, &upstream, &asking).await;
    home.put_certificate(&origin);
    let browser = home.browse(&format!("{origin}/"));
    let subject = Some("CN=a browser".to_owned());
    assert_eq!(hear(&browser, &mut told).await, ("ok".to_owned(), subject));
    drop(browser);
    gateway.is_empty().await;
}
