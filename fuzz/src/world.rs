//! A gateway in memory whose time stands still until the script moves it.

use std::sync::LazyLock;
use std::time::Duration;

use tidegate::config::{Config, Plan};
use tidegate::fuzzing::{Alive, Inside, activity, reset_network};
use tokio::runtime::Builder;

use crate::frames::Pings;

/// One service, one route. Short limits, so that a script of a few bytes reaches them.
const CONFIGURATION: &str = "
version: 1
listeners:
  - { name: public, bind: '127.0.0.1:0' }
services:
  app:
    endpoints: http://10.1.2.3:8000/base
routes:
  - name: app
    match: { path: /** }
    proxy:
      service: app
      websocket: { idle_timeout: 90s, max_frame: 3000B, max_message: 5000B, max_control_frames: 100 }
";

/// What routes may say of pings, each with its line of `websocket`.
const WAYS: &[(Pings, &str)] = &[
    (pings(false, false), ", keep_alive: none"),
    (pings(true, false), ""),
    (pings(false, true), ", keep_alive: none, ping: answer"),
    (pings(true, true), ", ping: answer"),
];

const fn pings(own: bool, answered: bool) -> Pings {
    Pings { own, answered }
}

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let plan = |(_, more): &(Pings, &str)| {
        let text = CONFIGURATION.replace("5000B", &format!("5000B{more}"));
        let config = Config::from_yaml("fuzz.yaml", &text).expect("the configuration is YAML");
        config.resolve().expect("the configuration is right")
    };
    WAYS.iter().map(plan).collect()
});

/// What `CONFIGURATION` puts before every path.
pub const BASE: &str = "/base";
/// The endpoint's own host.
pub const ENDPOINT: &str = "10.1.2.3:8000";
/// The longest that anything may take once both sides are gone.
const PATIENCE: u64 = 300;

/// A gateway, and the time since it started.
pub struct World {
    pub inside: Inside,
    pub pings: Pings,
    age: Duration,
}

/// Plays `script` in a new world, with one of the ways to treat pings. `room` bytes may wait for each
/// upstream.
pub fn play(way: usize, room: usize, script: impl AsyncFnOnce(&mut World)) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets");
    // Keys and masks are the same each time, so that a finding stays one.
    fastrand::seed(7);
    reset_network(room);
    runtime.block_on(async {
        let way = way % WAYS.len();
        let mut world = World {
            inside: Inside::new(&PLANS[way]),
            pings: WAYS[way].0,
            age: Duration::ZERO,
        };
        script(&mut world).await;
    });
    let tasks = runtime.metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "a task outlived both of its peers");
}

/// Lets the gateway do what it can do without time passing.
pub async fn settle() {
    let (mut quiet, mut before) = (0, activity());
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
        let now = activity();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        // A task that was just begun by another one still has to be polled.
        if quiet == 4 {
            return;
        }
    }
    panic!("the gateway does not come to rest");
}

impl World {
    /// Lets time pass, the gateway's clock with it.
    pub async fn pass(&mut self, time: Duration) {
        let until = self.age + time;
        while self.age < until {
            let tick = Duration::from_secs(self.age.as_secs() + 1);
            let next = tick.min(until);
            tokio::time::advance(next - self.age).await;
            self.age = next;
            if next == tick {
                self.inside.tick(self.age).await;
            }
            settle().await;
        }
    }

    /// Lets time pass until nothing is alive any more. `each` is done before every second.
    pub async fn outlive(&mut self, mut each: impl FnMut()) {
        let none = Alive {
            load: 0,
            sessions: 0,
            idle: 0,
            leases: 0,
        };
        for _ in 0..PATIENCE {
            each();
            settle().await;
            if self.inside.alive() == none {
                return;
            }
            self.pass(Duration::from_secs(1)).await;
        }
        panic!(
            "after {PATIENCE} s there is still {:?}",
            self.inside.alive()
        );
    }
}
