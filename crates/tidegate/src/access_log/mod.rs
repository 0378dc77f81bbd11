//! The access log: what came in and what became of it, a line for each event (`docs/logs.md`).
//!
//! An event is written into the buffer of its worker, and from there on it is `logs`' to write it
//! out. There is no line for a message.

mod bridge;
mod escape;
mod exchange;
mod line;
mod session;
mod stamp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::bridge::Bridged;
pub(crate) use self::exchange::{Record, trace_id};
use self::line::Line;
pub(crate) use self::session::Ended;
use crate::config::plan::{AccessLogFormat, AccessLogPlan};
use crate::logs::{Shard, Sink};
use crate::session::id::ConnectionId;

/// For how long lines are gathered before they are written.
pub(crate) const GATHER: Duration = Duration::from_millis(100);

/// The access log, for one thread.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    shard: Arc<Shard>,
    format: AccessLogFormat,
    /// Seconds between two lines on a session that is open.
    stats: Option<u32>,
}

impl AccessLog {
    /// The log of the thread with this number.
    pub(crate) fn new(plan: &AccessLogPlan, sink: &Sink, number: usize) -> Self {
        let seconds = |period: Duration| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
        Self {
            shard: sink.shard(number),
            format: plan.format,
            stats: plan
                .stats_interval
                .map(seconds)
                .filter(|period| *period > 0),
        }
    }

    /// A connection was refused, or what came on it was no request.
    pub(crate) fn refused(
        &self,
        connection: Option<ConnectionId>,
        client: IpAddr,
        status: u16,
        code: &str,
    ) {
        let client = client.to_canonical();
        if self.format == AccessLogFormat::Combined {
            return self
                .shard
                .offer(|out| exchange::combined_refusal(out, client, status));
        }
        self.line("http", |line| {
            if let Some(connection) = connection {
                line.word("conn", connection);
            }
            line.label("route", "-").word("client", client);
            line.number("status", status.into()).label("code", code);
        });
    }

    /// Leaves a line on `event`; the combined format has none.
    fn line(&self, event: &str, write: impl FnOnce(&mut Line<'_>)) {
        self.shard.offer(|out| {
            let mut line = Line::begin(out, self.format == AccessLogFormat::Json, event);
            write(&mut line);
            line.end();
        });
    }
}
