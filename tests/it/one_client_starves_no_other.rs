//! One client cannot keep the others waiting, nor out: not by what it sends on its connection, not by
//! how many it has, not by the worker that it has got stuck.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tidegate::exchange::Exchange;
use tidegate::pipeline::{Filter, FilterPlan, Moment, Step};
use tidegate_tests::frame::BINARY;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Far above what a loaded machine needs for a request, and far below for ever.
const PATIENCE: Duration = Duration::from_secs(5);

async fn others_are_served(gateway: &TestGateway) {
    let mut other = gateway.connect().await;
    for _ in 0..30 {
        let begun = Instant::now();
        other.ask(&Request::get("/")).await.seen();
        assert!(begun.elapsed() < PATIENCE, "after {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    gateway.connect().await.upgrade("/").await;
    assert!(begun.elapsed() < PATIENCE, "after {:?}", begun.elapsed());
}

/// Writes `words` without an end, and reads whatever comes.
fn hammer(wire: Wire, words: Vec<u8>) -> [tokio::task::JoinHandle<()>; 2] {
    let (mut read, mut write) = wire.into_stream().into_split();
    let writing = tokio::spawn(async move { while write.write_all(&words).await.is_ok() {} });
    let reading = tokio::spawn(async move {
        let mut room = vec![0; 1 << 16];
        while matches!(read.read(&mut room).await, Ok(size) if size > 0) {}
    });
    [writing, reading]
}

#[tokio::test]
async fn by_pipelined_requests() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut tasks = Vec::new();
    // Answered by the gateway alone, which is quickest; and by the upstream.
    for target in ["/%00", "/"] {
        let many = Request::get(target).bytes().repeat(1000);
        tasks.extend(hammer(gateway.connect().await, many));
    }
    others_are_served(&gateway).await;
    assert!(tasks.iter().all(|task| !task.is_finished()), "it gave up");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn by_a_session_at_full_speed() {
    let upstream = ScriptedUpstream::mirror().await;
    // The mirror answers frame by frame: where many tests run it may read nothing for a while.
    let keys = "websocket: { write_timeout: 10m }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let mut tasks = Vec::new();
    for size in [1 << 16, 0] {
        let mut client = gateway.connect().await;
        client.upgrade("/").await;
        let frame = Frame::new(BINARY, vec![7; size]).from_client().bytes();
        let frames = frame.repeat((1 << 18) / frame.len());
        tasks.extend(hammer(client, frames));
    }
    others_are_served(&gateway).await;
    assert!(tasks.iter().all(|task| !task.is_finished()), "it gave up");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// By the number of its connections, where nothing is configured but how many there may be.
#[tokio::test]
async fn by_many_connections() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(
        &upstream,
        "limits: { max_connections: 160 }\nservices: { up: { endpoints: [http://UP] } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    );
    let mut held = Vec::new();
    let refused = loop {
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/")).await;
        let head = client.read_head().await;
        if head.status() != 101 {
            break head;
        }
        held.push(client);
    };
    assert_eq!((refused.status(), held.len()), (429, 150));
    assert!(refused.has("Retry-After"));
    for last in 2..12 {
        let from: IpAddr = Ipv4Addr::new(127, 0, 0, last).into();
        let mut other = Wire::connect_from(from, gateway.address()).await;
        other.upgrade("/").await;
        held.push(other);
    }
    let from: IpAddr = Ipv4Addr::new(127, 0, 0, 12).into();
    let mut late = Wire::connect_from(from, gateway.address()).await;
    let answer = late.ask(&Request::get("/")).await;
    assert_eq!((answer.status(), &*answer.code()), (503, "gateway_full"));
    drop(held);
    gateway.is_empty().await;
}

/// Holds up its thread for `/stuck` until it is released.
#[derive(Debug)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Filter for Stuck {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        if exchange.path.as_str() == "/stuck" {
            let (released, changed) = &*self.0;
            let held = released.lock().unwrap();
            drop(changed.wait_while(held, |released| !*released).unwrap());
        }
        Moment::ready(Ok(Step::Continue))
    }
}

/// A worker that takes nothing any more, with more connections on their way to it than may wait.
#[tokio::test]
async fn by_a_worker_that_is_stuck() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = "services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let gateway = TestGateway::embedded(&upstream, yaml, |plan| {
        plan.workers = 2;
        let filter = Arc::new(Stuck(Arc::clone(&gate)));
        plan.routes[0].filters.push(FilterPlan::Custom(filter));
    });
    let mut stuck = gateway.connect().await;
    stuck.request(&Request::get("/stuck")).await;
    let mut held = Vec::new();
    for number in 0..2400_u32 {
        let from = Ipv4Addr::from(0x7f02_0000 + number / 100).into();
        held.push(Wire::connect_from(from, gateway.address()).await);
    }
    // Where only one worker takes connections, each is soon served.
    let mut late = gateway.connect().await;
    late.ask(&Request::get("/")).await.seen();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    stuck.read_answer().await.seen();
}
