//! `tidegate push`: tells users something, by the admin listener of a running gateway.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::cli::PushArgs;
use crate::out;
use crate::sessions::client::Client;

/// The status of the process where it was called wrongly, as that of `clap`.
const WRONG_USAGE: u8 = 2;
/// The most bytes that are read of what is told.
const LONGEST: u64 = 1 << 20;

pub(crate) fn push(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let data = match data(&args.data, args.text)? {
        Ok(data) => data,
        Err(error) => {
            out::error(format_args!(
                "`--data` begins as JSON does and is none: {error}; with `--text` it is told as it is"
            ));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    let body = Value::Object(body(args, data));
    let client = Client::new(&args.admin)?;
    let target = match args.wait {
        true => "/v1/push?wait=ack",
        false => "/v1/push",
    };
    let key = args.idempotency_key.as_deref();
    let fields = key.map(|key| ("Idempotency-Key", key));
    let answer = client.ask_with("POST", target, fields, Some(&body))?;
    let is_known = match answer.status {
        202 => answer.body["event_id"].is_string(),
        _ => answer.body["code"].is_string(),
    };
    if !is_known {
        bail!(
            "there is no admin listener of Tidegate at {}",
            client.host()
        );
    }
    let pushed = answer.expect(202)?;
    out::lines(&format!("{pushed}\n")).context("what became of it cannot be written")?;
    Ok(ExitCode::SUCCESS)
}

fn body(args: &PushArgs, data: Value) -> Map<String, Value> {
    let mut body = Map::new();
    let mut say = |name: &str, value: Value| body.insert(name.to_owned(), value);
    for (name, names) in [
        ("user", &args.user),
        ("session", &args.session),
        ("room", &args.room),
    ] {
        if !names.is_empty() {
            say(name, json!(names));
        }
    }
    if args.all {
        say("all", true.into());
    }
    say("event", args.event.as_str().into());
    say("data", data);
    for (name, text) in [("source", &args.source), ("key", &args.conflate_key)] {
        if let Some(text) = text {
            say(name, text.as_str().into());
        }
    }
    if args.live {
        say("class", "live".into());
    }
    body
}

/// JSON, or else a text; a text in any case where `is_text`. What begins as an object or an array does, and
/// is none, was cut somewhere.
fn data(text: &str, is_text: bool) -> anyhow::Result<Result<Value, serde_json::Error>> {
    let mut read = String::new();
    let text = if text == "-" {
        let stdin = std::io::stdin().take(LONGEST + 1).read_to_string(&mut read);
        stdin.context("cannot read what is told from standard input")?;
        if read.len() as u64 > LONGEST {
            bail!("what is told is longer than {LONGEST} bytes");
        }
        read.as_str()
    } else {
        text
    };
    if is_text {
        return Ok(Ok(text.into()));
    }
    Ok(match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.trim_start().starts_with(['{', '[']) => Err(error),
        Err(_text) => Ok(text.into()),
    })
}
