//! The registry of schemas: ids of those that we write with, and the schemas of ids that others wrote.
//! Whatever it has said once is never asked again, for an id's schema does not change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apache_avro::Schema;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::avro::Kind;
use super::bounded::bounded;
use super::http::Client;
use super::troubles::{About, Troubles};

/// How long it is believed that there is no schema of an id.
const MISSING_FOR: Duration = Duration::from_secs(30);
/// How long after a failure the registry is asked again at the earliest.
const AWAY_FOR: Duration = Duration::from_secs(1);
/// Ids that are remembered: more than any registry has for a few topics.
const MOST_IDS: usize = 10_000;

/// Why there is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSchema {
    /// There is none, or it is no Avro.
    #[error("{0}")]
    Missing(Arc<str>),
    /// The registry has not said; it may be asked again.
    #[error("the registry of schemas does not answer: {0}")]
    Away(Arc<str>),
}

/// A schema to write with.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) id: u32,
    pub(super) schema: Schema,
}

pub(super) type Told<T> = Result<Arc<T>, NoSchema>;
pub(super) type Asked<T> = Shared<BoxFuture<'static, Told<T>>>;

/// What was asked for, and when; all who ask meanwhile wait for one answer.
struct Question<T> {
    asked: Asked<T>,
    since: Instant,
}

type Questions<K, T> = Mutex<HashMap<K, Question<T>>>;

/// A registry with Confluent's API.
pub(super) struct Registry {
    server: Arc<Server>,
    /// Whether schemas are registered that are not there.
    registers: bool,
    /// Where it is asked, whoever waits for the answer.
    runtime: Handle,
    schemas: Questions<u32, Schema>,
    writers: Questions<(Box<str>, Kind), Writer>,
}

impl Registry {
    pub(super) fn new(
        client: Client,
        registers: bool,
        runtime: Handle,
        troubles: Troubles,
    ) -> Self {
        Self {
            server: Arc::new(Server { client, troubles }),
            registers,
            runtime,
            schemas: Mutex::default(),
            writers: Mutex::default(),
        }
    }

    /// The schema that is called `id`.
    ///
    /// # Errors
    /// When there is none, or the registry does not say.
    pub(super) fn schema(&self, id: u32) -> Asked<Schema> {
        let server = Arc::clone(&self.server);
        self.ask(&self.schemas, id, async move {
            let path = format!("/schemas/ids/{id}");
            let said = server.ask(Method::GET, &path, None).await?;
            parse(&said.schema()?)
        })
    }

    /// The schema with which a value of this kind is written to `subject`.
    ///
    /// # Errors
    /// When there is none and none may be registered, or the registry does not say.
    pub(super) fn writer(&self, subject: &str, kind: Kind) -> Asked<Writer> {
        let (server, registers) = (Arc::clone(&self.server), self.registers);
        let subject: Box<str> = subject.into();
        let key = (subject.clone(), kind);
        self.ask(&self.writers, key, async move {
            find(&server, &subject, kind, registers).await
        })
    }

    /// The same, where it is known by now.
    pub(super) fn known_writer(&self, subject: &str, kind: Kind) -> Option<Arc<Writer>> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let question = writers.get(&(subject.into(), kind))?;
        if let Some(told) = question.asked.peek() {
            return told.as_ref().ok().cloned();
        }
        // The answer is there once somebody has looked.
        question.asked.clone().now_or_never()?.ok()
    }

    fn ask<K: std::hash::Hash + Eq, T: Send + Sync + 'static>(
        &self,
        questions: &Questions<K, T>,
        key: K,
        answer: impl Future<Output = Told<T>> + Send + 'static,
    ) -> Asked<T> {
        let mut questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = questions.get(&key)
            && question.is_good()
        {
            return question.asked.clone();
        }
        if questions.len() >= MOST_IDS {
            questions.clear();
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Whoever asked first may be gone before the answer comes.
        self.runtime.spawn(async move {
            let _ = sender.send(answer.await);
        });
        let asked = receiver.map(|told| {
            told.unwrap_or_else(|_ended| Err(NoSchema::Away("the gateway ends".into())))
        });
        let asked = asked.boxed().shared();
        let since = Instant::now();
        let question = Question {
            asked: asked.clone(),
            since,
        };
        questions.insert(key, question);
        asked
    }
}

impl<T> Question<T> {
    fn is_good(&self) -> bool {
        match self.asked.peek() {
            None | Some(Ok(_)) => true,
            Some(Err(NoSchema::Missing(_))) => self.since.elapsed() < MISSING_FOR,
            Some(Err(NoSchema::Away(_))) => self.since.elapsed() < AWAY_FOR,
        }
    }
}

