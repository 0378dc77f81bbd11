//! Every command of the guide does what stands there, save that ports are others and the lease is short.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tidegate_tests::backing::{Kafka, Redis, Registry, kafka};
use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::time::{eventually_within, within_limit};
use tidegate_tests::tools;
use tokio::sync::mpsc;

const GUIDE: &str = include_str!("../../../docs/guide/two_nodes.md");

/// What is done once by hand, before anything runs: in this order, and with two nodes five commands.
const BY_HAND: [&str; 3] = [
    "git clone https://github.com/tidegate/tidegate && cd tidegate",
    "cargo build --features kafka,redis",
    "cargo xtask services --start",
];

/// Longer than topics take to be found that are made meanwhile.
const LONG: Duration = Duration::from_secs(120);

/// What a reader does or sees next.
#[derive(Debug)]
enum Step {
    /// A command, and what it answers; `…` stands for anything.
    Command(String, Vec<String>),
    /// What is told to somebody whose terminal is open.
    Told(String),
}

fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut block = None;
    for line in guide.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (Some("console"), None) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step::Command(command.into(), Vec::new())),
                (None, Some(Step::Command(_, output))) => output.push(line.into()),
                (None, _) => panic!("whose output is this? {line}"),
            },
            (Some("json"), None) => steps.push(Step::Told(line.into())),
            (Some(_), None) => panic!("a block that nobody looks at: {line}"),
            (None, None) => {}
        }
    }
    steps
}

/// Where fewer nodes have answered in time than were asked, which may be on a machine that does much else, these
/// are not looked at.
const COUNTS: [&str; 2] = ["\"matched\":", "\"answered\":"];

/// The number that stands behind `name`.
fn count<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, behind) = line.split_once(name)?;
    behind.split(|letter: char| !letter.is_ascii_digit()).next()
}

/// The line with nothing of these counts.
fn without_counts(line: &str) -> String {
    let mut line = line.to_owned();
    for count in COUNTS {
        if let Some((before, behind)) = line.split_once(count) {
            let rest = behind.trim_start_matches(|letter: char| letter.is_ascii_digit());
            line = format!("{before}{count}{rest}");
        }
    }
    line
}

/// Whether `line` is `shown`, in which `…` stands for anything.
fn is_like(line: &str, shown: &str) -> bool {
    let (all, some) = (count(line, "\"asked\":"), count(line, "\"answered\":"));
    let is_late = some < all;
    let seen = |text: &str| match is_late {
        true => without_counts(text),
        false => text.to_owned(),
    };
    let (line, shown) = (&*seen(line), &*seen(shown));
    let parts: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else {
        return line == shown;
    };
    let behind = line.strip_prefix(first);
    let Some(mut rest) = behind.and_then(|behind| behind.strip_suffix(last)) else {
        return false;
    };
    middle.iter().all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, behind)| behind);
        found.is_some()
    })
}

