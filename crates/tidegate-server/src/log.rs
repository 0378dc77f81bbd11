//! The application log, on standard output. It is written by a thread of its own, so that nobody
//! waits for whoever reads it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tidegate::logs::{self, Shard, Sink, Target};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{LogArgs, LogFormat};

/// The log of this process; `None` once it is closed.
static SINK: OnceLock<Mutex<Option<Sink>>> = OnceLock::new();

/// Starts the log; [`close`] writes out what is queued.
pub(crate) fn start(args: &LogArgs, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level)?;
    let sink = Sink::start("app", Target::Stdout, 1, Duration::ZERO)?;
    let shard = sink.shard(0);
    SINK.get_or_init(|| Mutex::new(Some(sink)));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Lines(Arc::clone(&shard)));
    let started = match format {
        LogFormat::Json => log.event_format(JsonLine).try_init(),
        LogFormat::Text => log.with_ansi(io::stdout().is_terminal()).try_init(),
    };
    started.map_err(anyhow::Error::from_boxed)
}

/// Counts its lines, if it was started.
pub(crate) fn control() -> Option<logs::Control> {
    let sink = SINK.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    sink.as_ref().map(Sink::control)
}

/// Writes out what is queued, and ends the log.
pub(crate) fn close() {
    if let Some(sink) = SINK.get() {
        drop(sink.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Where each event leaves its line.
struct Lines(Arc<Shard>);

impl Write for Lines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(|lines| lines.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `{"ts":…,"level":…,"msg":…,"target":…}` and then the event's own fields.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        writer.write_str("{\"ts\":\"")?;
        SystemTime.format_time(&mut writer)?;
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(writer, "\",\"level\":\"{level}\"")?;
        write!(writer, ",\"msg\":{}", Value::from(fields.message))?;
        write!(writer, ",\"target\":{}", Value::from(metadata.target()))?;
        for (name, value) in fields.others {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writer.write_str("}\n")
    }
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            "message" => {
                self.message = match value.into() {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
            }
            name => self.others.push((name, value.into())),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_whatever_is_logged() {
        let written = Shared::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .event_format(JsonLine)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(target: "t", address = %"[::1]:80", count = 3, "two\nlines \"quoted\"");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["msg"], "two\nlines \"quoted\"");
        assert_eq!(line["target"], "t");
        assert_eq!(line["address"], "[::1]:80");
        assert_eq!(line["count"], 3);
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }
}
