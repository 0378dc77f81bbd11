//! Whoever goes from page to page while sessions come and go sees each that stays, and none twice;
//! and there are as many sessions as the system has sockets of them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::wire::switching;
use tidegate_tests::{Admin, Frame, ScriptedUpstream, TestGateway, Wire, sockets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// However slow the machine is, no session ends by itself: clients here answer no pings.
fn two_workers(upstream: &ScriptedUpstream) -> TestGateway {
    TestGateway::from_file(&format!(
        "version: 1\nworkers: 2\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         admin: {{ bind: 127.0.0.1:0, aliases: actuator_websocket }}\n\
         services: {{ up: {{ endpoints: ['http://{}'], connect_timeout: 60s, handshake_timeout: 60s }} }}\n\
         routes: [{{ name: stay, match: {{ path: /stay }}, proxy: {{ service: up, websocket: {{ keep_alive: none, close_timeout: 60s }} }} }}, \
                  {{ name: go, match: {{ path: /go }}, proxy: {{ service: up, websocket: {{ keep_alive: none, close_timeout: 60s }} }} }}]\n",
        upstream.address()
    ))
}

/// An upstream whose sessions last, silent, for as long as nobody says a word.
async fn patient() -> ScriptedUpstream {
    ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        wire.send(switching(&head, &[])).await;
        let mut stream = wire.into_socket();
        if matches!(stream.read(&mut [0; 512]).await, Ok(count) if count > 0) {
            let close = Frame::close(1000, "").bytes();
            stream.write_all(&close).await.ok();
        }
    })
    .await
}

async fn page(admin: Admin, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = admin.get(&format!("/v1/sessions?{query}")).await;
    assert_eq!(answer.status(), 200, "{query}: {}", answer.text());
    let mut page: Value = serde_json::from_slice(&answer.body).unwrap();
    let next = page["next_cursor"].as_str().map(str::to_owned);
    match page["sessions"].take() {
        Value::Array(sessions) => (sessions, next),
        other => panic!("{other}"),
    }
}

/// The ids of all sessions, in the order of the pages.
async fn walk(admin: Admin, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let (sessions, next) = page(admin, &format!("{query}{cursor}")).await;
        for session in &sessions {
            ids.push(session["id"].as_str().unwrap().to_owned());
        }
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

async fn opened(gateway: SocketAddr, path: &str) -> Wire {
    let mut client = Wire::connect(gateway).await;
    client.upgrade(path).await;
    client
}

/// Sessions that come and go, some in order and some by a reset, until `over`.
fn churn(gateway: SocketAddr, over: &Arc<AtomicBool>, turns: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let (over, turns) = (Arc::clone(over), Arc::clone(turns));
    tokio::spawn(async move {
        let mut open = Vec::new();
        while !over.load(Ordering::Relaxed) {
            open.push(opened(gateway, "/go").await);
            if open.len() > 10 {
                let client = open.swap_remove(fastrand::usize(..open.len()));
                match fastrand::u8(..3) {
                    0 => client.close_session().await,
                    1 => client.reset(),
                    _ => drop(client),
                }
            }
            turns.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[tokio::test]
async fn while_sessions_come_and_go() {
    let upstream = patient().await;
    let gateway = two_workers(&upstream);
    let admin = gateway.admin();
    let mut staying = Vec::new();
    let (over, turns) = (Arc::default(), Arc::default());
    let churns: Vec<_> = (0..3)
        .map(|_| churn(gateway.address(), &over, &turns))
        .collect();
    for _ in 0..150 {
        staying.push(opened(gateway.address(), "/stay").await);
    }
    let known: HashSet<_> = walk(admin, "route=stay&limit=1000")
        .await
        .into_iter()
        .collect();
    assert_eq!(known.len(), staying.len());
    for limit in [1, 7, 100] {
        let before = turns.load(Ordering::Relaxed);
        let ids = walk(admin, &format!("limit={limit}")).await;
        let distinct: HashSet<_> = ids.iter().cloned().collect();
        assert_eq!(distinct.len(), ids.len(), "one stood there twice");
        assert!(distinct.is_superset(&known), "one that stays was missed");
        // A page has no more than was asked for, and no gap where a filter leaves some out.
        let (sessions, next) = page(admin, &format!("route=stay&limit={limit}")).await;
        assert_eq!(sessions.len(), limit);
        assert!(next.is_some());
        if limit == 1 {
            let after = turns.load(Ordering::Relaxed);
            assert!(after > before, "nothing came or went");
        }
    }
    over.store(true, Ordering::Relaxed);
    for churn in churns {
        churn.await.unwrap();
    }
    // One after the other they are ended, on whichever worker they are.
    for id in &known {
        assert_eq!(admin.end_session(id, "").await.status(), 202);
    }
    for client in &mut staying {
        assert_eq!(client.read_close().await, Some(1008));
        client
            .send_frame(&Frame::close(1008, "").from_client())
            .await;
    }
    drop(staying);
    gateway.is_empty().await;
}

/// How many sessions there are: by the list, by the routes, by the metric and by the alias.
async fn told(admin: Admin) -> [usize; 4] {
    let routes = admin.get("/v1/routes").await;
    let routes: Value = serde_json::from_slice(&routes.body).unwrap();
    let of_route = |place: usize| routes["routes"][place]["sessions"].as_u64().unwrap();
    let metrics = admin.metrics().await;
    let gauge = |route: &str| {
        let series = format!("tidegate_ws_connections{{route=\"{route}\",kind=\"proxy\"}}");
        metrics.get(&series).unwrap()
    };
    [
        walk(admin, "limit=1000").await.len(),
        (of_route(0) + of_route(1)) as usize,
        (gauge("stay") + gauge("go")) as usize,
        admin
            .get("/actuator/websocket/count")
            .await
            .text()
            .parse()
            .unwrap(),
    ]
}

#[tokio::test]
async fn sessions_are_as_many_as_the_system_counts() {
    let upstream = patient().await;
    let gateway = two_workers(&upstream);
    let admin = gateway.admin();
    let port = upstream.address().port();
    let mut staying = Vec::new();
    for round in 1..=5 {
        let (over, turns) = (Arc::default(), Arc::default());
        let churns: Vec<_> = (0..4)
            .map(|_| churn(gateway.address(), &over, &turns))
            .collect();
        while turns.load(Ordering::Relaxed) < 100 {
            staying.push(opened(gateway.address(), "/stay").await);
            // Those of the round before may not all have ended.
            let sessions = walk(admin, "route=stay&limit=1000").await.len();
            assert!(sessions >= staying.len(), "{sessions}");
        }
        over.store(true, Ordering::Relaxed);
        for churn in churns {
            churn.await.unwrap();
        }
        let begun = Instant::now();
        loop {
            // A connection has two ends on this machine.
            let sockets = sockets::open_on(port) / 2;
            let [listed, routes, metric, alias] = told(admin).await;
            let counts = [listed, routes, metric, alias, gateway.sessions(), sockets];
            if counts == [staying.len(); 6] {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(15),
                "round {round}: listed, of routes, in the metric and by the alias, in the census, sockets: {counts:?}, not {}",
                staying.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        staying.truncate(staying.len() / 2);
    }
    drop(staying);
    gateway.is_empty().await;
    assert!(walk(admin, "").await.is_empty());
}
