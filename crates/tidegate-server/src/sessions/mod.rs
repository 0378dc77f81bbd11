//! `tidegate sessions` and `tidegate users`: what WebSockets does a running gateway have, whose are they,
//! and an end to them.

pub(crate) mod client;
mod tls;
mod users;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use self::client::{Client, encoded};
pub(crate) use self::users::users;
use crate::cli::{SessionsCommand, SessionsKillArgs, SessionsLsArgs};
use crate::out;

/// Sessions that are asked for at once.
const PAGE: usize = 1000;

pub(crate) fn sessions(command: &SessionsCommand) -> anyhow::Result<ExitCode> {
    match command {
        SessionsCommand::Ls(args) => ls(args),
        SessionsCommand::Kill(args) => kill(args),
    }
}

fn ls(args: &SessionsLsArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.admin)?;
    let mut filter = String::new();
    let filters = [
        ("user", &args.user),
        ("route", &args.route),
        ("service", &args.service),
        ("address", &args.address),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            filter.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let mut cursor = String::new();
    let mut headings = (!args.json).then(|| row(&HEADINGS.map(str::to_owned)));
    loop {
        let target = format!("/v1/sessions?limit={PAGE}{filter}{cursor}");
        let page = client.ask("GET", &target, None)?.expect(200)?;
        let sessions = page["sessions"].as_array();
        let sessions = sessions.context("the answer is none of an admin listener of Tidegate")?;
        let sessions = sessions.iter().map(|session| match args.json {
            true => session.to_string(),
            false => row(&cells(session)),
        });
        let lines = headings.take().into_iter().chain(sessions);
        let lines: String = lines.map(|line| line + "\n").collect();
        let is_read = out::lines(&lines).context("the list cannot be written")?;
        match page["next_cursor"].as_str().filter(|_| is_read) {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn kill(args: &SessionsKillArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.admin)?;
    let target = format!("/v1/sessions/{}", encoded(&args.id));
    let said = json!({ "code": args.code, "reason": args.reason });
    let answer = client.ask("DELETE", &target, Some(&said))?;
    let is_known = match answer.status {
        202 => answer.body["id"].is_string(),
        404 => answer.body["code"] == "no_session",
        _ => answer.body["code"].is_string(),
    };
    if !is_known {
        bail!(
            "there is no admin listener of Tidegate at {}",
            client.host()
        );
    }
    answer.expect(202)?;
    Ok(ExitCode::SUCCESS)
}

const HEADINGS: [&str; 9] = [
    "ID", "ROUTE", "SERVICE", "CLIENT", "AGE", "IDLE", "IN", "OUT", "PATH",
];

fn cells(session: &Value) -> [String; 9] {
    let text = |name: &str| match &session[name] {
        Value::String(text) => text.replace(char::is_control, "?"),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let seconds = |name: &str| format!("{}s", text(name));
    let messages = |name: &str| format!("{} msgs", text(name));
    [
        text("id"),
        text("route"),
        text("service"),
        text("client"),
        seconds("age_seconds"),
        seconds("idle_seconds"),
        messages("msgs_in"),
        messages("msgs_out"),
        text("path"),
    ]
}

fn row([id, route, service, client, age, idle, sent, got, path]: &[String; 9]) -> String {
    format!(
        "{id:<18}  {route:<16}  {service:<16}  {client:<15}  {age:>8}  {idle:>8}  {sent:>12}  {got:>12}  {path}"
    )
}
