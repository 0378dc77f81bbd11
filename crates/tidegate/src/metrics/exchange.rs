//! What one request leaves behind: its status and how long it took, in the cells and in the access
//! log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::cell::REQUEST_BOUNDS;
use super::{CallMeter, METHODS, RouteMeters};
use crate::access_log::Record;
use crate::auth::Principal;
use crate::error::{GatewayError, UpstreamError};
use crate::exchange::Downstream;
use crate::http1::head::RequestHead;
use crate::session::Cause;
use crate::session::handle::Handle;
use crate::upstream::Endpoint;
use crate::worker::Worker;

/// The status of a request whose client left before there was an answer, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// One request on its way; it is counted and logged when this is dropped.
#[derive(Debug)]
pub(crate) struct ExchangeMeter<'a> {
    worker: &'a Worker,
    /// The route's place.
    place: Option<usize>,
    method: u8,
    /// Whether it asks for a WebSocket: then it is a handshake and no request.
    upgrade: bool,
    begun: Instant,
    status: u16,
    is_answered: bool,
    /// What its line in the access log will say, where there is one.
    record: Option<Box<Record>>,
    /// What else counts it, where it came in an envelope.
    call: Option<&'a mut CallMeter>,
}

impl<'a> ExchangeMeter<'a> {
    /// A request whose head has come.
    pub(crate) fn new(
        worker: &'a Worker,
        head: &RequestHead,
        upgrade: bool,
        downstream: &Downstream,
    ) -> Self {
        let log = worker.access_log.as_ref();
        Self {
            worker,
            place: None,
            method: method_place(&head.method),
            upgrade,
            begun: Instant::now(),
            status: CLIENT_LEFT,
            is_answered: false,
            record: log.map(|log| {
                let mut record = Box::new(Record::new(log, head, upgrade, downstream));
                record.hide(|query| worker.authenticator().hide(query));
                record
            }),
            call: None,
        }
    }

    /// A call that came in an envelope, which `call` counts as such.
    pub(crate) fn of_call(worker: &'a Worker, method: &Method, call: &'a mut CallMeter) -> Self {
        Self {
            worker,
            place: None,
            method: method_place(method),
            upgrade: false,
            begun: Instant::now(),
            status: CLIENT_LEFT,
            is_answered: false,
            record: None,
            call: Some(call),
        }
    }

    /// What was no request is answered for `error`.
    pub(crate) fn refused(worker: &Worker, downstream: &Downstream, error: &GatewayError) {
        let status = error.status().as_u16();
        let requests = &worker.meters.no_route().requests;
        requests.add(request_key(0, status));
        if let Some(log) = &worker.access_log {
            let (connection, client) = (downstream.connection, downstream.peer.ip());
            log.refused(Some(connection), client, status, error.label());
        }
    }

    fn record(&mut self) -> Option<&mut Record> {
        self.record.as_deref_mut()
    }

    /// It takes the route at `place`.
    pub(crate) fn enter(&mut self, place: usize) {
        if !self.upgrade {
            self.worker.meters.route(place).in_flight.add(1);
        }
        self.place = Some(place);
        if let Some(call) = &mut self.call {
            call.entered(place);
        }
    }

    /// `endpoint` is tried, of the service at `place`; anew, after `failure`.
    pub(crate) fn tried(
        &mut self,
        place: usize,
        endpoint: Arc<Endpoint>,
        failure: Option<&UpstreamError>,
    ) {
        if let Some(failure) = failure {
            self.worker.meters.retried(place, failure);
        }
        if let Some(record) = self.record() {
            record.tried(endpoint);
        }
    }

    /// The call to the service at `place` was answered: its head took so long, the dial included.
    pub(crate) fn call_answered(&mut self, place: usize, took: Duration) {
        self.worker.meters.call_answered(place, took);
        self.upstream_answered(took);
    }

    /// The endpoint's answer took so long.
    pub(crate) fn upstream_answered(&mut self, took: Duration) {
        if let Some(record) = self.record() {
            record.answered_by_upstream(took);
        }
    }

    /// The client is told of this error.
    pub(crate) fn failed(&mut self, error: &GatewayError) {
        if let Some(record) = self.record() {
            record.failed(error.label());
        }
    }

    /// Who sends it, where that is known.
    pub(crate) fn known(&mut self, principal: Option<&Principal>) {
        if let (Some(record), Some(principal)) = (self.record(), principal) {
            record.known(principal.user());
        }
    }

