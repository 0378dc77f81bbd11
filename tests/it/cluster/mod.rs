//! Several gateways that share a Redis are one to their users.

mod builds_without_it_say_so;
mod limits_hold_on_all_nodes;
mod nodes_come_and_go;
mod redis_comes_and_goes;
mod redis_fails_over;
mod the_count_is_the_truth;
mod tokens_are_taken_back_everywhere;
mod users_are_reached_everywhere;
mod what_is_said_holds;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::within;
use tidegate_tests::wire::{Answer, Wire};
use tidegate_tests::{Admin, Frame, Mint, Request, Token, tools};

/// The lease of nodes: longer than one that is merely busy is silent.
const LEASE: &str = "6s";
/// One where a case waits until it has lapsed.
const SHORT_LEASE: &str = "3s";
/// How long a machine that does much else may take until nodes that were parted are one again.
const LONG: Duration = Duration::from_secs(90);

/// Clients that nobody reads for minutes are not found silent.
const QUIET: &str = "ping_interval: none, websocket: { keep_alive: none }";

/// Who signs for users, and the binary.
struct House {
    mint: Mint,
    binary: PathBuf,
    tokens: HashMap<String, String>,
    prefix: String,
    /// What stands beside the secret in `auth.jwt` of its nodes.
    jwt: &'static str,
    lease: &'static str,
}

/// A process with a gateway in it.
struct Gate {
    process: Process,
    public: SocketAddr,
    admin: Admin,
    _scratch: Scratch,
}

impl House {
    /// `None`, said aloud: something is missing.
    fn open(test: &str) -> Option<Self> {
        Some(Self {
            binary: tools::tidegate_with(test, "redis")?,
            mint: Mint::open(test)?,
            tokens: HashMap::new(),
            prefix: format!("t{:x}", fastrand::u64(..)),
            jwt: "",
            lease: LEASE,
        })
    }

    /// A node of that name whose `cluster.redis` has these keys.
    async fn node(&self, name: &str, redis: &str) -> Gate {
        self.node_with(name, redis, "").await
    }

    /// The same, with this beside.
    async fn node_with(&self, name: &str, redis: &str, beside: &str) -> Gate {
        let Self {
            prefix, jwt, lease, ..
        } = self;
        let yaml = format!(
            "version: 1\nworkers: 1\n\
             listeners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             access_log: none\n\
             auth: {{ jwt: {{ secret: '{SECRET}', {jwt} }} }}\n\
             bus: {{ node: {name} }}\n\
             cluster: {{ redis: {{ lease: {lease}, prefix: {prefix}, {redis} }} }}\n\
             services: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}\n\
             routes:\n\
             - {{ name: bridge, match: {{ path: /ws }}, filters: require, bridge: {{ services: up, {QUIET} }} }}\n\
             - {{ name: open, match: {{ path: /open }}, bridge: {{ services: up, {QUIET} }} }}\n\
             {beside}\n"
        );
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.yaml", &yaml);
        let mut command = Command::new(&self.binary);
        command
            .args(["run", "--log-format", "json", "--config"])
            .arg(file);
        let mut process = Process::start(&mut command);
        let gate = Gate {
            public: process.address_of("public").await,
            admin: Admin(process.address_of("admin").await),
            process,
            _scratch: scratch,
        };
        gate.is_connected().await;
        gate
    }

    fn token(&mut self, user: &str) -> String {
        let mint = &self.mint;
        let token = self
            .tokens
            .entry(user.to_owned())
            .or_insert_with(|| mint.sign(&Token::secret().claim("sub", user)));
        token.clone()
    }

    /// A session of a user on a node, and its id.
    async fn enter(&mut self, gate: &Gate, user: &str) -> (Client, String) {
        let bearer = format!("Bearer {}", self.token(user));
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(gate, &handshake).await;
        let welcome = client.receive().await;
        assert_eq!(welcome["user"], user, "{welcome}");
        let session = welcome["session"].as_str().unwrap().to_owned();
        (client, session)
    }
}

/// Judges how many an answer counts, and says whether it is of all nodes: on a machine that does much else some
/// may not have answered in time, and what they did is not counted.
fn reached(told: &Value, count: &str, all: u64) -> bool {
    let nodes = &told["nodes"];
    let is_complete = nodes["answered"] == nodes["asked"];
    match is_complete {
        true => assert_eq!(told[count], all, "{told}"),
        false => assert!(told[count].as_u64().unwrap() < all, "{told}"),
    }
    is_complete
}

/// What a handshake with this token is answered with.
async fn opens(gate: &Gate, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let handshake = Request::handshake("/ws").with("Authorization", &bearer);
    let mut wire = Wire::connect(gate.public).await;
    wire.request(&handshake).await;
    wire.read_head().await.status()
}

/// Waits until this token opens nothing there.
async fn is_refused(gate: &Gate, token: &str) {
    tidegate_tests::eventually_does("it opens nothing", async || opens(gate, token).await == 401)
        .await;
}

impl Gate {
    /// Takes a token back.
    async fn revoke(&self, token: &str) {
        let body = serde_json::json!({ "token": token }).to_string();
        self.done("POST", "/v1/tokens/revoke", &body).await;
    }

