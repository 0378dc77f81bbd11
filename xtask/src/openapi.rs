//! The document of the admin API: a linter has nothing to say of it, and schemathesis, which asks for
//! whatever it tells and a lot that it does not, finds a gateway with open sessions as told.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::run::{Done, Run};
use crate::running::{Running, free_address};
use crate::{services, shell};

const DOCUMENT: &str = "crates/tidegate/src/admin/openapi.json";

/// How long the gateway may take until it listens.
const START: Duration = Duration::from_secs(20);

/// What does not hold by intention: a session that is ended is there until it has ended.
const NOT_JUDGED: &str = "use_after_free";
/// While the gateway drains it is not ready, and says so with 503. The document tells of no 500.
const NOT_JUDGED_DRAINING: &str = "use_after_free,not_a_server_error";

/// What tells users something. That a push has one shape and one kind of target, the schema does not say.
const PUSHES: [&str; 2] = ["push", "pushToUser"];
const NOT_JUDGED_OF_PUSHES: &str = "use_after_free,positive_data_acceptance";

pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    let tools = services::node_tools(run)
        .and_then(|tools| Ok((tools, services::python(run)?, services::schemathesis(run)?)));
    let (tools, python, schemathesis) = match tools {
        Ok(tools) => tools,
        Err(error) => return run.skip("openapi", &format!("{error:#}")),
    };
    lint(run, &tools)?;
    let folder = run.target.join("openapi");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut scene = Scene::set(run, &tools, &python, &folder)?;
    let ask = |examples: &str, arguments: &[&str]| {
        let url = format!("http://{}", scene.admin);
        let mut command = Command::new(&schemathesis);
        command.arg("run").arg(format!("{url}/openapi.json"));
        command.args(["--url", &url, "--seed", "4", "--no-color"]);
        command.args(["--warnings", "off", "--continue-on-failure"]);
        command.args(["--max-examples", examples]);
        shell::run(command.args(arguments).current_dir(&folder))
    };
    let drain = "beginDrain";
    // It has no end that could be waited for.
    let stream = "followEvents";
    let mut arguments = vec!["--exclude-checks", NOT_JUDGED];
    for operation in [drain, stream].iter().chain(&PUSHES) {
        arguments.extend(["--exclude-operation-id", *operation]);
    }
    ask("60", &arguments)?;
    // Nothing leads from one of them to another.
    let phases = "examples,coverage,fuzzing";
    let mut arguments = vec!["--exclude-checks", NOT_JUDGED_OF_PUSHES, "--phases", phases];
    for operation in PUSHES {
        arguments.extend(["--include-operation-id", operation]);
    }
    ask("60", &arguments)?;
    // Behind the rest, because a drain is never taken back.
    let mut arguments = vec!["--exclude-checks", NOT_JUDGED_DRAINING];
    for operation in [stream].iter().chain(&PUSHES) {
        arguments.extend(["--exclude-operation-id", *operation]);
    }
    ask("5", &arguments)?;
    scene.gateway.must_run()?;
    scene.sessions.must_run()?;
    Ok(Done::Passed)
}

/// Not a warning either.
fn lint(run: &Run, tools: &Path) -> anyhow::Result<()> {
    shell::which("node").context("no node")?;
    let mut command = Command::new(tools.join("node_modules/.bin/redocly"));
    command.args(["lint", DOCUMENT, "--format", "json"]);
    command.env("REDOCLY_TELEMETRY", "off");
    command.env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let output = command
        .current_dir(&run.root)
        .stderr(Stdio::null())
        .output();
    let output = output.context("cannot start redocly")?;
    let said: Value = serde_json::from_slice(&output.stdout).context("redocly says no JSON")?;
    let count = |kind: &str| said["totals"][kind].as_u64();
    if (count("errors"), count("warnings")) != (Some(0), Some(0)) {
        bail!("{DOCUMENT}: {:#}", said["problems"]);
    }
    println!("{DOCUMENT}: the linter has nothing to say");
    Ok(())
}

/// A gateway with sessions that are kept open.
struct Scene {
    admin: SocketAddr,
    gateway: Running,
    sessions: Running,
    /// They last as long as this.
    _input: ChildStdin,
}

impl Scene {
    fn set(run: &Run, tools: &Path, python: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (public, admin) = (free_address()?, free_address()?);
        let mut command = Command::new(python);
        command.arg(tools.join("open-sessions.py"));
        command.arg(public.port().to_string());
        let (sessions, input, said) = Running::start_talking("the sessions", &mut command)?;
        let mut said = BufReader::new(said).lines();
        let mut word = || {
            said.next()
                .context("the sessions ended")
                .and_then(|line| Ok(line?))
        };
        let upstream = word()?;
        let config = folder.join("tidegate.yaml");
        fs::write(&config, config_yaml(public, admin, &upstream))?;
        let log = File::create(folder.join("gateway.log"))?;
        let mut command = Command::new(run.gateway());
        command.args(["run", "--config"]).arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut gateway = Running::start("the gateway", &mut command)?;
        gateway.wait_for_port(public, START)?;
        word()?;
        Ok(Self {
            admin,
            gateway,
            sessions,
            _input: input,
        })
    }
}

/// One route of every kind that the API tells of, and a drain that does not end.
fn config_yaml(public: SocketAddr, admin: SocketAddr, upstream: &str) -> String {
    format!(
        "version: 1\n\
         workers: 2\n\
         listeners: [{{ name: public, bind: \"{public}\" }}]\n\
         admin:\n\
         \x20 bind: \"{admin}\"\n\
         \x20 aliases: [actuator_websocket, application_websockets]\n\
         \x20 kafka: {{ roles: publisher, topics: websocket-transport }}\n\
         auth: {{ jwt: {{ secret: a secret that is for nothing but this scene }} }}\n\
         drain: {{ delay: 10m }}\n\
         services: {{ echo: {{ endpoints: \"ws://127.0.0.1:{upstream}/\" }} }}\n\
         routes:\n\
         \x20 - {{ name: chat, match: {{ path: /chat/**, upgrade: websocket, headers: {{ X-A: {{ present: false }} }} }}, proxy: {{ service: echo }} }}\n\
         \x20 - {{ name: plain, match: {{ path: /plain, host: a.example, methods: GET, headers: {{ X-B: {{ regex: \"[a-z]+\" }}, X-C: exact }} }}, proxy: {{ service: echo }} }}\n\
         \x20 - {{ name: all, match: {{ path: \"/**\" }}, proxy: {{ service: echo }} }}\n"
    )
}
