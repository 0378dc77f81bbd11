//! Several gateways with Kafka and Redis are one to their users: pushes go by the one, and what nodes ask
//! each other by the other.

mod each_push_is_told_once;
mod guide;
mod missed_pushes_come_again;
mod nodes_come_and_die;
mod one_of_both_may_be_away;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::admin::Admin;
use tidegate_tests::backing::{Guard, Kafka, Party, Redis, Registry, Watch, kafka};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::frame::CLOSE;
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::DEADLINE;
use tidegate_tests::wire::{Answer, Wire};
use tidegate_tests::{Mint, Request, Token, eventually_does, tools};

use super::bridge::Client;

/// What the nodes of one case share: a Redis of their own, topics of their own at brokers, a registry, and
/// who signs tokens.
struct Setting {
    binary: PathBuf,
    mint: Mint,
    brokers: String,
    registry: String,
    redis: Redis,
    topics: [String; 4],
    party: PartyOf,
    /// How long a node that is not heard of is still taken to be there.
    lease: &'static str,
    /// How long the brokers have to take an event.
    publish: &'static str,
}

/// Somebody else at the brokers, of all cases or of this one.
enum PartyOf {
    All(&'static Party),
    One(Party),
}

impl std::ops::Deref for PartyOf {
    type Target = Party;

    fn deref(&self) -> &Party {
        match self {
            Self::All(party) => party,
            Self::One(party) => party,
        }
    }
}

impl Setting {
    /// At the brokers that all cases share, with pushes in so many partitions. `None`, said aloud: something
    /// is missing.
    async fn new(test: &str, partitions: u32) -> Option<Self> {
        let party = PartyOf::All(Party::shared(test).await?);
        let brokers = Kafka::shared(test).await?.brokers();
        Self::with(test, brokers, party, partitions).await
    }

    /// At a broker that the case may stop.
    async fn at(test: &str, kafka: &Kafka) -> Option<Self> {
        let registry = Registry::shared(test).await?;
        let party = PartyOf::One(Party::open(test, kafka, Some(registry))?);
        Self::with(test, kafka.brokers(), party, 1).await
    }

    async fn with(test: &str, brokers: String, party: PartyOf, partitions: u32) -> Option<Self> {
        tools::tidegate_with(test, "kafka")?;
        let setting = Self {
            binary: tools::tidegate_with(test, "redis")?,
            mint: Mint::open(test)?,
            brokers,
            registry: Registry::shared(test).await?.url(),
            redis: Redis::guarded(test, Guard::default(), 1).await?,
            topics: ["push", "connect", "disconnect", "sessions"].map(kafka::topic),
            party,
            lease: "30s",
            publish: "15s",
        };
        // Those of sessions and users have one, so that it can be seen what comes after what.
        for (topic, partitions) in setting.topics.iter().zip([partitions, 1, 1, 1]) {
            setting.party.create(topic, partitions).await;
        }
        Some(setting)
    }

    fn yaml(&self, name: &str, redis: SocketAddr) -> String {
        let Self {
            brokers,
            registry,
            lease,
            publish,
            topics: [push, connect, disconnect, sessions],
            ..
        } = self;
        format!(
            "version: 1\n\
             workers: 1\n\
             listeners: {{ name: public, bind: 127.0.0.1:0 }}\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             access_log: none\n\
             auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
             bus:\n  \
               node: {name}\n  \
               topics: {{ push: {push}, user_connect: {connect}, user_disconnect: {disconnect}, \
                 sessions: {sessions} }}\n  \
               kafka: {{ brokers: ['{brokers}'], schema_registry: {{ url: '{registry}' }}, \
                 publish_timeout: {publish} }}\n\
             cluster: {{ redis: {{ url: 'redis://{redis}', lease: {lease}, timeout: 2s }} }}\n\
             services: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}\n\
             routes:\n\
             - name: bridge\n  \
               match: {{ path: /ws }}\n  \
               filters: require\n  \
               bridge:\n    \
                 services: up\n    \
                 resume: {{ ttl: 30s, key: '{SECRET}' }}\n    \
                 rooms: [{{ match: 'chat:*', subscribe: all }}]\n    \
                 ping_interval: none\n    \
                 websocket: {{ keep_alive: none }}\n"
        )
    }

    /// A node that is ready, and in the cluster.
    async fn node(&self, name: &str) -> Node {
        self.node_at(name, self.redis.node().address()).await
    }

    /// The same, with Redis there.
    async fn node_at(&self, name: &str, redis: SocketAddr) -> Node {
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.yaml", &self.yaml(name, redis));
        let mut command = Command::new(&self.binary);
        command
            .args(["run", "--log-format", "json", "--config"])
            .arg(file);
        let mut process = Process::start(&mut command);
        let node = Node {
            address: process.address_of("public").await,
            admin: Admin(process.address_of("admin").await),
            process,
            _scratch: scratch,
        };
        node.is("ok").await;
        node
    }

    /// Two that know of each other.
    async fn two(&self) -> [Node; 2] {
        let (a, b) = tokio::join!(self.node("a"), self.node("b"));
        for node in [&a, &b] {
            node.sees(2).await;
        }
        [a, b]
    }