    /// Waits until it has figures of the cluster with so many nodes, users and sessions; them.
    async fn sees(&self, nodes: usize, users: u64, sessions: u64) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let seen = self.json("/v1/presence").await;
            let count = seen["nodes"].as_array().unwrap().len();
            let figures = (&seen["users_online"], &seen["sessions"]);
            if count == nodes && figures == (&users.into(), &sessions.into()) {
                return seen;
            }
            assert!(
                begun.elapsed() < LONG,
                "not {nodes} nodes, {users} users and {sessions} sessions: {seen}\n{}",
                self.process.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it is in the cluster.
    async fn is_connected(&self) {
        self.says_of_cluster("ok").await;
    }

    /// Waits until its check of the cluster says so.
    async fn says_of_cluster(&self, status: &str) {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.admin.get("/readyz?verbose").await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let ready: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(ready["status"], "ok", "{ready}");
            let checks = ready["checks"].as_array().unwrap();
            let check = checks.iter().find(|one| one["name"] == "cluster").unwrap();
            assert_eq!(ready["degraded"], check["status"] == "degraded", "{ready}");
            if check["status"] == status {
                return;
            }
            assert!(
                begun.elapsed() < LONG,
                "not {status}: {ready}\n{}",
                self.process.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is told there, once Redis has answered in time: who asks waits for 250 ms at most.
    async fn json(&self, target: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.admin.get(target).await;
            if answer.status() == 200 {
                return serde_json::from_slice(&answer.body).unwrap();
            }
            let is_late = begun.elapsed() > LONG;
            assert!(
                answer.status() == 503 && !is_late,
                "{target}: {}",
                answer.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all that is open here was opened two seconds ago: so far apart nobody mistakes their order.
    async fn is_settled(&self) {
        tidegate_tests::eventually_does("sessions are older", async || {
            let all = self.json("/v1/sessions").await;
            let mut all = all["sessions"].as_array().unwrap().iter();
            all.all(|one| one["age_seconds"].as_u64().unwrap() >= 2)
        })
        .await;
    }

    /// Waits until so many users are online in the cluster, as this node says in all ways.
    async fn counts(&self, users: u64) {
        self.counts_in("/v1/users?scope=cluster", users).await;
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        self.admin
            .counts("tidegate_cluster_users_online", users as f64)
            .await;
    }

    async fn counts_in(&self, target: &str, users: u64) {
        let begun = std::time::Instant::now();
        loop {
            let told = self.admin.get(target).await.text();
            let counted: Value = serde_json::from_str(&told).unwrap_or_default();
            if counted["users_online"] == users {
                return;
            }
            assert!(
                begun.elapsed() < LONG,
                "not {users} users: {told}\n{}",
                self.process.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the cluster has so many sessions of a user.
    async fn counts_sessions(&self, user: &str, count: u64) {
        let begun = std::time::Instant::now();
        let target = format!("/v1/users/{user}?scope=cluster");
        loop {
            let told = self.admin.get(&target).await.text();
            let counted: Value = serde_json::from_str(&told).unwrap_or_default();
            if counted["session_count"] == count {
                return;
            }
            assert!(
                begun.elapsed() < LONG,
                "not {count} sessions: {told}\n{}",
                self.process.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let request = Request::new(method, target).set("Host", &self.admin.0.to_string());
        let request = match body {
            "" => request,
            body => request.body(body),
        };
        self.admin.ask(&request).await
    }

    /// What is answered where it is done.
    async fn done(&self, method: &str, target: &str, body: &str) -> Value {
        let answer = self.ask(method, target, body).await;
        assert!(answer.status() / 100 == 2, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The events of sessions and users from now on.
    async fn events(&self) -> Events {
        let mut wire = Wire::connect(self.admin.0).await;
        wire.request(&self.admin.request("/v1/events")).await;
        assert_eq!(wire.read_head().await.status(), 200);
        let text = String::new();
        Events { wire, text }
    }
}

/// A stream of events.
struct Events {
    wire: Wire,
    text: String,
}

impl Events {
    /// The next one. A stream without events has an empty line now and then, which is none.
    async fn next(&mut self) -> Value {
        within("an event", self.read()).await
    }

    async fn read(&mut self) -> Value {
        loop {
            while let Some(end) = self.text.find('\n') {
                let line: String = self.text.drain(..=end).collect();
                if !line.trim().is_empty() {
                    return serde_json::from_str(&line).unwrap();
                }
            }
            let chunk = self.wire.read_chunk().await.unwrap();
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
    }

    /// The next one of that type.
    async fn next_of(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let event = self.read().await;
                if event["type"] == kind {
                    return event;
                }
            }
        };
        within(&format!("an event {kind}"), found).await
    }
}

/// A client of the bridge.
struct Client(Wire);

impl Client {
    async fn open(gate: &Gate, handshake: &Request) -> Self {
        let mut wire = Wire::connect(gate.public).await;
        wire.request(handshake).await;
        let head = wire.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        Self(wire)
    }

    async fn receive(&mut self) -> Value {
        let frame = self.0.read_frame().await;
        serde_json::from_slice(&frame.payload).unwrap()
    }

    /// The next thing that it is told of; that its token ends soon is none.
    async fn event(&mut self) -> Value {
        loop {
            let told = self.receive().await;
            if told["event"].is_string() {
                return told;
            }
        }
    }

    async fn send(&mut self, envelope: &Value) {
        let frame = Frame::text(&envelope.to_string());
        self.0.send_frame(&frame.from_client()).await;
    }

    /// Waits until it is closed, and with what code; what was told before is not looked at.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            let frame = self.0.read_frame().await;
            if frame.opcode == tidegate_tests::frame::CLOSE {
                let code = frame.payload.first_chunk::<2>();
                return code.map(|code| u16::from_be_bytes(*code));
            }
        }
    }
}
