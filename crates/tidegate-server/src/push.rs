//! `tidegate push`: tells users something, by the admin listener of a running gateway.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::cli::PushArgs;
use crate::out;
use crate::sessions::client::Client;

/// The most bytes that are read of what is told.
const LONGEST: u64 = 1 << 20;

pub(crate) fn push(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.admin)?;
    let body = Value::Object(body(args)?);
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

fn body(args: &PushArgs) -> anyhow::Result<Map<String, Value>> {
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
    say("data", data(&args.data)?);
    for (name, text) in [("source", &args.source), ("key", &args.conflate_key)] {
        if let Some(text) = text {
            say(name, text.as_str().into());
        }
    }
    if args.live {
        say("class", "live".into());
    }
    Ok(body)
}

/// JSON, or else a text.
fn data(text: &str) -> anyhow::Result<Value> {
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
    Ok(serde_json::from_str(text).unwrap_or_else(|_text| text.into()))
}