    /// Its answer does not come out whole.
    pub(crate) fn cut(&mut self, cause: Cause) {
        if let Some(record) = self.record() {
            record.cut(cause.label());
        }
    }

    /// Who the client is, once trusted proxies were heard.
    pub(crate) fn come_from(&mut self, client: IpAddr) {
        if let Some(record) = self.record() {
            record.come_from(client);
        }
    }

    /// It is over; so many bytes of its body and of its answer's have passed.
    pub(crate) fn ended(mut self, carried: (u64, u64)) {
        if let Some(record) = self.record() {
            record.carried(carried);
        }
    }

    /// The client has left.
    pub(crate) fn left(mut self, carried: (u64, u64)) {
        self.cut(Cause::ClientLost);
        self.ended(carried);
    }

    fn route(&self) -> Option<&'a RouteMeters> {
        let place = self.place?;
        Some(self.worker.meters.route(place))
    }

    fn log(&self, took: Duration, session: Option<&Handle>) {
        let (Some(record), Some(log)) = (&self.record, &self.worker.access_log) else {
            return;
        };
        let route = self.place.map(|place| &**self.worker.route(place));
        match session {
            Some(session) => record.write_open(log, session, route, took),
            None => record.write(log, route, self.status, took),
        }
    }

    /// Nobody has said why there is no answer, or not all of it: the work on it was dropped.
    fn explain(&mut self) {
        let cause = if self.worker.drain.has_cut() {
            Cause::Drain
        } else {
            Cause::ClientLost
        };
        if let Some(record) = self.record()
            && !record.is_cut()
        {
            record.cut(cause.label());
        }
    }

    /// It is answered with `status`.
    pub(crate) const fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        self.is_answered = true;
    }

    /// It becomes a WebSocket.
    pub(crate) fn switched(mut self, session: &Handle) {
        self.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        self.log(self.begun.elapsed(), Some(session));
        self.record = None;
    }
}

impl Drop for ExchangeMeter<'_> {
    fn drop(&mut self) {
        let meters = &self.worker.meters;
        let route = self.route().unwrap_or_else(|| meters.no_route());
        if std::thread::panicking() {
            self.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
            self.failed(&GatewayError::Panicked);
        } else if !self.is_answered {
            self.explain();
        }
        let took = self.begun.elapsed();
        self.log(took, None);
        if self.upgrade {
            route.handshakes.add(u32::from(folded(self.status)));
            route.handshake_time.observe(took, REQUEST_BOUNDS);
            return;
        }
        if self.place.is_some() {
            route.in_flight.add(-1);
        }
        route.requests.add(request_key(self.method, self.status));
        if let Some(histogram) = route.request_time.get(usize::from(self.method)) {
            histogram.observe(took, REQUEST_BOUNDS);
        }
    }
}

/// The place of a method in `METHODS`.
pub(super) fn method_place(method: &Method) -> u8 {
    // Almost every request is one of the first two.
    let known = METHODS.iter().skip(1).zip(1..);
    let mut known = known.filter(|(name, _)| **name == method.as_str());
    known.next().map_or(0, |(_, place)| place)
}

/// Statuses that HTTP knows; the others are an upstream's invention and share 0.
const fn folded(status: u16) -> u16 {
    if status >= 100 && status < 600 {
        status
    } else {
        0
    }
}

pub(super) const fn request_key(method: u8, status: u16) -> u32 {
    (method as u32) << 16 | folded(status) as u32
}

/// The method and the status of a key.
pub(super) fn of_request_key(key: u32) -> (&'static str, String) {
    let method = METHODS.get((key >> 16) as usize).unwrap_or(&METHODS[0]);
    (method, status_label(key & 0xffff))
}

/// A status as a label.
pub(super) fn status_label(status: u32) -> String {
    if status == 0 {
        "other".into()
    } else {
        status.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_choose_no_label() {
        assert_eq!(method_place(&Method::from_bytes(b"BREW").unwrap()), 0);
        for (place, method) in METHODS.iter().enumerate().skip(1) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(usize::from(method_place(&method)), place);
        }
        assert_eq!(of_request_key(request_key(1, 204)), ("GET", "204".into()));
        assert_eq!(
            of_request_key(request_key(0, 999)),
            ("other", "other".into())
        );
    }
}