/// What the registry answers, as far as it is looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    id: Option<u32>,
    schema: Option<String>,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    message: Option<String>,
}

/// What answers 200 with something else is not the registry, perhaps what stands before it.
fn garbled() -> NoSchema {
    NoSchema::Away("its answer is not that of a registry".into())
}

impl Said {
    fn id(&self) -> Result<u32, NoSchema> {
        self.id.ok_or_else(garbled)
    }

    fn schema(self) -> Result<String, NoSchema> {
        self.schema.ok_or_else(garbled)
    }
}

async fn find(server: &Server, subject: &str, kind: Kind, registers: bool) -> Told<Writer> {
    let body = json!({ "schema": kind.written() });
    let subjects = format!("/subjects/{subject}");
    let path = match registers {
        true => &format!("{subjects}/versions"),
        false => &subjects,
    };
    let ours = server.ask(Method::POST, path, Some(&body)).await;
    let refused = match ours {
        Ok(said) => {
            let schema = super::avro::schema_of(kind);
            let schema = schema.map_err(|error| NoSchema::Missing(error.into()))?;
            let (id, schema) = (said.id()?, schema.clone());
            return Ok(Arc::new(Writer { id, schema }));
        }
        Err(NoSchema::Missing(refused)) => refused,
        Err(away) => return Err(away),
    };
    // Whoever registered it first may have written it another way.
    let latest = format!("{subjects}/versions/latest");
    let latest = server.ask(Method::GET, &latest, None).await;
    let said = latest.map_err(|error| match error {
        NoSchema::Missing(_) => NoSchema::Missing(refused),
        away @ NoSchema::Away(_) => away,
    })?;
    let id = said.id()?;
    let schema = Schema::parse_str(&said.schema()?);
    let schema = schema.map_err(|error| NoSchema::Missing(error.to_string().into()))?;
    Ok(Arc::new(Writer { id, schema }))
}

fn parse(text: &str) -> Told<Schema> {
    let parsed = std::panic::catch_unwind(|| Schema::parse_str(text));
    let parsed = parsed.map_err(|_panic| NoSchema::Missing("its schema is none".into()))?;
    let schema = parsed
        .map_err(|error| NoSchema::Missing(format!("its schema is no Avro: {error}").into()))?;
    bounded(&schema).map_err(|why| NoSchema::Missing(why.into()))?;
    Ok(Arc::new(schema))
}

/// Where the registry is.
struct Server {
    client: Client,
    troubles: Troubles,
}

