//! A file is opened anew when it is asked for, and no line is lost by that; a file that cannot be
//! opened is told of before anything runs.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::log::json_lines;
use tidegate_tests::{LogFile, Request, ScriptedUpstream, TestGateway, Wire, eventually, tools};

fn routes() -> String {
    "services: { up: { endpoints: ['http://UP'] } }\n\
     routes: [{ name: chat, match: { path: /chat }, proxy: { service: up } }]\n"
        .to_owned()
}

#[tokio::test]
async fn renamed_files_and_new_ones_have_each_line_once() {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &(log.yaml("") + &routes()));
    let mut client = gateway.connect().await;
    let (rounds, each) = (5, 200);
    let mut files = vec![log.path().clone()];
    for round in 0..rounds {
        for number in 0..each {
            if number == each / 2 {
                let old = log.beside(&format!("access.log.{round}"));
                fs::rename(log.path(), &old).unwrap();
                files.push(old);
                gateway.reopen_log();
                eventually("there is a new file", || log.path().exists()).await;
            }
            let target = format!("/{}", round * each + number);
            client.ask(&Request::get(&target)).await.expect_problem(404);
        }
        if round == 0 {
            log.lines(1).await; // into the new file
        }
    }
    drop(client);
    gateway.stop().await;
    let text: String = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let lines = json_lines(&text);
    assert_eq!(lines.len(), rounds * each);
    let paths: BTreeSet<_> = lines
        .iter()
        .map(|line| line["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths.len(), rounds * each, "one is there twice");
}

fn config(log: &str) -> String {
    format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n{log}\n\
         services: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}\n\
         routes: [{{ name: chat, match: {{ path: /chat }}, proxy: {{ service: up }} }}]\n"
    )
}

#[tokio::test]
async fn sigusr1_opens_the_file_anew_and_ends_nothing() {
    let Some(binary) = tools::tidegate("sigusr1_opens_the_file_anew_and_ends_nothing") else {
        return;
    };
    let log = LogFile::new();
    let (mut gateway, address, _files) = Process::gateway(&binary, &config(&log.yaml(""))).await;
    let mut client = Wire::connect(address).await;
    client
        .ask(&Request::get("/before"))
        .await
        .expect_problem(404);
    log.lines(1).await;
    let old = log.beside("old");
    fs::rename(log.path(), &old).unwrap();
    gateway.signal("USR1");
    eventually("there is a new file", || log.path().exists()).await;
    client
        .ask(&Request::get("/behind"))
        .await
        .expect_problem(404);
    assert_eq!(log.lines(1).await[0]["path"], "/behind");
    assert_eq!(fs::read_to_string(old).unwrap().lines().count(), 1);
    // The new one cannot be made: the old one goes on.
    fs::rename(log.path(), log.beside("older")).unwrap();
    fs::create_dir(log.path()).unwrap();
    gateway.signal("USR1");
    eventually("it is told", || {
        gateway.output().contains("log not reopened")
    })
    .await;
    client
        .ask(&Request::get("/still"))
        .await
        .expect_problem(404);
    let older = log.beside("older");
    eventually("the line is there", || {
        fs::read_to_string(&older).unwrap().contains("/still")
    })
    .await;
    gateway.signal("TERM");
    assert_eq!(gateway.ends().await.0.code(), Some(0));
}

/// Without an access log the signal is no reason to end either.
#[tokio::test]
async fn sigusr1_means_nothing_where_there_is_no_access_log() {
    let Some(binary) = tools::tidegate("sigusr1_means_nothing_where_there_is_no_access_log") else {
        return;
    };
    let (mut gateway, address, _files) =
        Process::gateway(&binary, &config("access_log: none")).await;
    gateway.signal("USR1");
    let answer = Wire::connect(address).await.ask(&Request::get("/")).await;
    answer.expect_problem(404);
    gateway.signal("TERM");
    let (status, output) = gateway.ends().await;
    assert_eq!(status.code(), Some(0));
    assert!(!output.contains("\"event\""), "{output}");
}

