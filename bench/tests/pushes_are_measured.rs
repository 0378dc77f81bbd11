//! What pushes cost is measured, short, with a gateway in this process; and a push that does not come as it
//! should is no figure.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use tidegate_tests::{ScriptedUpstream, TestGateway, eventually};

const LOAD: &str = env!("CARGO_BIN_EXE_tidegate-load");
const SECRET: &str = "a secret that is for nothing but the bench";

/// Ends with the test.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.local_addr().unwrap()
}

/// The loop, and how the load is told of it.
async fn bare() -> (Bare, String) {
    let (listen, orders) = (free(), free());
    let mut bare = Command::new(LOAD);
    bare.args(["bare", &listen.to_string(), &orders.to_string()]);
    let bare = Bare(bare.stdin(Stdio::null()).spawn().unwrap());
    eventually("it takes orders", || TcpStream::connect(orders).is_ok()).await;
    let name = format!("{listen},{orders},{}", bare.0.id());
    (bare, name)
}

/// A gateway whose bridge has these rooms, and how the load is told of it.
fn gateway(upstream: &ScriptedUpstream, rooms: &str) -> (TestGateway, String) {
    let yaml = format!(
        "auth: {{ jwt: {{ secret: {SECRET} }} }}\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         services: {{ up: {{ endpoints: http://UP }} }}\n\
         routes: [{{ name: known, match: {{ path: /known }}, filters: require, \
         bridge: {{ services: up, rooms: [{rooms}] }} }}]\n"
    );
    let gateway = TestGateway::start(upstream, &yaml);
    let (address, admin) = (gateway.address(), gateway.admin().0);
    let name = format!("{address},{admin},{}", std::process::id());
    (gateway, name)
}

fn load(words: &[&str]) -> Output {
    let mut load = Command::new(LOAD);
    load.arg("push").args(words).output().unwrap()
}

/// Lines of this way and by this one that tell what each of so many deliveries has cost.
fn told(output: &Output, way: &str, by: &str, deliveries: usize) -> usize {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let beginning = format!("{{\"way\":\"{way}\",\"by\":\"{by}\",\"cpu_ns\":");
    let end = format!("\"deliveries\":{deliveries}}}");
    let is_told = |line: &&str| {
        let cost = line.strip_prefix(&*beginning);
        let cost = cost.and_then(|rest| rest.split(',').next()?.parse::<f64>().ok());
        line.ends_with(&end) && cost.is_some_and(|cost| cost > 0.0)
    };
    said.lines().filter(is_told).count()
}

/// One after another: children of this process count as the gateway's, and none may end meanwhile.
#[tokio::test]
async fn pushes_to_many_and_to_one_are_measured() {
    many_are_told_as_by_the_loop().await;
    one_is_told_among_others().await;
    who_may_not_be_told_gives_no_figure().await;
}

async fn many_are_told_as_by_the_loop() {
    let upstream = ScriptedUpstream::mirror().await;
    let (_gateway, ours) = gateway(&upstream, "{ match: bench, subscribe: all }");
    let (_bare, theirs) = bare().await;
    let output = load(&["many", &ours, &theirs, "7", "5", "2"]);
    for way in ["users", "room"] {
        for by in ["tidegate", "bare"] {
            assert_eq!(told(&output, way, by, 35), 2, "{way} {by}: {output:?}");
        }
    }
}

async fn one_is_told_among_others() {
    let upstream = ScriptedUpstream::mirror().await;
    let (_few, few) = gateway(&upstream, "");
    let (_many, many) = gateway(&upstream, "");
    let words = [format!("3={few}"), format!("9={many}")];
    let output = load(&["one", "1", &words[0], &words[1]]);
    for others in ["3", "9"] {
        assert_eq!(told(&output, "single", others, 500), 1, "{output:?}");
        assert_eq!(told(&output, "batch", others, 5_000), 1, "{output:?}");
    }
}

async fn who_may_not_be_told_gives_no_figure() {
    let upstream = ScriptedUpstream::mirror().await;
    let (_gateway, ours) = gateway(&upstream, "");
    let (_bare, theirs) = bare().await;
    let output = load(&["many", &ours, &theirs, "2", "1", "1"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && said.contains("forbidden"),
        "{said}"
    );
}