    fn token(&self, user: &str) -> String {
        self.mint.sign(&Token::secret().claim("sub", user))
    }

    /// A session of a user on a node, and its `welcome`.
    async fn session(&self, node: &Node, user: &str) -> (Client, Value) {
        self.session_by(node, &self.token(user)).await
    }

    async fn session_by(&self, node: &Node, token: &str) -> (Client, Value) {
        let mut wire = Wire::connect(node.address).await;
        wire.request(&handshake(token)).await;
        let head = wire.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        let mut client = Client(wire);
        let welcome = client.receive().await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        (client, welcome)
    }

    /// A session of a client that comes back with a cursor, and what it is told of that.
    async fn resumed(&self, node: &Node, user: &str, cursor: &Value) -> (Client, Value) {
        let (mut client, _) = self.session(node, user).await;
        let hello = json!({"op": "hello", "v": 1, "resume": {"cursor": cursor}});
        let welcome = client.ask(&hello).await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        (client, welcome["resume"].clone())
    }

    /// A push as the old gateway's publishers write it, whose record has this id, if any.
    async fn record(&self, user: &str, uri: &str, id: Option<&str>) {
        let value = json!({"username": user, "baseUrl": "http://h", "uri": uri, "body": "1"});
        let headers = id.map_or(json!({}), |id| json!({"tidegate-id": id}));
        let request = json!({"topic": self.topics[0], "record": "WebSocketEvent", "key": user,
            "value": value, "headers": headers});
        // Of two who register one schema at the same moment the registry may refuse both.
        while let Err(error) = self.party.tries("publish", request.clone()).await {
            assert!(error.contains("409"), "{error}");
        }
    }

    /// What is told of sessions, and of users who have gone, from now on.
    async fn told(&self) -> (Watch, Watch) {
        let [_, _, disconnect, sessions] = &self.topics;
        let sessions = self.party.watch_end(sessions).await;
        (sessions, self.party.watch_end(disconnect).await)
    }
}

fn handshake(token: &str) -> Request {
    let bearer = format!("Bearer {token}");
    let handshake = Request::handshake("/ws").with("Authorization", &bearer);
    handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json")
}

/// A process with a gateway in it.
struct Node {
    process: Process,
    address: SocketAddr,
    admin: Admin,
    _scratch: Scratch,
}

impl Node {
    /// Waits until it is ready, and its cluster is as `status` says.
    async fn is(&self, status: &str) {
        let begun = std::time::Instant::now();
        loop {
            let told = self.admin.get("/readyz?verbose").await.text();
            let ready: Value = serde_json::from_str(&told).unwrap_or_default();
            let checks = ready["checks"].as_array().into_iter().flatten();
            let mut cluster = checks.filter(|check| check["name"] == "cluster");
            let is_so = cluster.any(|check| check["status"] == status);
            if ready["status"] == "ok" && is_so {
                return;
            }
            let said = || self.process.output();
            assert!(
                begun.elapsed() < 2 * DEADLINE,
                "not {status}: {told}\n{}",
                said()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it sees so many nodes, itself among them.
    async fn sees(&self, nodes: u8) {
        self.admin
            .counts("tidegate_cluster_nodes", nodes.into())
            .await;
    }

    /// Waits until so many users are online on all nodes.
    async fn counts(&self, users: u64) {
        eventually_does("the users of all nodes are counted", async || {
            let told = self.admin.get("/v1/users?scope=cluster").await.text();
            let counted: Value = serde_json::from_str(&told).unwrap_or_default();
            counted["users_online"] == users
        })
        .await;
    }

    async fn ask(&self, method: &str, target: &str, body: &Value) -> Answer {
        self.ask_by(method, target, None, body).await
    }

    /// The same, which is done once for its key.
    async fn ask_by(&self, method: &str, target: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::new(method, target).set("Host", &self.admin.0.to_string());
        if let Some(key) = key {
            request = request.with("Idempotency-Key", key);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        self.admin.ask(&request).await
    }

    /// What is answered where it is done.
    async fn done(&self, method: &str, target: &str, body: &Value) -> Value {
        let answer = self.ask(method, target, body).await;
        assert!(answer.status() / 100 == 2, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn push(&self, body: &Value) -> Value {
        self.done("POST", "/v1/push", body).await
    }
}

/// Becomes a member of a room.
async fn join(client: &mut Client, room: &str) {
    let answer = client
        .ask(&json!({"op": "sub", "id": 9, "room": room}))
        .await;
    assert_eq!(answer["status"], 200, "{answer}");
}

/// The names of the pushes that come until `last` has.
async fn told_until(client: &mut Client, last: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    while told.last().is_none_or(|name| name != last) {
        let push = client.receive().await;
        assert_eq!(push["op"], "push", "{push}");
        told.push(push["event"].as_str().unwrap().to_owned());
    }
    told
}

/// Waits until it is closed, and with what code.
async fn closed(client: &mut Client) -> Option<u16> {
    loop {
        let frame = client.0.read_frame().await;
        if frame.opcode == CLOSE {
            let code = frame.payload.first_chunk::<2>();
            return code.map(|code| u16::from_be_bytes(*code));
        }
    }
}
