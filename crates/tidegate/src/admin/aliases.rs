//! What users of other gateways ask for the sessions by, each behind a switch.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};

use super::access::KAFKA;
use super::api::Place;
use super::kafka;
use super::sessions::Cursor;
use super::view::View;
use crate::config::plan::{AdminAlias, KafkaPlan};
use crate::session::handle::Handle;

/// The paths of those that are switched on.
pub(super) fn places(aliases: &[AdminAlias], kafka: Option<&Arc<KafkaPlan>>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    if aliases.contains(&AdminAlias::ActuatorWebsocket) {
        places.push(("/actuator/websocket", get(actuator)));
        places.push(("/actuator/websocket/count", get(actuator_count)));
    }
    if aliases.contains(&AdminAlias::ApplicationWebsockets) {
        places.push(("/application/websockets", get(application)));
    }
    if let Some(plan) = kafka {
        places.push((KAFKA, kafka::place(Arc::clone(plan))));
    }
    places
}

async fn actuator(State(view): State<Arc<View>>) -> Response {
    Json(json!({ "count": view.census().sessions })).into_response()
}

async fn actuator_count(State(view): State<Arc<View>>) -> Response {
    Json(view.census().sessions).into_response()
}

/// All sessions in one array, made slice by slice as it is taken.
pub(super) async fn application(State(view): State<Arc<View>>) -> Response {
    let parts = stream::unfold(Some((Cursor::default(), "[")), move |state| {
        let part = state.map(|(cursor, before)| part(&view, cursor, before));
        async move { part.map(|(bytes, state)| (Ok::<_, std::convert::Infallible>(bytes), state)) }
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(parts)).into_response()
}

/// The next piece of the array, with what stands before its first item, and what comes behind it.
fn part<'s>(
    view: &View,
    cursor: Cursor,
    mut before: &'s str,
) -> (Bytes, Option<(Cursor, &'s str)>) {
    let Some(((handles, _), next)) = cursor.slice(view) else {
        let bare = if before == "[" { "[]" } else { "]" };
        return (Bytes::from_static(bare.as_bytes()), None);
    };
    let mut text = String::new();
    for handle in handles {
        text.push_str(before);
        let is_tls = view.has_tls(&handle.facts.listener);
        text.push_str(&application_session(&handle, is_tls));
        before = ",";
    }
    (text.into(), Some((next, before)))
}

/// Members in the order that those who read this are used to.
fn application_session(handle: &Handle, is_tls: bool) -> String {
    let facts = &handle.facts;
    let id = handle.id.to_string();
    let query = facts.query();
    let url = |is_tls: bool, host: &str, base: &str, path: &str| {
        let scheme = if is_tls { "wss" } else { "ws" };
        Value::from(format!("{scheme}://{host}{base}{path}{query}"))
    };
    // A handler has no URL.
    let service_url = facts.endpoint().map_or(Value::Null, |endpoint| {
        let plan = &endpoint.plan;
        let host = plan.authority.to_string();
        url(plan.is_tls, &host, &plan.path, facts.sent_path())
    });
    format!(
        "{{\"sessionId\":{},\"clientAddress\":{},\"gatewayPath\":{},\"serviceUrl\":{},\"serviceSessionId\":{}}}",
        Value::from(&*id),
        Value::from(format!("/{}", facts.peer())),
        url(is_tls, facts.host(), "", facts.path()),
        service_url,
        if handle.is_closing() {
            Value::Null
        } else {
            Value::from(&*id)
        },
    )
}
