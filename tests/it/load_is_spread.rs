//! Endpoints get their share by their weights, as the policy says.

use std::collections::HashMap;

use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire};

/// A service of one upstream under several paths, each an endpoint with its weight.
fn service(balance: &str, weights: &[u32]) -> String {
    let endpoints: Vec<String> = weights
        .iter()
        .enumerate()
        .map(|(number, weight)| format!("{{ url: http://UP/{number}, weight: {weight} }}"))
        .collect();
    format!(
        "services: {{ up: {{ endpoints: [{}], {balance} }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        endpoints.join(", ")
    )
}

/// How often each endpoint was asked.
fn shares(upstream: &ScriptedUpstream) -> HashMap<char, usize> {
    let mut shares = HashMap::new();
    for head in upstream.take_heads() {
        let endpoint = head.target().chars().nth(1).unwrap();
        *shares.entry(endpoint).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("balance: round_robin", &[1, 1, 1]));
    let mut client = gateway.connect().await;
    for _ in 0..30 {
        client.ask(&Request::get("/")).await.seen();
    }
    let order: Vec<char> = upstream
        .heads()
        .iter()
        .map(|head| head.target().chars().nth(1).unwrap())
        .collect();
    for turn in order.windows(3) {
        let mut turn = turn.to_vec();
        turn.sort_unstable();
        assert_eq!(turn, ['0', '1', '2'], "{order:?}");
    }
}

#[tokio::test]
async fn round_robin_honours_weights() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("balance: round_robin", &[3, 1]));
    let mut client = gateway.connect().await;
    for _ in 0..40 {
        client.ask(&Request::get("/")).await.seen();
    }
    assert_eq!(shares(&upstream), HashMap::from([('0', 30), ('1', 10)]));
}

#[tokio::test]
async fn random_honours_weights() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("balance: random", &[3, 1]));
    let mut client = gateway.connect().await;
    for _ in 0..800 {
        client.ask(&Request::get("/")).await.seen();
    }
    let shares = shares(&upstream);
    // 600 and 200 are expected; 500 is more than eight standard deviations away.
    assert!((500..700).contains(&shares[&'0']), "{shares:?}");
    assert_eq!(shares[&'0'] + shares[&'1'], 800);
}

async fn open(gateway: &TestGateway, upstream: &ScriptedUpstream) -> (char, Wire) {
    drop(upstream.take_heads());
    let mut client = gateway.connect().await;
    client.upgrade("/").await;
    let endpoint = upstream.only_head().await.target().chars().nth(1).unwrap();
    (endpoint, client)
}

#[tokio::test]
async fn least_sessions_fills_up_the_emptiest() {
    for balance in ["balance: least_sessions", ""] {
        let upstream = ScriptedUpstream::mirror().await;
        let gateway = TestGateway::start(&upstream, &service(balance, &[1, 1, 1]));
        let mut sessions: HashMap<char, Vec<Wire>> = HashMap::new();
        for _ in 0..12 {
            let (endpoint, client) = open(&gateway, &upstream).await;
            sessions.entry(endpoint).or_default().push(client);
        }
        for held in sessions.values() {
            assert_eq!(held.len(), 4, "{balance:?}");
        }
        // One endpoint loses all of its sessions; the next ones go there.
        for client in sessions.remove(&'1').unwrap() {
            client.close_session().await;
        }
        tidegate_tests::eventually("8 sessions are left", || gateway.sessions() == 8).await;
        let mut more = Vec::new();
        for _ in 0..4 {
            let (endpoint, client) = open(&gateway, &upstream).await;
            assert_eq!(endpoint, '1', "{balance:?}");
            more.push(client);
        }
    }
}

#[tokio::test]
async fn least_sessions_honours_weights() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("balance: least_sessions", &[3, 1]));
    let mut sessions: HashMap<char, Vec<Wire>> = HashMap::new();
    for _ in 0..16 {
        let (endpoint, client) = open(&gateway, &upstream).await;
        sessions.entry(endpoint).or_default().push(client);
    }
    assert_eq!((sessions[&'0'].len(), sessions[&'1'].len()), (12, 4));
}

/// However a session ends, its endpoint is free again.
#[tokio::test]
async fn lost_sessions_are_not_counted_on() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("balance: least_sessions", &[1, 1]));
    let mut sessions: HashMap<char, Vec<Wire>> = HashMap::new();
    for _ in 0..8 {
        let (endpoint, client) = open(&gateway, &upstream).await;
        sessions.entry(endpoint).or_default().push(client);
    }
    for client in sessions.remove(&'0').unwrap() {
        client.reset();
    }
    tidegate_tests::eventually("4 sessions are left", || gateway.sessions() == 4).await;
    for _ in 0..4 {
        let (endpoint, client) = open(&gateway, &upstream).await;
        assert_eq!(endpoint, '0');
        sessions.entry(endpoint).or_default().push(client);
    }
}

/// A handshake that was refused is no session.
#[tokio::test]
async fn refused_handshakes_do_not_count() {
    let upstream =
        ScriptedUpstream::answering("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = TestGateway::start(&upstream, &service("balance: least_sessions", &[1, 1]));
    for _ in 0..20 {
        assert_eq!(gateway.ask(&Request::handshake("/")).await.status(), 401);
    }
    let shares = shares(&upstream);
    // Ties may be broken in any way, but they stay ties.
    assert_eq!(shares.values().sum::<usize>(), 20, "{shares:?}");
    assert_eq!(gateway.sessions(), 0);
}

/// By default plain requests go round, also beside sessions.
#[tokio::test]
async fn plain_requests_go_round_by_default() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &service("", &[1, 1]));
    let mut client = gateway.connect().await;
    for _ in 0..20 {
        client.ask(&Request::get("/")).await.seen();
    }
    assert_eq!(shares(&upstream), HashMap::from([('0', 10), ('1', 10)]));
}

#[tokio::test]
async fn all_workers_spread_alike() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "version: 1\nworkers: 2\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n{}",
        service("balance: least_sessions", &[1, 1, 1, 1])
    );
    let gateway = TestGateway::from_file(&yaml.replace("UP", &upstream.address().to_string()));
    let mut sessions: HashMap<char, Vec<Wire>> = HashMap::new();
    for _ in 0..24 {
        let (endpoint, client) = open(&gateway, &upstream).await;
        sessions.entry(endpoint).or_default().push(client);
    }
    // Whichever worker took them, an endpoint's sessions are counted together.
    for held in sessions.values() {
        assert_eq!(held.len(), 6);
    }
}
