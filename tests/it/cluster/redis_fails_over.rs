//! Redis may be a master under Sentinels, or a cluster, may want TLS and passwords, and may lose its
//! master: two processes with gateways go on as one.

use tidegate_tests::backing::{Guard, Redis, RedisCluster, RedisSentinel};

use super::{Client, Gate, House, is_refused};

const GUARDED: Guard = Guard {
    password: Some("sesame"),
    tls: true,
};

/// Two nodes, and a session on each.
struct Two {
    a: Gate,
    b: Gate,
    here: Client,
    there: Client,
}

impl Two {
    async fn start(house: &mut House, redis: &str) -> Self {
        let (a, b) = (house.node("a", redis).await, house.node("b", redis).await);
        let (here, _) = house.enter(&a, "u1").await;
        let (there, _) = house.enter(&b, "u2").await;
        Self { a, b, here, there }
    }

    /// Presence, pushes and revocations are those of both.
    async fn are_one(&mut self, house: &mut House, revoked: &[&str]) {
        for gate in [&self.a, &self.b] {
            gate.is_connected().await;
            gate.sees(2, 2, 2).await;
            gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
        }
        let reached = [
            (&self.a, "u2", &mut self.there),
            (&self.b, "u1", &mut self.here),
        ];
        for (gate, user, client) in reached {
            let target = format!("/v1/users/{user}/push");
            let told = gate.done("POST", &target, r#"{"event":"x"}"#).await;
            super::reached(&told, "matched", 1);
            assert_eq!(client.event().await["event"], "x");
        }
        let (last, before) = revoked.split_last().unwrap();
        self.a.revoke(&house.token(last)).await;
        is_refused(&self.b, &house.token(last)).await;
        for user in before {
            is_refused(&self.a, &house.token(user)).await;
            is_refused(&self.b, &house.token(user)).await;
        }
    }

    async fn are_on_their_own(&self) {
        for gate in [&self.a, &self.b] {
            gate.says_of_cluster("degraded").await;
        }
    }
}

/// Addresses as a list of YAML.
fn urls(guard: Guard, addresses: impl Iterator<Item = std::net::SocketAddr>) -> String {
    let urls = addresses.map(|one| format!("'{}://{one}'", guard.scheme()));
    format!("[{}]", urls.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn sentinels_name_another_master() {
    let test = "sentinels_name_another_master";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = RedisSentinel::start(test, GUARDED).await else {
        return;
    };
    let [master, replica] = redis.nodes() else {
        panic!("two nodes");
    };
    let urls = urls(GUARDED, redis.sentinels().iter().map(|one| one.address()));
    let settings = format!(
        "url: {urls}, mode: {{ sentinel: {{ master: {}, password: sesame }} }}, password: sesame, \
         timeout: 5s, tls: {{ ca: '{}' }}",
        redis.name(),
        master.authority().display()
    );
    let mut two = Two::start(&mut house, &settings).await;
    two.are_one(&mut house, &["t1"]).await;
    master.daemon().kill().await;
    two.are_on_their_own().await;
    redis.has_master(replica).await;
    two.are_one(&mut house, &["t1", "t2"]).await;
}

#[tokio::test]
async fn a_cluster_loses_a_master_and_has_it_again() {
    let test = "a_cluster_loses_a_master";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = RedisCluster::start(test, GUARDED).await else {
        return;
    };
    let urls = urls(GUARDED, redis.doors().iter().map(|one| one.address()));
    let settings = format!(
        "url: {urls}, mode: cluster, password: sesame, timeout: 5s, tls: {{ ca: '{}' }}",
        redis.nodes()[0].authority().display()
    );
    let mut two = Two::start(&mut house, &settings).await;
    two.are_one(&mut house, &["t1"]).await;
    // The first one too, by which all messages go.
    for (number, last) in [(2, "t2"), (0, "t3")] {
        let node = &redis.nodes()[number];
        node.daemon().kill().await;
        two.are_on_their_own().await;
        node.start_again().await;
        two.are_one(&mut house, &["t1", last]).await;
    }
}

#[tokio::test]
async fn who_is_let_in_by_name_is_let_in() {
    let test = "who_is_let_in_by_name";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::guarded(test, GUARDED, 0).await else {
        return;
    };
    let node = redis.node();
    let rule = [
        "ACL",
        "SETUSER",
        "gateway",
        "on",
        ">hunter22",
        "~tide:*",
        "&tide:*",
        "+@all",
    ];
    node.ask(&rule).await;
    house.prefix = "tide".to_owned();
    let settings = format!(
        "url: 'rediss://{}', username: gateway, password: hunter22, tls: {{ ca: '{}' }}",
        node.address(),
        node.authority().display()
    );
    let mut two = Two::start(&mut house, &settings).await;
    two.are_one(&mut house, &["t1"]).await;
}

#[tokio::test]
async fn who_shows_a_certificate_is_let_in() {
    let test = "who_shows_a_certificate";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::guarded(test, GUARDED, 0).await else {
        return;
    };
    let node = redis.node();
    let authority = node.authority();
    let file = |name| authority.with_file_name(name).display().to_string();
    let settings = |certificate: &str| {
        format!(
            "url: 'rediss://{}', password: {}, tls: {{ ca: '{}'{certificate} }}",
            node.address(),
            GUARDED.password.unwrap(),
            authority.display()
        )
    };
    let stranger = house.node("stranger", &settings("")).await;
    let mut connection = node.connect().await.unwrap();
    for words in [
        &["CONFIG", "SET", "tls-auth-clients", "yes"][..],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
    ] {
        connection.ask(words).await.unwrap();
    }
    stranger.says_of_cluster("degraded").await;
    let certificate = format!(
        ", certificate: {{ cert: '{}', key: '{}' }}",
        file("server.pem"),
        file("server.key")
    );
    let mut two = Two::start(&mut house, &settings(&certificate)).await;
    two.are_one(&mut house, &["t1"]).await;
    stranger.says_of_cluster("degraded").await;
}
