//! What is told of sessions and users, as it happens: a stream of lines, each a JSON object.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::listen::Lasting;
use super::problem::Problem;
use super::query::{self, bad};
use super::view::View;
use crate::bus::{Received, Subscription};
use crate::presence::Teller;

/// Streams at one time.
const MOST_STREAMS: usize = 16;
/// How often a line comes, be it empty, so that a peer that is gone is found.
const PERIOD: Duration = Duration::from_secs(15);
/// About how many bytes go into one piece.
const PIECE: usize = 16 * 1024;

/// Who looks on.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

impl Streams {
    /// `GET /v1/events`.
    pub(super) async fn follow(
        self,
        State(view): State<Arc<View>>,
        RawQuery(query): RawQuery,
    ) -> Result<Response, Problem> {
        let [kind] = query::parse(query.as_deref(), ["kind"])?;
        let teller = view.directory().teller();
        let topics = teller.topics();
        let (of_users, of_sessions) = (
            [&*topics.user_connect, &*topics.user_disconnect],
            [&*topics.sessions],
        );
        let topics = match kind.as_deref() {
            None => [&of_sessions[..], &of_users[..]].concat(),
            Some("session") => of_sessions.to_vec(),
            Some("user") => of_users.to_vec(),
            Some(_) => return Err(bad("`kind` is `session` or `user`")),
        };
        let permit = self.0.try_acquire_owned().map_err(|_none_left| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_streams",
                "as many look on as may",
            )
        })?;
        let mut beat = interval(PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let lines = Lines {
            subscription: teller.bus().subscribe_to(&topics),
            over: Over::new(teller),
            beat,
            _permit: permit,
        };
        let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
        let mut response = (kind, Body::from_stream(lines)).into_response();
        response.extensions_mut().insert(Lasting);
        Ok(response)
    }
}

/// The end of all telling.
struct Over(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Over {
    fn new(teller: &Arc<Teller>) -> Self {
        Self(Box::pin(teller.over()))
    }
}

/// The lines for one who looks on.
struct Lines {
    subscription: Subscription,
    over: Over,
    beat: Interval,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut text = String::new();
        // Asked first, because what is told until then is there to be received.
        let is_over = self.over.0.as_mut().poll(cx).is_ready();
        let mut is_left = false;
        while text.len() < PIECE && !is_left {
            match self.subscription.poll_receive(cx) {
                Poll::Ready(Some(received)) => {
                    text.push_str(&told(&received).to_string());
                    text.push('\n');
                }
                Poll::Ready(None) => is_left = true,
                Poll::Pending => break,
            }
        }
        let is_due = self.beat.poll_tick(cx).is_ready();
        if !text.is_empty() {
            self.beat.reset();
            return Poll::Ready(Some(Ok(text.into())));
        }
        if is_over || is_left {
            return Poll::Ready(None);
        }
        if is_due {
            return Poll::Ready(Some(Ok(Bytes::from_static(b"\n"))));
        }
        Poll::Pending
    }
}

fn told(received: &Received) -> Value {
    match received {
        Received::Event(event) => event.to_json(),
        Received::Missed(count) => json!({ "type": "missed", "count": count }),
    }
}
