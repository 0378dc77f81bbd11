//! The document of the admin API, and whether answers are as it says.

mod schema;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::request::Request;
use crate::wire::Answer;

/// The document, as it is served.
pub const DOCUMENT: &str = include_str!("../../crates/tidegate/src/admin/openapi.json");

/// The same with every object closed: what it does not tell, no answer may have.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::from_str(DOCUMENT).unwrap();
    close(&mut document);
    document
});

/// Closes what lists its members.
fn close(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(members) => {
            members.values_mut().for_each(close);
            let is_listed = members.contains_key("type") && members.contains_key("properties");
            if is_listed && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        _ => {}
    }
}

/// Expects that `answer` to `request` is one that the document tells of.
///
/// # Panics
/// When it is not: its status, its kind, a field or the body is another.
pub fn expect_told(request: &Request, answer: &Answer) {
    if let Err(reason) = judge(request, answer) {
        panic!(
            "{} is not answered as openapi.json says: {reason}\n{:?}\n{}",
            request.start(),
            answer.head,
            answer.text()
        );
    }
}

fn judge(request: &Request, answer: &Answer) -> Result<(), String> {
    let mut words = request.start().split(' ');
    let (asked, target) = (words.next().unwrap(), words.next().unwrap());
    let method = match asked {
        "HEAD" => "get".to_owned(),
        other => other.to_lowercase(),
    };
    let status = answer.status().to_string();
    let told = match place(path(target)) {
        None => refusal(&status, "404"),
        Some(item) => match item.get(&method) {
            Some(operation) => operation["responses"].get(&status).cloned(),
            None => refusal(&status, "405"),
        },
    };
    let told = told.ok_or_else(|| format!("{status} is not told"))?;
    let told = resolved(&told);
    for (name, field) in told["headers"].as_object().into_iter().flatten() {
        let value = answer.head.field(name);
        if value.is_none() && field["required"] == false {
            continue;
        }
        let value = value.ok_or_else(|| format!("there is no {name}"))?;
        fits(&resolved(field)["schema"], &value.into())?;
    }
    if asked == "HEAD" {
        return Ok(());
    }
    let kind = answer.head.field("Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    if told["content"].is_null() && answer.body.is_empty() {
        return Ok(());
    }
    let content = told["content"].get(kind);
    let content = content.ok_or_else(|| format!("the kind {kind:?} is not told"))?;
    let body = if kind.ends_with("json") {
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?
    } else {
        Value::from(answer.text())
    };
    fits(&content["schema"], &body)
}

/// The path of a target, be that absolute or not, without its query.
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    target.split('?').next().unwrap_or_default()
}

/// What is told of a path.
fn place(path: &str) -> Option<&'static Map<String, Value>> {
    let paths = CLOSED["paths"].as_object().unwrap();
    let item = paths.get(path).or_else(|| {
        let mut templates = paths.iter().filter(|(template, _)| is_like(template, path));
        templates.next().map(|(_, item)| item)
    });
    item.and_then(Value::as_object)
}

/// Whether a path is one of those that a template with a `{name}` stands for.
fn is_like(template: &str, path: &str) -> bool {
    let (told, asked) = (template.split('/'), path.split('/'));
    template.contains('{')
        && told.clone().count() == asked.clone().count()
        && told
            .zip(asked)
            .all(|(told, asked)| match told.starts_with('{') {
                true => !asked.is_empty(),
                false => told == asked,
            })
}

/// What is told of a path or method that is not there: who may ask is judged first.
fn refusal(status: &str, usual: &str) -> Option<Value> {
    if status == usual {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        return Some(json!({ "content": { "application/problem+json": { "schema": schema } } }));
    }
    let others = [
        "BadRequest",
        "Unauthorized",
        "OriginNotAllowed",
        "ForeignHost",
    ];
    let mut others = others
        .map(|name| &CLOSED["components"]["responses"][name])
        .into_iter();
    let wanted: u16 = status.parse().ok()?;
    let schema = |one: &Value| one["content"]["application/problem+json"]["schema"].clone();
    let found = others.find(|one| schema(one)["properties"]["status"]["const"] == wanted);
    found.cloned()
}

/// What a value is, or what it refers to.
fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => named(reference),
        None => value,
    }
}

/// What a reference is to.
fn named(reference: &str) -> &'static Value {
    let pointer = reference.strip_prefix('#').unwrap();
    let found = CLOSED.pointer(pointer);
    found.unwrap_or_else(|| panic!("{reference} is nothing"))
}

fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    schema::judge(schema, value, &|reference| named(reference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use crate::wire::Framing;

    fn answer(head: &str, body: &str) -> Answer {
        Answer {
            head: Head::parse(format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()),
            body: body.into(),
            framing: Framing::Length,
            trailers: Vec::new(),
        }
    }

    fn judge(asked: &str, head: &str, body: &str) -> Result<(), String> {
        let (method, target) = asked.split_once(' ').unwrap();
        let head = head.replace('|', "\r\n");
        super::judge(&Request::new(method, target), &answer(&head, body))
    }

    const JSON: &str = "200 OK|Content-Type: application/json|Cache-Control: no-store";
    const TEXT: &str = "200 OK|Content-Type: text/plain; charset=utf-8|Cache-Control: no-store";
    const PROBLEM: &str = "404 Not Found|Content-Type: application/problem+json";

    #[test]
    fn what_is_told_is_expected() {
        let problem = |code: &str| {
            json!({
                "type": "urn:tidegate:problem:x", "title": "", "status": 404, "detail": "",
                "code": code, "source": "gateway", "retryable": false,
            })
            .to_string()
        };
        assert_eq!(judge("GET /livez", TEXT, "ok\n"), Ok(()));
        assert_eq!(judge("HEAD http://localhost/livez?x", TEXT, ""), Ok(()));
        assert_eq!(
            judge("GET /actuator/websocket", JSON, "{\"count\":1}"),
            Ok(())
        );
        assert_eq!(judge("GET /x", PROBLEM, &problem("not_found")), Ok(()));
        let told = PROBLEM.to_owned() + "|Cache-Control: no-store";
        let gone = problem("no_session");
        assert_eq!(judge("DELETE /v1/sessions/x", &told, &gone), Ok(()));
        for (asked, head, body) in [
            ("GET /livez", TEXT, "OK\n"),
            ("GET /livez", JSON, "\"ok\""),
            ("GET /livez", "200 OK|Content-Type: text/plain", "ok\n"),
            ("GET /livez", &TEXT.replace("200", "201"), "ok\n"),
            ("PUT /livez", TEXT, "ok\n"),
            ("GET /livez/", TEXT, "ok\n"),
            ("GET /actuator/websocket", JSON, "{\"count\":-1}"),
            ("GET /actuator/websocket", JSON, "{\"count\":1,\"more\":1}"),
            ("GET /actuator/websocket", JSON, "{}"),
            (
                "GET /v1/sessions",
                JSON,
                "{\"sessions\":[{}],\"next_cursor\":null}",
            ),
            (
                "GET /v1/sessions",
                JSON,
                "{\"sessions\":[],\"next_cursor\":\"x\"}",
            ),
            ("GET /x", PROBLEM, &problem("other")),
            ("DELETE /v1/sessions/x", &told, &problem("not_found")),
        ] {
            assert!(judge(asked, head, body).is_err(), "{asked}: {head} {body}");
        }
    }
}
