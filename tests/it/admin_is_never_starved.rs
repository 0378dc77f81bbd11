//! The admin listener answers while the data plane is full, out of descriptors, or busy.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tidegate::exchange::Exchange;
use tidegate::pipeline::{Filter, FilterPlan, Moment, Step};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::{SLACK, eventually_does};
use tidegate_tests::wire::switching;
use tidegate_tests::{Admin, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools};
use tokio::io::AsyncReadExt as _;

/// Descriptors that the process may have.
const DESCRIPTORS: usize = 128;

async fn is_prompt(admin: Admin, path: &str) {
    let begun = Instant::now();
    let answer = admin.get(path).await;
    let took = begun.elapsed();
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    assert!(took < SLACK, "{path} took {took:?}");
}

fn yaml(upstream: &ScriptedUpstream) -> String {
    format!(
        "version: 1\nworkers: 2\nlisteners:\n  \
         - {{ name: public, bind: 127.0.0.1:0, limits: {{ head_timeout: 5m }} }}\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    )
}

/// What a new connection hears when it asks; `None` where it is cut before that is said.
async fn hears(address: SocketAddr) -> Option<u16> {
    let mut wire = Wire::connect(address).await;
    wire.try_send(Request::get("/").bytes()).await.ok()?;
    wire.read_head_or_end().await.ok().map(|head| head.status())
}

/// A slow machine is not a full gateway: it must say that it is.
async fn is_full(address: SocketAddr) -> bool {
    matches!(hears(address).await, Some(429 | 503))
}

/// An upstream whose sessions last, silent, for as long as the gateway holds them.
async fn patient() -> ScriptedUpstream {
    ScriptedUpstream::serve(|mut wire| async move {
        let Ok(head) = wire.read_head_or_end().await else {
            return;
        };
        if !head.is_upgrade() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            wire.try_send(answer).await.ok();
            return;
        }
        wire.try_send(switching(&head, &[])).await.ok();
        let mut stream = wire.into_stream();
        while matches!(stream.read(&mut [0; 64]).await, Ok(count) if count > 0) {}
    })
    .await
}

#[tokio::test]
async fn by_a_data_plane_that_has_every_descriptor() {
    let Some(binary) = tools::tidegate("by_a_data_plane_that_has_every_descriptor") else {
        return;
    };
    let upstream = patient().await;
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.yaml", &yaml(&upstream));
    let limited = format!(
        "ulimit -n {DESCRIPTORS}; exec '{}' run --config '{}'",
        binary.display(),
        file.display()
    );
    let mut gateway = Process::start(Command::new("sh").args(["-c", &limited]));
    let admin = Admin(gateway.address_of("admin").await);
    let address = gateway.address_of("public").await;
    assert_eq!(hears(address).await, Some(200));
    // More clients than there are descriptors, and they stay; half of them want an upstream too.
    let mut clients = Vec::new();
    for number in 0..2 * DESCRIPTORS {
        let mut client = Wire::connect(address).await;
        if number % 2 == 0 {
            client.request(&Request::handshake("/")).await;
        }
        clients.push(client);
    }
    eventually_does("the data plane is full", async || is_full(address).await).await;
    for _ in 0..100 {
        for path in ["/livez", "/readyz", "/v1/info", "/metrics"] {
            is_prompt(admin, path).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Several at once, of whom some stay.
    let mut stays = Vec::new();
    for _ in 0..32 {
        let mut wire = Wire::connect(admin.0).await;
        wire.send("GET /livez HTTP/1.1\r\n").await;
        stays.push(wire);
        is_prompt(admin, "/livez").await;
    }
    // Nobody has left: it was all the while.
    eventually_does("the data plane is still full", async || {
        is_full(address).await
    })
    .await;
    drop((clients, stays));
    eventually("the data plane is empty", || {
        gateway.descriptors() < DESCRIPTORS / 2
    })
    .await;
    let serves = async || hears(address).await == Some(200);
    eventually_does("the data plane serves again", serves).await;
    is_prompt(admin, "/livez").await;
    assert!(
        !gateway.output().contains("panicked"),
        "{}",
        gateway.output()
    );
}

/// Blocks the whole worker, as no filter may.
#[derive(Debug)]
struct Blocks(Arc<(Mutex<bool>, Condvar)>);

impl Filter for Blocks {
    fn on_request<'a>(&'a self, _exchange: &'a mut Exchange) -> Moment<'a> {
        let (released, changed) = &*self.0;
        let held = released.lock().unwrap();
        drop(changed.wait_while(held, |released| !*released).unwrap());
        Moment::ready(Ok(Step::Continue))
    }
}

#[tokio::test]
async fn by_workers_that_are_busy() {
    let upstream = ScriptedUpstream::mirror().await;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let yaml = "admin: { bind: '127.0.0.1:0' }\n\
        services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let gateway = TestGateway::embedded(&upstream, yaml, |plan| {
        let filter = Arc::new(Blocks(Arc::clone(&gate)));
        plan.routes[0].filters.push(FilterPlan::Custom(filter));
    });
    let admin = gateway.admin();
    let mut client = gateway.connect().await;
    client.request(&Request::get("/")).await;
    admin
        .counts("tidegate_http_requests_in_flight{route=\"r\"}", 1.0)
        .await;
    // The only worker sleeps; whoever comes now waits for it.
    let mut waiting = gateway.connect().await;
    waiting.request(&Request::get("/")).await;
    for _ in 0..20 {
        for path in ["/livez", "/readyz", "/v1/info", "/metrics"] {
            is_prompt(admin, path).await;
        }
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(client.read_answer().await.status(), 200);
    assert_eq!(waiting.read_answer().await.status(), 200);
}

/// One address has every place, and is answered in each: its next caller is told so.
#[tokio::test]
async fn by_callers_that_are_being_answered() {
    const PLACES: usize = 64;
    let upstream = ScriptedUpstream::bind().await;
    let yaml = "admin: { bind: '127.0.0.1:0' }\n\
                services: { up: { endpoints: ['http://UP'] } }\n\
                routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let gateway = TestGateway::start(&upstream, yaml);
    let admin = gateway.admin();
    let host = admin.0.to_string();
    let slow = Request::new("POST", "/v1/push").set("Host", &host);
    let slow = slow
        .with("Content-Length", "2")
        .with("Expect", "100-continue");
    let mut callers = Vec::new();
    for _ in 0..PLACES {
        let mut wire = Wire::connect(admin.0).await;
        wire.request(&slow).await;
        assert_eq!(wire.read_head().await.status(), 100);
        callers.push(wire);
    }
    let mut wire = Wire::connect(admin.0).await;
    let refused = wire.ask(&admin.request("/readyz")).await;
    assert_eq!((refused.status(), &*refused.code()), (503, "admin_full"));
    assert_eq!(refused.head.field("Retry-After"), Some("1"));
    // None of them was cut for it.
    for mut wire in callers {
        wire.send("{}").await;
        assert_eq!(wire.read_answer().await.status(), 400);
    }
    is_prompt(admin, "/readyz").await;
}
