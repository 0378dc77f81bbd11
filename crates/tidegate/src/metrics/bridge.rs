//! What one call of a bridge leaves behind: in the cells of its service, and in the access log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::cell::{Counter, Histogram, Level, REQUEST_BOUNDS, Sparse};
use super::exchange::{method_place, of_request_key, request_key};
use crate::access_log::Bridged;
use crate::worker::Worker;

/// The status of a call whose client took it back, or left.
const CANCELLED: u16 = 499;

/// What one worker counts of the bridged calls to one service, named or routed, or of those to none.
#[derive(Debug, Default)]
pub(crate) struct BridgeMeters {
    /// By method, status and source.
    requests: Sparse,
    request_time: Histogram,
    in_flight: Level,
    cancelled: Counter,
    streams: Level,
}

/// Who made an answer; bit 30 of a key.
const OF_GATEWAY: u32 = 1 << 30;

impl BridgeMeters {
    /// A request was refused before it became a call.
    pub(crate) fn refused(&self, method: Option<&Method>, status: u16) {
        let method = method.map_or(0, method_place);
        self.requests.add(request_key(method, status) | OF_GATEWAY);
    }

    pub(super) const fn parts(&self) -> (&Sparse, &Histogram, &Level, &Counter, &Level) {
        (
            &self.requests,
            &self.request_time,
            &self.in_flight,
            &self.cancelled,
            &self.streams,
        )
    }
}

/// The method, the status and the source of a key.
pub(super) fn of_call_key(key: u32) -> (&'static str, String, &'static str) {
    let (method, status) = of_request_key(key & !OF_GATEWAY);
    let source = if key & OF_GATEWAY == 0 {
        "upstream"
    } else {
        "gateway"
    };
    (method, status, source)
}

/// One call on its way; it is counted and logged when this is dropped.
pub(crate) struct CallMeter {
    worker: Arc<Worker>,
    meters: Arc<BridgeMeters>,
    method: u8,
    begun: Instant,
    status: u16,
    is_of_gateway: bool,
    streams: bool,
    line: Option<Box<Bridged>>,
}

impl CallMeter {
    /// A call to the service at `place`, or, without one, to whichever the routes say.
    pub(crate) fn begin(
        worker: &Arc<Worker>,
        place: Option<usize>,
        method: &Method,
        line: Option<Box<Bridged>>,
    ) -> Self {
        let meters = Arc::clone(worker.meters.bridged(place));
        meters.in_flight.add(1);
        Self {
            worker: Arc::clone(worker),
            meters,
            method: method_place(method),
            begun: Instant::now(),
            status: CANCELLED,
            is_of_gateway: true,
            streams: false,
            line,
        }
    }

    /// It took the route at `place`: its bridge's, which ends at no service, where its envelope names one.
    pub(super) fn entered(&mut self, place: usize) {
        if let Some(service) = self.worker.route(place).target.service() {
            let meters = Arc::clone(self.worker.meters.bridged(Some(service.place)));
            self.meters.in_flight.add(-1);
            meters.in_flight.add(1);
            self.meters = meters;
        }
        if let Some(line) = &mut self.line {
            line.route = Some(Arc::clone(self.worker.route(place)));
        }
    }

    /// The service has answered.
    pub(crate) const fn answered(&mut self, status: u16) {
        self.status = status;
        self.is_of_gateway = false;
    }

    /// The gateway answers in its place.
    pub(crate) fn failed(&mut self, status: u16, code: &'static str) {
        self.status = status;
        self.is_of_gateway = true;
        if let Some(line) = &mut self.line {
            line.code = Some(code);
        }
    }

    /// Its answer goes out in chunks.
    pub(crate) fn begin_stream(&mut self) {
        self.streams = true;
        self.meters.streams.add(1);
    }

    /// A frame of so many bytes was sent for it.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(line) = &mut self.line {
            line.bytes_out += bytes as u64;
        }
    }
}

impl fmt::Debug for CallMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallMeter")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Drop for CallMeter {
    fn drop(&mut self) {
        let took: Duration = self.begun.elapsed();
        self.meters.in_flight.add(-1);
        if self.streams {
            self.meters.streams.add(-1);
        }
        if self.status == CANCELLED {
            self.meters.cancelled.add(1);
        }
        let source = if self.is_of_gateway { OF_GATEWAY } else { 0 };
        self.meters
            .requests
            .add(request_key(self.method, self.status) | source);
        self.meters.request_time.observe(took, REQUEST_BOUNDS);
        if let (Some(line), Some(log)) = (&self.line, &self.worker.access_log) {
            log.bridged(line, self.status, self.is_of_gateway, took);
        }
    }
}
