//! A wall clock that is set an hour ahead or back ends no session whose token is alive, and keeps none
//! whose token has ended: for a while only, as long as the clock is wrong.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::mint::{SECRET, from_now};
use tidegate_tests::{Admin, Mint, Request, ScriptedUpstream, Token, Wire, tools};

use super::{Client, bearing, ending, in_time, told, upstream, version_1};

const TEST: &str = "clocks_may_be_set";

/// A gateway whose wall clock can be set.
struct Clocked {
    _process: Process,
    address: SocketAddr,
    admin: Admin,
    _files: Scratch,
    clock: PathBuf,
}

impl Clocked {
    async fn start(upstream: &ScriptedUpstream) -> Option<Self> {
        let binary = tools::tidegate(TEST)?;
        let library = tools::faketime(TEST)?;
        let files = Scratch::new();
        let yaml = format!(
            "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             auth: {{ jwt: {{ secret: '{SECRET}', leeway: none }} }}\n\
             services: {{ up: {{ endpoints: [http://{}] }} }}\n\
             routes:\n\
             - {{ name: proxied, match: {{ path: /proxied }}, filters: [require], proxy: {{ service: up }} }}\n\
             - {{ name: bridged, match: {{ path: /bridged }}, filters: [require], bridge: {{ services: up }} }}\n\
             - {{ name: brief, match: {{ path: /brief }}, filters: [require], bridge: {{ services: up, resume: {{ ttl: 1s }} }} }}\n",
            upstream.address()
        );
        let file = files.write("tidegate.yaml", &yaml);
        let clock = files.write("clock", "+0\n");
        let mut process = Process::start(
            Command::new(binary)
                .arg("run")
                .arg("--config")
                .arg(file)
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &clock)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_NO_CACHE", "1"),
        );
        let address = process.address_of("public").await;
        let admin = Admin(process.address_of("admin").await);
        Some(Self {
            _process: process,
            address,
            admin,
            _files: files,
            clock,
        })
    }

    /// Sets its wall clock to so many seconds beside the right time, and waits until that shows:
    /// by what it says to a token.
    async fn set(&self, offset: i64, token: &str, status: u16) {
        // Whole at any time: it is read while it is written.
        let new = self.clock.with_extension("new");
        fs::write(&new, format!("{offset:+}\n")).unwrap();
        fs::rename(new, &self.clock).unwrap();
        tidegate_tests::time::eventually_does("the clock is set", async || {
            self.tried(token).await == status
        })
        .await;
    }

    async fn tried(&self, token: &str) -> u16 {
        let mut wire = Wire::connect(self.address).await;
        wire.request(&bearing("/proxied", token)).await;
        wire.read_head().await.status()
    }

    async fn open(&self, handshake: &Request) -> Option<Client> {
        Client::open_at(Wire::connect(self.address).await, handshake).await
    }
}

#[tokio::test]
async fn an_hour_ahead_drops_nobody() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let Some(gateway) = Clocked::start(&upstream).await else {
        return;
    };
    let live = mint.sign(&Token::secret());
    let mut proxied = gateway.open(&bearing("/proxied", &live)).await.unwrap();
    let mut bridged = gateway.open(&version_1(&live)).await.unwrap();
    assert_eq!(bridged.receive().await["op"], "welcome");
    let (end, mut ends) = in_time(async |lifetime| {
        let end = from_now(lifetime);
        let short = mint.sign(&Token::secret().claim("exp", end));
        Some((end, gateway.open(&bearing("/proxied", &short)).await?))
    })
    .await;
    gateway.set(3600, &live, 401).await;
    // It ends in its time, and not before.
    assert_eq!(ends.closed().await, told(1008, "token_expired"));
    assert!(from_now(0) >= end, "it was closed before its end");
    proxied.echoes().await;
    let call = json!({"id": 1, "baseUrl": "up", "uri": "/a"});
    assert_eq!(bridged.ask(&call).await["status"], 200);
    gateway.set(0, &live, 101).await;
    proxied.echoes().await;
    assert_eq!(bridged.ask(&call).await["status"], 200);
}

