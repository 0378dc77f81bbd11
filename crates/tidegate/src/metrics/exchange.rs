//! What one request leaves in the cells: its status and how long it took.

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::cell::REQUEST_BOUNDS;
use super::{METHODS, Meters, RouteMeters};

/// The status of a request whose client left before there was an answer, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// One request on its way; it is counted when this is dropped.
#[derive(Debug)]
pub(crate) struct ExchangeMeter<'a> {
    meters: &'a Meters,
    route: Option<&'a RouteMeters>,
    method: u8,
    /// Whether it asks for a WebSocket: then it is a handshake and no request.
    upgrade: bool,
    begun: Instant,
    status: u16,
}

impl<'a> ExchangeMeter<'a> {
    /// A request whose head has come.
    pub(crate) fn new(meters: &'a Meters, method: &Method, upgrade: bool) -> Self {
        Self {
            meters,
            route: None,
            method: method_place(method),
            upgrade,
            begun: Instant::now(),
            status: CLIENT_LEFT,
        }
    }

    /// What was no request is answered with `status`.
    pub(crate) fn refused(meters: &Meters, status: StatusCode) {
        let requests = &meters.no_route().requests;
        requests.add(request_key(0, status.as_u16()));
    }

    /// It takes the route at `place`.
    pub(crate) fn enter(&mut self, place: usize) {
        let route = self.meters.route(place);
        if !self.upgrade {
            route.in_flight.add(1);
        }
        self.route = Some(route);
    }

    /// It is answered with `status`.
    pub(crate) const fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// It becomes a WebSocket.
    pub(crate) fn switched(mut self) {
        self.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    }
}

impl Drop for ExchangeMeter<'_> {
    fn drop(&mut self) {
        let route = self.route.unwrap_or_else(|| self.meters.no_route());
        if std::thread::panicking() {
            self.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        }
        let took = self.begun.elapsed();
        if self.upgrade {
            route.handshakes.add(u32::from(folded(self.status)));
            route.handshake_time.observe(took, REQUEST_BOUNDS);
            return;
        }
        if self.route.is_some() {
            route.in_flight.add(-1);
        }
        route.requests.add(request_key(self.method, self.status));
        if let Some(histogram) = route.request_time.get(usize::from(self.method)) {
            histogram.observe(took, REQUEST_BOUNDS);
        }
    }
}

/// The place of a method in `METHODS`.
fn method_place(method: &Method) -> u8 {
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

const fn request_key(method: u8, status: u16) -> u32 {
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
