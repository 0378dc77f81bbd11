//! What an echo costs, in CPU time of the one thread.

use std::fmt::Write as _;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::io::duplex;

use crate::Options;
use crate::libraries::Library;
use crate::wire::Batch;

/// What the pipe holds in each direction: any batch as a whole.
const PIPE: usize = 512 << 10;

struct Scenario {
    name: &'static str,
    /// Bytes of a message.
    size: usize,
    /// Messages in one write of the client's; the next ones go when all are back.
    count: usize,
    /// What the messages are made of.
    words: &'static str,
}

const ASCII: &str = "{\"id\":4711,\"name\":\"all work and no play\"},";
const MIXED: &str = "{\"Straße\":\"Übergrößenträger\",\"東京\":\"日本語\"},";

const SCENARIOS: &[Scenario] = &[
    scenario("32", 32, 1, ASCII),
    scenario("1k", 1 << 10, 1, ASCII),
    scenario("16k", 16 << 10, 1, ASCII),
    scenario("16k-mixed", 16 << 10, 1, MIXED),
    scenario("32x16", 32, 16, ASCII),
    scenario("1kx16", 1 << 10, 16, ASCII),
    scenario("16kx16", 16 << 10, 16, ASCII),
];

const fn scenario(name: &'static str, size: usize, count: usize, words: &'static str) -> Scenario {
    Scenario {
        name,
        size,
        count,
        words,
    }
}

/// The table: nanoseconds of CPU an echo, the median of the rounds, and the ratio of the fastest other to ours.
pub fn measure(options: &Options) -> String {
    let libraries = Library::ALL;
    let libraries = libraries
        .iter()
        .filter(|one| options.library.is_none_or(|only| only == **one));
    let libraries: Vec<Library> = libraries.copied().collect();
    let mut table = "| echo of |".to_owned();
    for library in &libraries {
        let _ = write!(table, " {} |", library.name());
    }
    table.push_str(" fastest other / ours |\n|---|");
    table.push_str(&"---:|".repeat(libraries.len() + 1));
    table.push('\n');
    for scenario in SCENARIOS {
        if options
            .scenario
            .as_deref()
            .is_some_and(|only| only != scenario.name)
        {
            continue;
        }
        let mut times = vec![Vec::new(); libraries.len()];
        for round in 0..options.rounds {
            for place in 0..libraries.len() {
                // Nobody always comes behind the same one.
                let place = (place + round) % libraries.len();
                let time = Duration::from_millis(options.milliseconds);
                times[place].push(run(libraries[place], scenario, time));
            }
        }
        let _ = write!(table, "| {} |", scenario.name);
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        for median in &medians {
            let _ = write!(table, " {median:.0} |");
        }
        let of = |is_it: &dyn Fn(Library) -> bool| {
            let figures = libraries.iter().zip(&medians);
            figures
                .filter(|(one, _)| is_it(**one))
                .map(|(_, median)| *median)
                .fold(f64::INFINITY, f64::min)
        };
        let ours = of(&|one| one == Library::Tidegate);
        let fastest = of(&|one| one != Library::Tidegate && one != Library::Copy);
        let _ = writeln!(table, " {:.2} |", fastest / ours);
    }
    table
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of CPU of one echo.
fn run(library: Library, scenario: &Scenario, time: Duration) -> f64 {
    let text: String = scenario
        .words
        .chars()
        .cycle()
        .scan(0, |length, letter| {
            *length += letter.len_utf8();
            (*length <= scenario.size).then_some(letter)
        })
        .collect();
    // What a character of several bytes left open.
    let text = format!(
        "{text:x<width$}",
        width = text.chars().count() + scenario.size - text.len()
    );
    assert_eq!(text.len(), scenario.size);
    let batch = Batch::new(&text, scenario.count, library == Library::Copy);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    // The client is a task like the server: the runtime goes from one to the other, and never parks.
    let echoes = scenario.count;
    runtime
        .block_on(async { tokio::spawn(converse(library, batch, echoes, time)).await })
        .expect("every echo is right")
}

/// Batches of `count` messages for at least `time`: nanoseconds of CPU for one.
async fn converse(library: Library, batch: Batch, count: usize, time: Duration) -> f64 {
    let (mut client, server) = duplex(PIPE);
    let echo = library.spawn_echo(server, true);
    let mut room = Vec::new();
    for _ in 0..64 {
        batch.exchange(&mut client, &mut room).await;
    }
    let begun = clock();
    let mut echoes = 0;
    let taken = loop {
        for _ in 0..64 {
            batch.exchange(&mut client, &mut room).await;
        }
        echoes += 64 * count;
        let taken = clock() - begun;
        if taken >= time {
            break taken;
        }
    };
    drop(client);
    let _ = echo.await;
    taken.as_nanos() as f64 / echoes as f64
}

/// CPU time of this thread.
fn clock() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    now.into()
}