impl Server {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Said, NoSchema> {
        let answer = self.answer(method, path, body).await;
        match &answer {
            Err(NoSchema::Away(why)) => {
                // Once, however many ask it meanwhile.
                if self.troubles.begin(&About::Registry, why) {
                    tracing::warn!(%why, path, "the registry of schemas is of no use");
                }
            }
            Err(NoSchema::Missing(why)) => {
                tracing::warn!(%why, path, "the registry of schemas refuses");
            }
            Ok(_) => {
                if self.troubles.end(&About::Registry).is_some() {
                    tracing::info!("the registry of schemas is back");
                }
            }
        }
        answer
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Said, NoSchema> {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let asked = self.client.ask(method, path, body).await;
        let (status, body) = asked.map_err(|error| NoSchema::Away(error.to_string().into()))?;
        let said = serde_json::from_slice::<Said>(&body);
        match said {
            Ok(said) if status.is_success() => match said.kind.as_deref() {
                None | Some("AVRO") => Ok(said),
                Some(other) => Err(NoSchema::Missing(format!("its schema is {other}").into())),
            },
            Err(_) if status.is_success() => Err(garbled()),
            said => {
                let message = said.ok().and_then(|said| said.message);
                let message = format!("{status} {}", message.unwrap_or_default());
                let message = message.trim().into();
                Err(match is_final(status) {
                    true => NoSchema::Missing(message),
                    false => NoSchema::Away(message),
                })
            }
        }
    }
}

/// Whether the same request is refused again. A password may be set right, and a server put right.
fn is_final(status: StatusCode) -> bool {
    let may_pass = matches!(
        status.as_u16(),
        401 | 403 | 407 | 408 | 421 | 425 | 426 | 429
    );
    status.is_client_error() && !may_pass
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tidegate::authority::Authority;
    use tidegate::config::Secret;
    use tidegate::config::plan::{BusTls, EndpointPlan, RegistryPlan};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A registry that answers each request with the status and the body that are made of its head.
    async fn registry(
        registers: bool,
        answer: impl Fn(&str) -> (u16, String) + Send + 'static,
    ) -> (Registry, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        Handle::current().spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.split("\r\n").next());
                let length = length.map_or(0, |length| length.parse().unwrap());
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                let (status, body) = answer(&head);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} Any\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let plan = RegistryPlan {
            endpoint: EndpointPlan {
                authority: Authority::parse(format!("127.0.0.1:{port}").as_bytes()).unwrap(),
                path: "/base".into(),
                is_tls: false,
                weight: 1,
            },
            user: Some(("alice".into(), Secret::new("secret"))),
            tls: BusTls::default(),
            register: registers,
        };
        let client = Client::new(&plan).unwrap();
        let troubles = Troubles::default();
        (
            Registry::new(client, registers, Handle::current(), troubles),
            asked,
        )
    }

    #[tokio::test]
    async fn who_asks_for_one_schema_at_once_asks_once_and_says_who_it_is() {
        let (registry, asked) = registry(true, |head| {
            assert!(
                head.starts_with("GET /base/schemas/ids/7 HTTP/1.1\r\n"),
                "{head}"
            );
            assert!(
                head.contains("authorization: Basic YWxpY2U6c2VjcmV0\r\n"),
                "{head}"
            );
            (200, r#"{"schema":"\"string\""}"#.to_owned())
        })
        .await;
        let told = join_all((0..20).map(|_| registry.schema(7))).await;
        assert!(
            told.iter()
                .all(|told| matches!(told.as_deref(), Ok(Schema::String)))
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_not_is_not_asked_for_all_the_time() {
        let (registry, asked) = registry(true, |head| match head.contains("/ids/1 ") {
            true => (404, r#"{"error_code":40403,"message":"none"}"#.to_owned()),
            false => (500, String::new()),
        })
        .await;
        for (id, pause) in [(1, MISSING_FOR), (2, AWAY_FOR)] {
            let before = asked.load(Ordering::Relaxed);
            for _ in 0..3 {
                let told = registry.schema(id).await;
                let is_missing = matches!(told, Err(NoSchema::Missing(_)));
                assert_eq!(is_missing, id == 1, "{told:?}");
            }
            assert_eq!(asked.load(Ordering::Relaxed), before + 1);
            tokio::time::advance(pause).await;
            assert!(registry.schema(id).await.is_err());
            assert_eq!(asked.load(Ordering::Relaxed), before + 2);
        }
    }

    /// Something stands before it that says 200 to all, or it has gone wrong itself.
    #[tokio::test(start_paused = true)]
    async fn what_is_no_answer_of_a_registry_is_not_believed() {
        for body in ["{}", r#"{"status":"maintenance"}"#, "<html>"] {
            let (registry, _) = registry(true, move |_| (200, body.to_owned())).await;
            let told = registry.schema(7).await;
            assert!(matches!(told, Err(NoSchema::Away(_))), "{body} {told:?}");
            let told = registry.writer("t-key", Kind::Text).await;
            assert!(matches!(told, Err(NoSchema::Away(_))), "{body} {told:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_be_let_in_later_is_asked_again_and_what_is_wrong_is_not() {
        for (status, is_final) in [
            (400, true),
            (401, false),
            (403, false),
            (404, true),
            (410, true),
            (422, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let (registry, _) = registry(true, move |_| (status, String::new())).await;
            let told = registry.schema(7).await;
            assert_eq!(
                matches!(told, Err(NoSchema::Missing(_))),
                is_final,
                "{status} {told:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_schema_that_recurses_is_none() {
        let text = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
        let answer = json!({ "schema": text }).to_string();
        let (registry, _) = registry(true, move |_| (200, answer.clone())).await;
        let told = registry.schema(7).await;
        assert!(matches!(told, Err(NoSchema::Missing(_))), "{told:?}");
    }

    /// Whoever registered it may have written it another way, or more than one of us may not.
    #[tokio::test]
    async fn a_subject_whose_schema_is_not_ours_is_written_as_it_says() {
        let (registry, _) = registry(false, |head| {
            let latest = r#"{"id":9,"schema":"{\"type\":\"string\",\"mark\":1}"}"#;
            match head.starts_with("GET /base/subjects/t-key/versions/latest ") {
                true => (200, latest.to_owned()),
                false => {
                    assert!(
                        head.starts_with("POST /base/subjects/t-key HTTP/1.1"),
                        "{head}"
                    );
                    (404, r#"{"error_code":40403}"#.to_owned())
                }
            }
        })
        .await;
        assert!(registry.known_writer("t-key", Kind::Text).is_none());
        let writer = registry.writer("t-key", Kind::Text).await.unwrap();
        assert_eq!(writer.id, 9);
        assert_eq!(registry.known_writer("t-key", Kind::Text).unwrap().id, 9);
    }
}
