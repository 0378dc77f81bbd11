//! Tokens taken back before their end.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::query::bad;
use super::sessions::{no_session, whole};
use super::view::View;
use super::{everywhere, scope};
use crate::auth::{Full, Revoked};
use crate::cluster::{Answers, Order};
use crate::session::Cause;
use crate::worker::Worker;

/// The most bytes of what is said about it: the longest token has 16 KiB.
const MOST_SAID: usize = 32 * 1024;
/// The longest name of a token, or of a user.
const LONGEST_NAME: usize = 256;
/// The longest that a caller is told to wait for room.
const SOON: Duration = Duration::from_secs(300);
/// The end of the year 9999.
const LATEST: u64 = 253_402_300_799;

const SHAPE: &str = "the body is no JSON object of one of `token`, `token_sha256`, `jti`, `session` and \
                     `user`, each a text, and `exp`, a number";

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Asked {
    what: What,
    /// When the token ends, where the caller knows that.
    ends: Option<SystemTime>,
}

#[derive(Debug, PartialEq)]
enum What {
    Revoked(Revoked),
    Session(String),
}

/// `POST /v1/tokens/revoke`.
pub(super) async fn revoke(State(view): State<Arc<View>>, body: Body) -> Result<Response, Problem> {
    let said = to_bytes(body, MOST_SAID)
        .await
        .map_err(|_too_long| bad("the body is cut, or longer than 32768 bytes"))?;
    let Asked { what, ends } = asked(&said, SystemTime::now())?;
    let Some((worker, _)) = view.workers.first() else {
        return Err(no_session());
    };
    let TakenBack {
        ended,
        stored,
        elsewhere,
    } = match what {
        What::Revoked(what) => take_back(&view, worker, &what, ends).await,
        What::Session(id) => {
            let known = id.parse().map_err(|_no_id| no_session())?;
            let handle = worker.all_sessions().find(known).map(|(handle, _)| handle);
            if let Some(handle) = &handle {
                handle.order(Cause::TokenRevoked);
            }
            let kept = view.push.forget_session(known);
            if handle.is_none() && kept.is_none() {
                return everywhere::revoke(&view, &id).await;
            }
            let identity = handle.as_ref().and_then(|handle| handle.identity());
            let identity = identity.or(kept.flatten());
            let token = identity.as_ref().and_then(|one| Some((*one.token()?, one)));
            let alone = usize::from(handle.is_some());
            match token {
                Some((token, identity)) => {
                    let what = Revoked::Token(token);
                    let done = take_back(&view, worker, &what, identity.expires()).await;
                    let ended = done.ended.max(alone);
                    TakenBack { ended, ..done }
                }
                None => TakenBack {
                    ended: alone,
                    stored: Ok(()),
                    elsewhere: None,
                },
            }
        }
    };
    tracing::info!(
        sessions = ended,
        is_kept = stored.is_ok(),
        "tokens are revoked by an admin"
    );
    stored.map_err(|full| no_room(full, ended))?;
    let mut answer = json!({ "sessions": ended });
    if let Some(answers) = elsewhere {
        answer["nodes"] = scope::nodes(answers);
    }
    Ok(Json(answer).into_response())
}

/// What came of a revocation.
struct TakenBack {
    /// How many sessions are being closed, on all nodes that have answered.
    ended: usize,
    /// Whether it is kept.
    stored: Result<(), Full>,
    /// What the other nodes say, where there are some.
    elsewhere: Option<Answers>,
}

/// Revokes something everywhere, and ends what is open by it, whether there is room for the revocation or not.
async fn take_back(
    view: &View,
    worker: &Worker,
    what: &Revoked,
    ends: Option<SystemTime>,
) -> TakenBack {
    let revocations = worker.authenticator().revocations();
    let stored = revocations.add(what.clone(), ends);
    let ended = worker.all_sessions().end_revoked(what).await;
    // Behind them, so that none that ends meanwhile is kept.
    view.push.forget_those(&|identity| what.takes(identity));
    // The store tells it to all; whoever is asked has it at once, and says so.
    let elsewhere = view.order(Order::revoke(what, ends)).await;
    let there = elsewhere.map_or(0, |answers| {
        usize::try_from(answers.count).unwrap_or(usize::MAX)
    });
    TakenBack {
        ended: ended.saturating_add(there),
        stored,
        elsewhere,
    }
}

