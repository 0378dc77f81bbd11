//! Memory by sessions: so many are opened, nothing moves, and memory is read; and then more.

use std::time::Duration;

use super::accounts::Tree;
use super::engine::Engine;
use super::order::Order;
use super::{now, slope};

/// Where memory is read, from the least to the most sessions.
const LEVELS: usize = 5;
/// Sessions that come together, at the ordered rate.
const CROWD: usize = 10;

pub(super) fn run(engine: &mut Engine, order: &Order) -> Result<String, String> {
    let mut points = Vec::new();
    for level in levels(order.least, order.most) {
        open_at_rate(engine, level, order.rate)?;
        // Pings are answered meanwhile.
        engine.run_for(order.settle, |_| Ok(()))?;
        points.push((level as f64, Tree::of(order.pid)?.memory()? as f64));
    }
    let shown: Vec<String> = points.iter().map(|(x, y)| format!("[{x},{y}]")).collect();
    Ok(format!(
        "{{\"bytes\":{:.1},\"points\":[{}]}}",
        slope::of(&points),
        shown.join(",")
    ))
}

fn levels(least: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..LEVELS).map(move |at| least + (most - least) * at / (LEVELS - 1))
}

/// Sessions come evenly: in a crowd they would leave more holes in the memory of some gateways than
/// of others.
fn open_at_rate(engine: &mut Engine, target: usize, rate: f64) -> Result<(), String> {
    let (begun, before) = (now(), engine.load.ready);
    while engine.load.ready < target {
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        let missing = target.min(before + due).saturating_sub(engine.load.ready);
        if missing > 0 {
            engine.open(missing.min(CROWD))?;
        } else {
            engine.turn(Duration::from_millis(2))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_least_to_the_most() {
        let levels: Vec<_> = levels(2_000, 9_000).collect();
        assert_eq!(levels, [2_000, 3_750, 5_500, 7_250, 9_000]);
    }
}
