//! What nodes of a schedule are told: their configuration, topics and users.

use tidegate_tests::mint::SECRET;
use tidegate_tests::{Mint, Request, Token};

/// The lease of nodes, in seconds.
pub(super) const LEASE: i64 = 4;

/// Topics of one schedule.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) push: String,
    pub(super) connect: String,
    pub(super) disconnect: String,
    pub(super) sessions: String,
    pub(super) dead: String,
}

impl Topics {
    pub(super) fn new(seed: u64) -> Self {
        let name = |what: &str| tidegate_tests::backing::kafka::topic(&format!("{what}-{seed:x}"));
        Self {
            push: name("push"),
            connect: name("connect"),
            disconnect: name("disconnect"),
            sessions: name("sessions"),
            dead: name("dead"),
        }
    }
}

/// A user's name.
pub(super) fn user(number: usize) -> String {
    format!("u{number}")
}

/// How a user asks for a WebSocket.
pub(super) fn handshake(mint: &Mint, number: usize) -> Request {
    let bearer = format!(
        "Bearer {}",
        mint.sign(&Token::secret().claim("sub", user(number)))
    );
    let handshake = Request::handshake("/ws").with("Authorization", &bearer);
    handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json")
}

/// The configuration of a node.
pub(super) fn yaml(
    name: &str,
    topics: &Topics,
    (brokers, redis, registry): (&str, &str, &str),
    seed: u64,
) -> String {
    let Topics {
        push,
        connect,
        disconnect,
        sessions,
        dead,
    } = topics;
    format!(
        "version: 1\n\
         workers: 1\n\
         listeners: {{ name: public, bind: 127.0.0.1:0 }}\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         access_log: none\n\
         drain: {{ delay: none, spread: 200ms, timeout: 5s }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         bus:\n  \
           node: {name}\n  \
           topics: {{ push: {push}, user_connect: {connect}, user_disconnect: {disconnect}, sessions: {sessions} }}\n  \
           kafka: {{ brokers: ['{brokers}'], schema_registry: {{ url: '{registry}' }}, dead_letter_topic: {dead}, \
             topic_refresh: 200ms, publish_timeout: 1s }}\n\
         cluster: {{ redis: {{ {redis}, lease: {LEASE}s, timeout: 1s, prefix: s{seed:x} }} }}\n\
         services: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}\n\
         routes:\n\
         - name: users\n  \
           match: {{ path: /ws }}\n  \
           filters: require\n  \
           bridge: {{ services: up, resume: {{ ttl: 30s, key: '{SECRET}' }} }}\n"
    )
}
