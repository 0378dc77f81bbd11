//! The clients: so many idle sessions, active sessions and HTTP connections, and so many short
//! lives a second, kept at the ordered numbers.

mod active;
mod churn;
mod http;
mod idle;
mod session;
mod tally;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) use self::tally::{Ended, Load, Place};
use crate::soak::talk::{Fault, orders};

/// Handshakes under way at one time: the ramp waits for the gateway instead of flooding it.
const OPENING: u64 = 48;
/// Sessions that are begun in a second, at most: where every round comes alike, memory can be compared.
const RATE: f64 = 600.0;
/// How often it is looked whether something is missing.
const LOOK: Duration = Duration::from_millis(20);

/// How much of each kind there is to be.
#[derive(Debug, Default, Clone, Copy)]
struct Targets {
    idle: u64,
    active: u64,
    http: u64,
    /// Short lives a second.
    churn: u64,
}

/// Obeys `load IDLE ACTIVE HTTP CHURN`, `leave`, `cut-begins`, `cut-ended` and `kinds` until there
/// are no more orders.
pub(crate) async fn run(gateway: SocketAddr) -> Result<(), Fault> {
    let load = Rc::new(Load::new(gateway));
    let mut targets = Targets::default();
    let mut orders = orders();
    let mut second = interval(Duration::from_secs(1));
    let mut look = interval(LOOK);
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut begun = Instant::now();
    loop {
        tokio::select! {
            _ = second.tick() => load.say(),
            _ = look.tick() => {
                let now = Instant::now();
                keep(&load, targets, now - begun);
                begun = now;
            }
            order = orders.next_line() => match order.ok().flatten() {
                None => return Ok(()),
                Some(order) => match order.split(' ').collect::<Vec<_>>()[..] {
                    ["load", idle, active, http, churn] => {
                        let number = |word: &str| word.parse().map_err(|_wrong| order.clone());
                        targets = Targets {
                            idle: number(idle)?,
                            active: number(active)?,
                            http: number(http)?,
                            churn: number(churn)?,
                        };
                    }
                    ["leave"] => {
                        targets = Targets::default();
                        load.leave();
                    }
                    ["cut-begins"] => load.cut_begins(),
                    ["cut-ended"] => load.cut_ended(),
                    ["kinds"] => load.say_kinds(),
                    _ => return Err(format!("no such order: {order}")),
                },
            },
        }
    }
}

/// Starts what is missing. While a service is away, what it has lost is not missed.
fn keep(load: &Rc<Load>, targets: Targets, since: Duration) {
    churn::keep(load, targets.churn, since);
    if load.is_away() {
        return;
    }
    let mut due = (load.due_sessions.get() + RATE * since.as_secs_f64()).min(OPENING as f64);
    while due >= 1.0 && load.opening.get() < OPENING && load.idle.wanted.get() < targets.idle {
        let place = load.place_of_session();
        due -= 1.0;
        load.idle.wanted.add(1);
        let load = Rc::clone(load);
        spawn_local(async move {
            let ended = idle::run(&load, place).await;
            load.judge("idle session", place, ended);
            load.idle.wanted.sub(1);
        });
    }
    while due >= 1.0 && load.opening.get() < OPENING && load.active.wanted.get() < targets.active {
        let place = load.place_of_session();
        due -= 1.0;
        load.active.wanted.add(1);
        let load = Rc::clone(load);
        spawn_local(async move {
            let ended = active::run(&load, place).await;
            load.judge("active session", place, ended);
            load.active.wanted.sub(1);
        });
    }
    load.due_sessions.set(due);
    while load.http.wanted.get() < targets.http {
        let place = load.place();
        load.http.wanted.add(1);
        let load = Rc::clone(load);
        spawn_local(async move {
            let ended = load.excuse(place, http::run(&load, place).await);
            load.judge("kept HTTP connection", place, ended);
            load.http.wanted.sub(1);
        });
    }
}
