//! Measurements over a window of time: what was done in it, and who used how much time for it.

use std::time::{Duration, Instant};

use super::accounts::{Reading, Tree, Used};
use super::engine::Engine;
use super::now;
use super::order::Order;

/// How long messages that were due in the window may take after it.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Each client sends again once everything came back.
pub(super) fn closed_loop(engine: &mut Engine, order: &Order) -> Result<String, String> {
    let clients = engine.open(order.connections)?;
    engine.load.is_running = true;
    for client in clients {
        engine.send(client)?;
    }
    let (used, operations) = measure(engine, order, |_| Ok(()))?;
    Ok(format!("{{{}}}", told(used, operations)))
}

/// As many sessions as are wanted are on their way from connecting to the end of TCP.
pub(super) fn handshakes(engine: &mut Engine, order: &Order) -> Result<String, String> {
    let (used, operations) = measure(engine, order, |engine| {
        while engine.load.begun < engine.load.ended + order.connections {
            engine.connect()?;
        }
        Ok(())
    })?;
    Ok(format!("{{{}}}", told(used, operations)))
}

/// Messages go when they are due, one client after another.
pub(super) fn paced(engine: &mut Engine, order: &Order) -> Result<String, String> {
    let clients = engine.open(order.connections)?;
    let step = Duration::from_secs_f64(1.0 / order.rate);
    engine.tick(step)?;
    let begun = now();
    let mut schedule = Schedule {
        begun,
        step,
        next: 0,
    };
    let mut send = |engine: &mut Engine| {
        while let Some((number, intended)) = schedule.due(now()) {
            engine.send_paced(clients[number as usize % clients.len()], intended)?;
        }
        Ok(())
    };
    let tree = Tree::of(order.pid)?;
    engine.run_for(order.warm_up, &mut send)?;
    let first = now();
    let end = first + order.window;
    engine.load.counted = Some((first, end));
    let (before, done) = (Reading::take(&tree)?, engine.load.operations);
    engine.run_for(end.saturating_duration_since(now()), &mut send)?;
    let used = Reading::take(&tree)?.since(&before);
    let operations = engine.load.operations - done;
    let due = (order.window.as_secs_f64() * order.rate) as u64;
    let give_up = now() + STRAGGLERS;
    while engine.load.latencies.count() + 1 < due && now() < give_up {
        engine.turn(step)?;
        send(engine)?;
    }
    let latencies = &engine.load.latencies;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| latencies.quantile(part).as_nanos());
    Ok(format!(
        "{{{},\"p50_ns\":{p50},\"p99_ns\":{p99},\"p999_ns\":{p999},\"longest_ns\":{},\"missing\":{}}}",
        told(used, operations),
        latencies.longest().as_nanos(),
        due.saturating_sub(latencies.count() + 1),
    ))
}

fn measure(
    engine: &mut Engine,
    order: &Order,
    mut each: impl FnMut(&mut Engine) -> Result<(), String>,
) -> Result<(Used, u64), String> {
    each(engine)?;
    engine.run_for(order.warm_up / 2, &mut each)?;
    // A gateway may listen before it has its workers; one that has answered has them.
    let tree = Tree::of(order.pid)?;
    engine.run_for(order.warm_up / 2, &mut each)?;
    let (before, done) = (Reading::take(&tree)?, engine.load.operations);
    engine.run_for(order.window, &mut each)?;
    let used = Reading::take(&tree)?.since(&before);
    Ok((used, engine.load.operations - done))
}

fn told(used: Used, operations: u64) -> String {
    format!(
        "\"operations\":{operations},\"elapsed_ns\":{},\"gateway_ns\":{},\"load_ns\":{},\
         \"others\":{:.4},\"stolen\":{:.4}",
        used.elapsed.as_nanos(),
        used.gateway.as_nanos(),
        used.load.as_nanos(),
        used.others,
        used.stolen,
    )
}

/// Messages that are due one `step` after another, whenever somebody comes to look.
#[derive(Debug)]
struct Schedule {
    begun: Instant,
    step: Duration,
    next: u64,
}

impl Schedule {
    /// The next message whose time has come, with that time.
    fn due(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let late = self.step.as_nanos() as u64 * self.next;
        let intended = self.begun + Duration::from_nanos(late);
        if intended > now {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, intended))
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;

    /// Sends on schedule what comes back at once, by somebody who looks at these times only.
    fn latencies(looks: impl Iterator<Item = Duration>) -> Histogram {
        let begun = now();
        let step = Duration::from_micros(100);
        let mut schedule = Schedule {
            begun,
            step,
            next: 0,
        };
        let mut histogram = Histogram::new();
        for look in looks {
            while let Some((_, intended)) = schedule.due(begun + look) {
                histogram.record(begun + look - intended);
            }
        }
        histogram
    }

    #[test]
    fn messages_are_due_at_their_times_and_not_before() {
        let even = latencies((0..=1_000).map(|number| Duration::from_micros(100 * number)));
        assert_eq!(even.count(), 1_001);
        assert_eq!(even.longest(), Duration::ZERO);
    }

    #[test]
    fn a_stall_counts_for_every_message_that_was_due_in_it() {
        let all = (0..=1_000).map(|number| Duration::from_micros(100 * number));
        let stall = Duration::from_millis(40)..Duration::from_millis(60);
        let stalled = latencies(all.filter(|look| !stall.contains(look)));
        assert_eq!(stalled.count(), 1_001);
        assert_eq!(stalled.longest(), Duration::from_millis(20));
        // A fifth of them waited, from 20 ms down to nothing: 1 % longer than 19 ms.
        let p99 = stalled.quantile(0.99).as_micros();
        assert!((18_900..19_500).contains(&p99), "{p99}");
        assert!(stalled.quantile(0.75).is_zero());
    }
}
