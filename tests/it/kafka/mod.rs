//! Events over Kafka: gateways as processes of their own, real brokers, and Python's Avro on the other side.

mod bad_records_are_passed_over;
mod brokers_know_who_we_are;
mod brokers_may_be_away;
mod builds_without_it_say_so;
mod copies_are_told_in_order;
mod every_node_hears_everything;
mod formats_are_chosen;
mod many_are_told_by_one_push;
mod missed_pushes_come_again;
mod old_records_are_read_and_written;
mod one_topic_stops_no_other;
mod registries_know_who_we_are;
mod registries_may_be_away;
mod settings_that_cannot_work_are_found;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::admin::Admin;
use tidegate_tests::backing::{Kafka, Party, Registry, kafka};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::within;
use tidegate_tests::wire::{Answer, Wire};
use tidegate_tests::{Mint, Request, Token, tools};

use super::bridge::Client;

/// What gateways of one case share: topics of their own at brokers, a registry, and who signs tokens.
struct Setting {
    binary: PathBuf,
    mint: Mint,
    brokers: String,
    /// The registry's URL.
    registry: String,
    topics: Topics,
    party: PartyOf,
}

/// Somebody else's Avro, shared with other cases or of this one.
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

/// The names of topics.
struct Topics {
    push: String,
    connect: String,
    disconnect: String,
    sessions: String,
    dead: String,
}

impl Topics {
    fn new() -> Self {
        Self {
            push: kafka::topic("push"),
            connect: kafka::topic("connect"),
            disconnect: kafka::topic("disconnect"),
            sessions: kafka::topic("sessions"),
            dead: kafka::topic("dead"),
        }
    }

    fn all(&self) -> [&str; 5] {
        [
            &self.push,
            &self.connect,
            &self.disconnect,
            &self.sessions,
            &self.dead,
        ]
    }
}

impl Setting {
    /// At the brokers that all cases share. `None`, said aloud: something is missing.
    async fn shared(test: &str) -> Option<Self> {
        let party = PartyOf::All(Party::shared(test).await?);
        let kafka = Kafka::shared(test).await?;
        let registry = Registry::shared(test).await?;
        Self::with(test, kafka.brokers(), registry.url(), party).await
    }

    /// At a broker of this case, through its first door, which the case may stop or cut.
    async fn at(test: &str, kafka: &Kafka) -> Option<Self> {
        let registry = Registry::shared(test).await?;
        let party = PartyOf::One(Party::open(test, kafka, Some(registry))?);
        let door = kafka.door(0).address().to_string();
        Self::with(test, door, registry.url(), party).await
    }

    async fn with(test: &str, brokers: String, registry: String, party: PartyOf) -> Option<Self> {
        let setting = Self {
            binary: tools::tidegate_with(test, "kafka")?,
            mint: Mint::open(test)?,
            brokers,
            registry,
            topics: Topics::new(),
            party,
        };
        for topic in setting.topics.all() {
            setting.party.create(topic, 3).await;
        }
        Some(setting)
    }

    /// The configuration of a node, with more keys of `bus.kafka`.
    fn yaml(&self, name: &str, more: &str) -> String {
        let Self {
            brokers,
            registry,
            topics,
            ..
        } = self;
        self.yaml_of(
            name,
            &format!(
                "{{ brokers: ['{brokers}'], schema_registry: {{ url: '{registry}' }}, \
                 dead_letter_topic: {}, topic_refresh: 200ms, {more} }}",
                topics.dead
            ),
        )
    }

    /// The same with all keys of `bus.kafka`.
    fn yaml_of(&self, name: &str, kafka: &str) -> String {
        let Topics {
            push,
            connect,
            disconnect,
            sessions,
            ..
        } = &self.topics;
        format!(
            "version: 1\n\
             workers: 1\n\
             listeners: {{ name: public, bind: 127.0.0.1:0 }}\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             access_log: none\n\
             drain: {{ delay: none, spread: none, timeout: 2s }}\n\
             auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
             bus:\n  \
               node: {name}\n  \
               topics: {{ push: {push}, user_connect: {connect}, user_disconnect: {disconnect}, \
                 sessions: {sessions} }}\n  \
               kafka: {kafka}\n\
             services: {{ up: {{ endpoints: ['http://127.0.0.1:1'] }} }}\n\
             routes:\n\
             - name: users\n  \
               match: {{ path: /ws }}\n  \
               filters: require\n  \
               bridge: {{ services: up, ping_interval: none, websocket: {{ keep_alive: none }}, resume: {{ ttl: 30s, key: '{SECRET}' }} }}\n"
        )
    }