#[tokio::test]
async fn an_hour_back_keeps_nobody_for_ever() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let Some(gateway) = Clocked::start(&upstream).await else {
        return;
    };
    let live = mint.sign(&Token::secret());
    let past = ending(&mint, -1800);
    let mut lives = gateway.open(&bearing("/proxied", &live)).await.unwrap();
    let (end, mut ends) = in_time(async |lifetime| {
        let end = from_now(lifetime);
        let short = mint.sign(&Token::secret().claim("exp", end));
        let ends = gateway.open(&bearing("/proxied", &short)).await?;
        gateway.set(-3600, &past, 101).await;
        if from_now(0) < end {
            return Some((end, ends));
        }
        gateway.set(0, &past, 401).await;
        None
    })
    .await;
    // One that ends later, by the clock as it is.
    let mut witness = in_time(async |lifetime| {
        let end = end.max(from_now(lifetime)) + 1;
        let token = mint.sign(&Token::secret().claim("exp", end - 3600));
        gateway.open(&bearing("/proxied", &token)).await
    })
    .await;
    assert_eq!(witness.closed().await, told(1008, "token_expired"));
    // By that clock there is more, and it is not ended meanwhile.
    ends.echoes().await;
    lives.echoes().await;
    gateway.set(0, &past, 401).await;
    assert_eq!(ends.closed().await, told(1008, "token_expired"));
    lives.echoes().await;
}

impl Clocked {
    /// Pushes to `u42` under a key; whether that was done before.
    async fn push(&self, key: &str) -> bool {
        let request = Request::new("POST", "/v1/users/u42/push")
            .set("Host", &self.admin.0.to_string())
            .with("Idempotency-Key", key)
            .body(json!({"event": key}).to_string());
        let answer = self.admin.ask(&request).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        answer.head.field("Idempotent-Replayed").is_some()
    }

    /// Goes on in a new session at `handshake` with the one of this welcome.
    async fn back(&self, handshake: &Request, welcome: &Value) -> (Client, Value) {
        let mut client = self.open(handshake).await.unwrap();
        client.receive().await;
        let resume = json!({"session": welcome["session"], "seq": 0,
            "token": welcome["resume"]["token"]});
        let hello = json!({"op": "hello", "v": 1, "resume": resume});
        client.send(&hello).await;
        loop {
            let frame = client.receive().await;
            if frame["op"] == "welcome" {
                return (client, frame);
            }
        }
    }
}

/// Who is away is waited for as long as was said, and what was asked for once is known as long.
#[tokio::test]
async fn an_hour_either_way_forgets_nobody() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let Some(gateway) = Clocked::start(&upstream).await else {
        return;
    };
    // Both are alive at any of the times, and the second has ended an hour later.
    let long = mint.sign(&Token::secret().claim("exp", from_now(30_000)));
    let short = mint.sign(&Token::secret().claim("exp", from_now(1800)));
    let past = ending(&mint, -1800);
    let brief = bearing("/brief", &long).with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = gateway.open(&version_1(&long)).await.unwrap();
    let mut welcome = client.receive().await;
    let mut pushed = 0;
    for (offset, token, status) in [(3600, &short, 401), (-3600, &past, 101)] {
        client.wire.reset();
        gateway
            .admin
            .counts("tidegate_sessions_suspended", 1.0)
            .await;
        let key = format!("k{offset}");
        assert!(!gateway.push(&key).await);
        pushed += 1;
        gateway.set(offset, token, status).await;
        assert!(gateway.push(&key).await, "the key is forgotten");
        let told;
        (client, told) = gateway.back(&version_1(&long), &welcome).await;
        let resume = &told["resume"];
        assert_eq!(
            (&resume["continued"], &resume["recovered"]),
            (&json!(true), &json!(true)),
            "{offset}: {told}"
        );
        for seq in 1..=pushed {
            assert_eq!(client.receive().await["seq"], seq);
        }
        welcome = told;
        // Whose time is over is gone, whatever the clock says.
        let mut goes = gateway.open(&brief).await.unwrap();
        let of_gone = goes.receive().await;
        goes.wire.reset();
        gateway
            .admin
            .counts(
                "tidegate_ws_connections{route=\"brief\",kind=\"bridge\"}",
                0.0,
            )
            .await;
        gateway
            .admin
            .counts("tidegate_sessions_suspended", 0.0)
            .await;
        let (_here, told) = gateway.back(&brief, &of_gone).await;
        assert_eq!(told["resume"]["continued"], false, "{told}");
        gateway.set(0, &short, 101).await;
    }
}