#[tokio::test]
async fn by_default_it_is_json_on_standard_error() {
    let Some(binary) = tools::tidegate("by_default_it_is_json_on_standard_error") else {
        return;
    };
    let scratch = Scratch::new();
    let file = scratch.write("tidegate.yaml", &config(""));
    let errors = scratch.path().join("stderr");
    let shell = format!(
        "exec {} run --config {} 2>{}",
        binary.display(),
        file.display(),
        errors.display()
    );
    let mut gateway = Process::start(Command::new("sh").args(["-c", &shell]));
    let address = gateway.listens().await;
    let answer = Wire::connect(address)
        .await
        .ask(&Request::get("/x?code=1"))
        .await;
    answer.expect_problem(404);
    gateway.signal("TERM");
    let (_, output) = gateway.ends().await;
    let lines = json_lines(&fs::read_to_string(errors).unwrap());
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["path"], "/x?code=***");
    for line in json_lines(&output) {
        assert!(
            line["event"].is_null() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn files_that_cannot_be_opened_are_told_of() {
    let upstream = ScriptedUpstream::mirror().await;
    let scratch = Scratch::new();
    let missing = scratch
        .path()
        .join("missing/access.log")
        .display()
        .to_string();
    let folder = scratch.path().display().to_string();
    for path in [&missing, &folder] {
        let log = format!("access_log: {{ to: {{ file: {path} }} }}\n");
        let error = TestGateway::try_start(&upstream, &(log.clone() + &routes())).unwrap_err();
        assert!(
            error.contains("access log") && error.contains(path.as_str()),
            "{error}"
        );
        let Some(binary) = tools::tidegate("files_that_cannot_be_opened_are_told_of") else {
            return;
        };
        let file = scratch.write("tidegate.yaml", &config(&log));
        for command in ["check", "run"] {
            let mut process = Command::new(&binary);
            let process = process.arg(command).arg("--config").arg(&file);
            let (status, output) = Process::start(process).ends().await;
            assert_eq!(status.code(), Some(1), "{command}: {output}");
            assert!(output.contains(path.as_str()), "{command}: {output}");
        }
    }
    // Where it can be made, asking leaves nothing behind.
    let Some(binary) = tools::tidegate("files_that_cannot_be_opened_are_told_of") else {
        return;
    };
    let log = LogFile::new();
    let file = scratch.write("tidegate.yaml", &config(&log.yaml("")));
    let mut process = Command::new(&binary);
    let (status, output) = Process::start(process.arg("check").arg("--config").arg(&file))
        .ends()
        .await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert_eq!(
        fs::read_dir(log.path().parent().unwrap()).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_line_that_somebody_else_left_unfinished_is_ended() {
    let log = LogFile::new();
    fs::write(log.path(), "{\"half\":").unwrap();
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::start(&upstream, &(log.yaml("") + &routes()));
    gateway.ask(&Request::get("/x")).await.expect_problem(404);
    gateway.stop().await;
    let text = log.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"half\":"));
    assert_eq!(
        json_lines(&format!("{}\n", lines.next().unwrap()))[0]["path"],
        "/x"
    );
    assert_eq!(lines.next(), None);
}

/// Opened anew by its name, it would be written to at two places at once, one of them over the other.
#[tokio::test]
async fn a_standard_stream_may_be_named_as_a_file() {
    let Some(binary) = tools::tidegate("a_standard_stream_may_be_named_as_a_file") else {
        return;
    };
    let scratch = Scratch::new();
    let output = scratch.path().join("stdout");
    let yaml = format!(
        "{}admin: {{ bind: '127.0.0.1:0' }}\n",
        config("access_log: { to: 'file:/dev/stdout' }")
    );
    let file = scratch.write("tidegate.yaml", &yaml);
    let (binary, file, to) = (binary.display(), file.display(), output.display());
    let shell = format!("exec {binary} run --config {file} >{to}");
    let mut gateway = Process::start(Command::new("sh").args(["-c", &shell]));
    let lines = || json_lines(&fs::read_to_string(&output).unwrap_or_default());
    eventually("it listens", || {
        lines().iter().any(|line| line["listener"] == "public")
    })
    .await;
    let lines_so_far = lines();
    let listening = lines_so_far
        .iter()
        .find(|line| line["listener"] == "public")
        .unwrap();
    let address = listening["address"].as_str().unwrap().parse().unwrap();
    let mut client = Wire::connect(address).await;
    client.ask(&Request::get("/x")).await.expect_problem(404);
    eventually("the request has its line", || {
        lines().iter().any(|line| line["path"] == "/x")
    })
    .await;
    gateway.signal("TERM");
    assert_eq!(gateway.ends().await.0.code(), Some(0));
    let lines = lines();
    for msg in ["listening", "ended"] {
        assert!(lines.iter().any(|line| line["msg"] == msg), "{lines:?}");
    }
    assert!(lines.iter().any(|line| line["path"] == "/x"), "{lines:?}");
}

/// `ulimit -f`: the signal that comes with it would end the process.
#[tokio::test]
async fn a_file_that_may_not_grow_ends_nothing() {
    let Some(binary) = tools::tidegate("a_file_that_may_not_grow_ends_nothing") else {
        return;
    };
    let (log, scratch) = (LogFile::new(), Scratch::new());
    let file = scratch.write("tidegate.yaml", &config(&log.yaml("")));
    let (binary, file) = (binary.display(), file.display());
    let shell = format!("ulimit -f 8; exec {binary} run --config {file}");
    let mut gateway = Process::start(Command::new("sh").args(["-c", &shell]));
    let mut client = Wire::connect(gateway.listens().await).await;
    let target = format!("/{}", "x".repeat(1900));
    for _ in 0..10 {
        client.ask(&Request::get(&target)).await.expect_problem(404);
    }
    eventually("it is told", || {
        gateway.output().contains("log cannot be written")
    })
    .await;
    client.ask(&Request::get("/x")).await.expect_problem(404);
    drop(client);
    gateway.signal("TERM");
    assert_eq!(gateway.ends().await.0.code(), Some(0));
}