    /// A gateway that is ready.
    async fn node(&self, name: &str) -> Node {
        self.node_with(name, "").await
    }

    async fn node_with(&self, name: &str, more: &str) -> Node {
        let node = Node::start(&self.binary, &self.yaml(name, more)).await;
        node.is_ready().await;
        node
    }

    /// A push as the predecessor's publishers write it: the key is nobody's.
    async fn publish(&self, user: &str, uri: &str, body: &str) -> (i32, i64) {
        let key = format!("{:032x}", fastrand::u128(..));
        self.publish_keyed(&key, user, uri, body).await
    }

    async fn publish_keyed(&self, key: &str, user: &str, uri: &str, body: &str) -> (i32, i64) {
        let value =
            json!({"username": user, "baseUrl": "http://accounts", "uri": uri, "body": body});
        let topic = &self.topics.push;
        let request =
            json!({"topic": topic, "record": "WebSocketEvent", "key": key, "value": value});
        self.publish_record(&request).await
    }

    /// Publishes a record. Two who register one schema at the same moment may both be refused by the
    /// registry, of whom Python's says so.
    async fn publish_record(&self, request: &Value) -> (i32, i64) {
        loop {
            match self.party.tries("publish", request.clone()).await {
                Ok(place) => {
                    let number = |name: &str| place[name].as_i64().unwrap();
                    return (number("partition").try_into().unwrap(), number("offset"));
                }
                Err(error) => assert!(error.contains("409"), "{error}"),
            }
        }
    }

    fn token(&self, user: &str) -> String {
        let token = Token::secret().claim("sub", user);
        let token = token.claim("roles", json!(["ROLE_A", "ROLE_B"]));
        self.mint.sign(&token)
    }

    fn handshake(&self, user: &str) -> Request {
        let bearer = format!("Bearer {}", self.token(user));
        Request::handshake("/ws").with("Authorization", &bearer)
    }

    /// A session of the old protocol.
    async fn old(&self, node: &Node, user: &str) -> Client {
        node.open(&self.handshake(user)).await
    }

    /// One of version 1, and its `welcome`.
    async fn new_session(&self, node: &Node, user: &str) -> (Client, Value) {
        let handshake = self.handshake(user);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = node.open(&handshake).await;
        let welcome = client.receive().await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        (client, welcome)
    }
}

/// A push was left for so many sessions. A machine that is busy may take longer to find out than the answer
/// waits, and then nothing is said of it.
fn is_matched(told: &Value, count: u64) {
    if !told["matched"].is_null() {
        assert_eq!(told["matched"], count, "{told}");
    }
}

/// A gateway.
struct Node {
    process: Process,
    address: SocketAddr,
    admin: Admin,
    _scratch: Scratch,
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway said:\n{}", self.process.output());
        }
    }
}

impl Node {
    async fn start(binary: &PathBuf, yaml: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.yaml", yaml);
        let mut command = Command::new(binary);
        command.args([
            "run",
            "--log-level",
            "info,tidegate_adapters=debug",
            "--config",
        ]);
        let mut process = Process::start(command.arg(file));
        let address = process.address_of("public").await;
        let admin = Admin(process.address_of("admin").await);
        Self {
            process,
            address,
            admin,
            _scratch: scratch,
        }
    }

    /// Waits until it says that it is ready.
    async fn is_ready(&self) {
        within("the node is ready", async {
            while self.admin.get("/readyz").await.status() != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    async fn open(&self, handshake: &Request) -> Client {
        let mut wire = Wire::connect(self.address).await;
        wire.request(handshake).await;
        let head = wire.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        Client(wire)
    }

    /// What is answered to a push.
    async fn post(&self, target: &str, body: &Value) -> Answer {
        let host = self.admin.0.to_string();
        let request = Request::new("POST", target).set("Host", &host);
        self.admin.ask(&request.body(body.to_string())).await
    }

    /// What became of a push.
    async fn push(&self, target: &str, body: &Value) -> Value {
        let answer = self.post(target, body).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// Waits until it has logged this.
    async fn says(&self, words: &str) {
        let what = format!("it is said: {words}");
        tidegate_tests::time::eventually(&what, || self.process.output().contains(words)).await;
    }
}