/// That what was revoked is not kept, though `ended` sessions are being closed.
fn no_room(full: Full, ended: usize) -> Problem {
    let soon = full.room_in.filter(|room_in| *room_in <= SOON);
    let advice = match soon {
        Some(_) => "some of them end soon: ask again",
        None => {
            "none of them ends soon: raise `auth.jwt.revocations.max_entries`, and give `exp` or \
             configure `keep`, so that revocations end"
        }
    };
    let detail = format!(
        "{ended} sessions are being closed, but the revocation is not kept, so the tokens open others: \
         there are as many in force as there may be, and {advice}"
    );
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "revocations_full", detail);
    let problem = problem.beside("sessions", ended.into());
    match soon {
        Some(room_in) => problem.again_in(room_in),
        None => problem.for_good(),
    }
}

fn asked(body: &[u8], now: SystemTime) -> Result<Asked, Problem> {
    let Ok(Value::Object(mut said)) = serde_json::from_slice(body) else {
        return Err(bad(SHAPE));
    };
    let ends = match said.remove("exp") {
        None | Some(Value::Null) => None,
        Some(exp) => {
            let seconds = whole(&exp, LATEST).ok_or_else(|| bad("`exp` is seconds since 1970"))?;
            Some(UNIX_EPOCH + Duration::from_secs(seconds))
        }
    };
    let (kind, name) = only(said)?;
    let text = name.trim_ascii();
    if name.is_empty() || kind != "token" && name.chars().count() > LONGEST_NAME {
        return Err(bad(
            "what is to be revoked is empty, or longer than any can be",
        ));
    }
    let revoked = match &*kind {
        "token" => {
            let ends = ends.or_else(|| Revoked::end_of(text));
            let what = What::Revoked(Revoked::token(text));
            return Ok(Asked { what, ends });
        }
        "token_sha256" => {
            let digest = digest(text);
            Revoked::Token(digest.ok_or_else(|| bad("`token_sha256` is 64 hexadecimal digits"))?)
        }
        "jti" => Revoked::Id(name.into()),
        "user" => Revoked::User(name.into(), now),
        "session" => {
            let what = What::Session(name);
            return Ok(Asked { what, ends });
        }
        _ => return Err(bad(SHAPE)),
    };
    let what = What::Revoked(revoked);
    Ok(Asked { what, ends })
}

/// The only member.
fn only(said: Map<String, Value>) -> Result<(String, String), Problem> {
    let mut said = said.into_iter();
    match (said.next(), said.next()) {
        (Some((kind, Value::String(name))), None) => Ok((kind, name)),
        _ => Err(bad(SHAPE)),
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_revoked_at_a_time() {
        let now = SystemTime::now();
        let of = |body: &str| asked(body.as_bytes(), now).ok();
        let revoked = |what, ends| {
            let what = What::Revoked(what);
            Some(Asked { what, ends })
        };
        let at = |second| Some(UNIX_EPOCH + Duration::from_secs(second));
        let token = of(r#"{"token":" a.eyJleHAiOjEwMDB9.c\n"}"#);
        assert_eq!(
            token,
            revoked(Revoked::token("a.eyJleHAiOjEwMDB9.c"), at(1060))
        );
        let digest = format!(r#"{{"token_sha256":"{}","exp":5}}"#, "0aB1".repeat(16));
        let expected = std::array::from_fn(|place| [0x0a, 0xb1][place % 2]);
        assert_eq!(of(&digest), revoked(Revoked::Token(expected), at(5)));
        assert_eq!(
            of(r#"{"jti":"x","exp":null}"#),
            revoked(Revoked::Id("x".into()), None)
        );
        let user = revoked(Revoked::User("bro".into(), now), None);
        assert_eq!(of(r#"{"user":"bro"}"#), user);
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"exp":1}"#,
            r#"{"user":1}"#,
            r#"{"user":""}"#,
            r#"{"user":"a","jti":"b"}"#,
            r#"{"name":"a"}"#,
            r#"{"jti":"a","exp":-1}"#,
            r#"{"jti":"a","exp":"soon"}"#,
            r#"{"jti":"a","exp":1e300}"#,
            r#"{"token_sha256":"0a"}"#,
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
