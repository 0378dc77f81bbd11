//! `tidegate users`: who is online, and an end to a user's sessions.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::PAGE;
use super::client::{Client, encoded};
use crate::cli::{UsersCommand, UsersKickArgs, UsersLsArgs};
use crate::out;

/// What answers is something else.
const NONE_OF_OURS: &str = "the answer is none of an admin listener of Tidegate";

pub(crate) fn users(command: &UsersCommand) -> anyhow::Result<ExitCode> {
    match command {
        UsersCommand::Ls(args) => ls(args),
        UsersCommand::Kick(args) => kick(args),
    }
}

fn ls(args: &UsersLsArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.admin)?;
    let mut cursor = String::new();
    let mut headings = (!args.json).then(|| row("USER", "SESSIONS"));
    loop {
        let target = format!("/v1/users?limit={PAGE}{cursor}");
        let page = client.ask("GET", &target, None)?.expect(200)?;
        let users = page["users"].as_array().context(NONE_OF_OURS)?;
        let users = users.iter().map(|user| match args.json {
            true => user.to_string(),
            false => cells(user),
        });
        let lines = headings.take().into_iter().chain(users);
        let lines: String = lines.map(|line| line + "\n").collect();
        let is_read = out::lines(&lines).context("the list cannot be written")?;
        match page["next_cursor"].as_str().filter(|_| is_read) {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn kick(args: &UsersKickArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.admin)?;
    let target = format!("/v1/users/{}/sessions", encoded(&args.user));
    let said = json!({ "code": args.code, "reason": args.reason });
    let answer = client.ask("DELETE", &target, Some(&said))?.expect(202)?;
    let count = answer["sessions"].as_u64().context(NONE_OF_OURS)?;
    out::line(&match count {
        1 => "1 session is ended".to_owned(),
        count => format!("{count} sessions are ended"),
    });
    Ok(ExitCode::SUCCESS)
}

fn cells(user: &Value) -> String {
    let name = user["user"].as_str().unwrap_or("-");
    let sessions = user["sessions"].as_u64().unwrap_or_default();
    row(&name.replace(char::is_control, "?"), &sessions.to_string())
}

fn row(user: &str, sessions: &str) -> String {
    format!("{user:<32}  {sessions:>8}")
}