#[test]
fn an_ellipsis_is_anything() {
    for (line, shown, expected) in [
        ("ok", "ok", true),
        ("okay", "ok", false),
        (r#"{"a":"x1","b":2}"#, r#"{"a":"…","b":2}"#, true),
        (r#"{"a":"x1","b":3}"#, r#"{"a":"…","b":2}"#, false),
        (r#"{"a":"x1","b":23}"#, r#"{"a":"…","b":2"#, false),
        ("abc", "a…", true),
        ("b", "a…", false),
        (
            r#"{"matched":1,"asked":1,"answered":0}"#,
            r#"{"matched":2,"asked":1,"answered":1}"#,
            true,
        ),
        (
            r#"{"matched":1,"asked":1,"answered":1}"#,
            r#"{"matched":2,"asked":1,"answered":1}"#,
            false,
        ),
    ] {
        assert_eq!(is_like(line, shown), expected, "{line} {shown}");
    }
}

/// The terminal in which commands are typed.
struct Shell {
    child: Child,
    commands: ChildStdin,
    said: mpsc::UnboundedReceiver<String>,
}

impl Shell {
    fn open(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        Self {
            commands: child.stdin.take().unwrap(),
            child,
            said,
        }
    }

    /// What a command answers.
    async fn run(&mut self, command: &str) -> Vec<String> {
        const END: &str = "that was it";
        // An answer may end without an end of its line.
        writeln!(self.commands, "{command}\necho; echo '{END}'").unwrap();
        let mut answer = Vec::new();
        loop {
            let said = within_limit(LONG, command, self.said.recv()).await;
            match said.unwrap_or_else(|| panic!("{command}: the shell is gone")) {
                line if line == END => break,
                line => answer.push(line),
            }
        }
        while answer.last().is_some_and(String::is_empty) {
            answer.pop();
        }
        answer
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What it has started ends with it.
        writeln!(self.commands, "kill -9 $(jobs -p); exit").ok();
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The terminals of clients, and which of their lines have been looked at.
#[derive(Default)]
struct Terminals(Vec<(Process, Vec<bool>)>);

impl Terminals {
    fn open(&mut self, mut shell: Command, command: &str) {
        // Who types nothing has a terminal nevertheless.
        let words = format!("tail --pid=$$ -f /dev/null | {command}");
        self.0
            .push((Process::start(shell.args(["-c", &words])), Vec::new()));
    }

    /// Whether `shown` has been told to one of them, which counts once.
    fn have(&mut self, shown: &str) -> bool {
        self.0.iter_mut().any(|(process, looked)| {
            let output = process.output();
            let lines: Vec<_> = output.lines().collect();
            looked.resize(lines.len(), false);
            let mut new = lines.iter().zip(looked).filter(|(_, looked)| !**looked);
            let found = new.find(|(line, _)| is_like(line, shown));
            found.map(|(_, looked)| *looked = true).is_some()
        })
    }

    fn said(&self) -> String {
        self.0.iter().map(|(process, _)| process.output()).collect()
    }
}

/// The guide with what is its own in this test.
fn here(binary: &Path, wscat: &Path, ports: &[(u16, u16)]) -> String {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/cluster.yaml");
    let wscat = wscat.join("node_modules/.bin/wscat");
    let mut guide = GUIDE
        .replace("target/debug/tidegate", &binary.display().to_string())
        .replace("config/cluster.yaml", &config.display().to_string())
        .replace(
            "tests/tools/node_modules/.bin/wscat",
            &wscat.display().to_string(),
        );
    for (usual, port) in ports {
        guide = guide.replace(&format!("127.0.0.1:{usual}"), &format!("127.0.0.1:{port}"));
    }
    guide
}

/// Types a command until it says that.
async fn types(typed: &mut Shell, command: &str, shown: &[String], terminals: &Terminals) {
    // Whoever only looks may do so again.
    let may_look_again =
        !command.contains(" -d ") && (command.starts_with("curl ") || command.starts_with("grep "));
    let begun = std::time::Instant::now();
    loop {
        let said = typed.run(command).await;
        let mut pairs = said.iter().zip(shown);
        if said.len() == shown.len() && pairs.all(|(said, shown)| is_like(said, shown)) {
            return;
        }
        let is_over = !may_look_again || begun.elapsed() > LONG;
        assert!(!is_over, "{command}: {said:#?}\n{}", terminals.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn every_command_of_the_guide_does_what_stands_there() {
    let test = "every_command_of_the_guide";
    let Some(wscat) = tools::node_package(test, "wscat") else {
        return;
    };
    let (Some(binary), Some(_), Some(_)) = (
        tools::tidegate_with(test, "kafka"),
        tools::tidegate_with(test, "redis"),
        tools::program(test, "curl"),
    ) else {
        return;
    };
    let (Some(brokers), Some(registry), Some(redis)) = (
        Kafka::shared(test).await,
        Registry::shared(test).await,
        Redis::start(test).await,
    ) else {
        return;
    };
    let ports = [8080, 8090, 9900, 9901].map(|usual| (usual, spare_port()));
    let guide = here(&binary, &wscat, &ports);
    let place = Scratch::new();
    let topics = ["PUSH", "USER_CONNECT", "USER_DISCONNECT", "SESSIONS"].map(|name| {
        (
            format!("TIDEGATE__BUS__TOPICS__{name}"),
            kafka::topic("guide"),
        )
    });
    let shell = || {
        let mut command = Command::new("bash");
        command.current_dir(place.path());
        command.env("BIND", format!("127.0.0.1:{}", ports[0].1));
        command.env("ADMIN", format!("127.0.0.1:{}", ports[2].1));
        command.env("KAFKA", brokers.brokers());
        command.env("REGISTRY", registry.url());
        command.env("REDIS", format!("redis://{}", redis.node().address()));
        command.env("TIDEGATE__CLUSTER__REDIS__LEASE", "6s");
        command.envs(topics.clone());
        command
    };
    let mut typed = Shell::open(shell());
    let mut terminals = Terminals::default();
    let mut by_hand = BY_HAND.iter();
    for step in steps(&guide) {
        match step {
            Step::Command(command, _)
                if command.starts_with("git ") || command.starts_with("cargo ") =>
            {
                assert_eq!(Some(&&*command), by_hand.next());
            }
            Step::Command(command, _)
                if command.contains("wscat") || command.contains("curl -sN") =>
            {
                terminals.open(shell(), &command);
            }
            Step::Command(command, shown) => {
                types(&mut typed, &command, &shown, &terminals).await;
            }
            Step::Told(shown) => {
                let mut is_told = || terminals.have(&shown);
                eventually_within(LONG, &shown, &mut is_told).await;
            }
        }
    }
    assert_eq!(by_hand.next(), None, "five commands with the two nodes");
}
