//! `check` names all errors at once, each with its place; `routes test` says which route and why not
//! the others; a bad file starts nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::{TestGateway, eventually, tools};

const GOOD: &str = "version: 1
listeners: [{ name: public, bind: 127.0.0.1:0 }]
services:
  up: { endpoints: [http://127.0.0.1:9] }
routes:
  - name: chat
    match: { path: /chat/**, upgrade: websocket }
    proxy: { service: up }
  - name: api
    match: { path: '/api/{id:[0-9]+}', methods: [GET] }
    proxy: { service: up }
";

const BAD: &str = "version: 1
listeners: [{ name: public, bind: 127.0.0.1:0 }]
services:
  up: { endpoints: [http://127.0.0.1:9], conect_timeout: 5s }
routes:
  - name: one
    match: { path: '/a/{id' }
    proxy: { service: upp }
  - name: two
    match: { path: /b }
    filters: [ { strip_prefx: 1 } ]
    proxy: { service: up, websocket: { idle_timeout: 5 } }
";

async fn run(binary: &Path, file: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary);
    command.args(arguments).arg("--config").arg(file);
    let (status, output) = Process::start(&mut command).ends().await;
    (status.code(), output)
}

#[tokio::test]
async fn check_accepts_a_good_file() {
    let Some(binary) = tools::tidegate("check_accepts_a_good_file") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("good.yaml", GOOD);
    let (code, output) = run(&binary, &file, &["check"]).await;
    assert_eq!(code, Some(0), "{output}");
}

/// Handlers are of programs that embed the gateway; this one has none.
#[tokio::test]
async fn a_handler_is_an_error_of_check_and_of_run() {
    let Some(binary) = tools::tidegate("a_handler_is_an_error_of_check_and_of_run") else {
        return;
    };
    let scratch = Scratch::new();
    let handled = "  - { name: live, match: { path: /live }, handler: live }\n";
    let file = scratch.write("handled.yaml", &format!("{GOOD}{handled}"));
    for command in ["check", "run"] {
        let (code, output) = run(&binary, &file, &[command]).await;
        assert_eq!(code, Some(1), "{output}");
        let said = "handled.yaml:12:52: routes[2].handler: no handler is registered as `live`, \
            where the route `live` ends";
        assert!(output.contains(said), "{output}");
    }
}

#[tokio::test]
async fn check_names_every_error_with_its_place() {
    let Some(binary) = tools::tidegate("check_names_every_error_with_its_place") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("bad.yaml", BAD);
    let (code, output) = run(&binary, &file, &["check"]).await;
    assert_eq!(code, Some(1), "{output}");
    let expected = [
        // line, YAML path, suggestion
        (4, "services.up.conect_timeout", "connect_timeout"),
        (7, "routes[0].match.path", ""),
        (8, "routes[0].proxy.service", "`up`"),
        (11, "routes[1].filters[0]", "strip_prefix"),
        (12, "routes[1].proxy.websocket.idle_timeout", "5s"),
    ];
    for (line, path, suggestion) in expected {
        let place = format!("bad.yaml:{line}:");
        let found = output
            .lines()
            .find(|said| said.contains(&place) && said.contains(path));
        let found = found.unwrap_or_else(|| panic!("{place} {path} is not in\n{output}"));
        let (_, behind) = found.split_once(&place).unwrap();
        let column: String = behind.chars().take_while(char::is_ascii_digit).collect();
        assert!(
            column.parse::<usize>().is_ok_and(|column| column > 1),
            "{found}"
        );
        assert!(found.contains(suggestion), "{found}");
    }
}

#[tokio::test]
async fn check_says_what_no_yaml_is() {
    let Some(binary) = tools::tidegate("check_says_what_no_yaml_is") else {
        return;
    };
    let scratch = Scratch::new();
    for (name, text) in [
        ("broken.yaml", "version: 1\nlisteners: [\n"),
        ("empty.yaml", ""),
        ("list.yaml", "- 1\n"),
        ("future.yaml", "version: 2\nlisteners: []\n"),
    ] {
        let file = scratch.write(name, text);
        let (code, output) = run(&binary, &file, &["check"]).await;
        assert_eq!(code, Some(1), "{name}: {output}");
        assert!(output.contains(name), "{output}");
        assert!(!output.contains("panicked"), "{output}");
    }
    let (code, output) = run(&binary, Path::new("/nowhere/at/all.yaml"), &["check"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("/nowhere/at/all.yaml"), "{output}");
}

#[tokio::test]
async fn routes_test_says_which_and_why_not() {
    let Some(binary) = tools::tidegate("routes_test_says_which_and_why_not") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("good.yaml", GOOD);
    let ask = |arguments: &'static [&'static str]| {
        let (binary, file) = (binary.clone(), file.clone());
        async move {
            let all: Vec<&str> = ["routes", "test"]
                .iter()
                .chain(arguments)
                .copied()
                .collect();
            run(&binary, &file, &all).await
        }
    };
    let (code, output) = ask(&["GET", "/api/12"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("api") && output.contains("chat"),
        "{output}"
    );
    let upgrade = [
        "GET",
        "/chat/1",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
    ];
    let (code, output) = ask(Box::leak(Box::new(upgrade))).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("chat"), "{output}");
    let (code, output) = ask(&["POST", "/api/12"]).await;
    assert_ne!(code, Some(0), "{output}");
    assert!(output.contains("method"), "{output}");
    let (code, output) = ask(&["GET", "/api/x"]).await;
    assert_ne!(code, Some(0), "{output}");
    assert!(output.contains("path"), "{output}");
    let (code, output) = ask(&["GET", "/chat/1"]).await;
    assert_ne!(code, Some(0), "{output}");
    assert!(output.contains("upgrade"), "{output}");
}

#[tokio::test]
async fn run_with_a_bad_file_starts_nothing() {
    let Some(binary) = tools::tidegate("run_with_a_bad_file_starts_nothing") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("bad.yaml", BAD);
    let (code, output) = run(&binary, &file, &["run"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("bad.yaml:4:") && output.contains("bad.yaml:12:"),
        "{output}"
    );
    assert!(!output.contains("listening"), "{output}");
}

fn two_listeners(one: u16, two: SocketAddr) -> String {
    format!(
        "version: 1\nlisteners:\n  - {{ name: one, bind: 127.0.0.1:{one} }}\n  \
         - {{ name: two, bind: '{two}' }}\nservices: {{ up: {{ endpoints: [http://127.0.0.1:9] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
    )
}

/// One listener of two cannot be bound: the other is not left open.
#[tokio::test]
async fn half_a_gateway_is_none() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (free, yaml) = loop {
        let free = spare_port();
        let yaml = two_listeners(free, taken.local_addr().unwrap());
        let error = TestGateway::try_from_file(&yaml).unwrap_err();
        // Somebody else may have got the spare one.
        if !error.contains("one") {
            assert!(error.contains("two"), "{error}");
            break (free, yaml);
        }
    };
    eventually("the first is free again", || {
        std::net::TcpListener::bind(("127.0.0.1", free)).is_ok()
    })
    .await;

    let Some(binary) = tools::tidegate("half_a_gateway_is_none") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("taken.yaml", &yaml);
    let (code, output) = run(&binary, &file, &["run"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("two"), "{output}");
}

#[tokio::test]
async fn wrong_use_is_2() {
    let Some(binary) = tools::tidegate("wrong_use_is_2") else {
        return;
    };
    for arguments in [
        &["frobnicate"][..],
        &["run", "--frobnicate"],
        &["routes", "test"],
    ] {
        let (status, output) = Process::start(Command::new(&binary).args(arguments))
            .ends()
            .await;
        assert_eq!(status.code(), Some(2), "{output}");
    }
    let (status, output) = Process::start(Command::new(&binary).arg("version"))
        .ends()
        .await;
    assert!(status.success() && output.contains("tidegate"), "{output}");
}
