//! `cargo xtask services --start`: a Kafka broker, a registry of schemas, and Redis in three ways, on the
//! loopback, until Ctrl-C. What they keep goes with them.

mod asked;
mod java;
mod place;
mod ports;
mod redis;
mod stop;

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

use self::place::Place;
use self::ports::Ports;
use self::stop::Stop;
use super::{debian, java as installed, node_tools};
use crate::run::Run;
use crate::running::Running;
use crate::shell;
use crate::steps::now;

/// How long all of them may take to answer: some twenty seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What must be there, and the Debian package which brings it.
const NEEDED: &[(&str, &str)] = &[
    ("java", "default-jre-headless"),
    ("mvn", "maven"),
    ("redis-server", "redis-server"),
];
/// What brings `wscat`, a client to try them with.
const CLIENTS: &[(&str, &str)] = &[("node", "nodejs"), ("npm", "npm")];

/// A process, and how it is known that it does its work.
struct Service {
    name: &'static str,
    running: Running,
    answers: Box<dyn Fn() -> bool>,
}

/// Where one of them is, in the words of a person.
struct Line {
    what: &'static str,
    place: String,
    /// The variable by which `config/cluster.yaml` is told so.
    variable: Option<&'static str>,
}

/// Runs them until it is told to end, and says whether that is why they ended.
pub(crate) fn start(run: &Run) -> anyhow::Result<bool> {
    let stop = Stop::catch()?;
    install(run)?;
    let place = Place::new(&run.target)?;
    let mut ports = Ports::default();
    let (mut services, mut lines) = (Vec::new(), Vec::new());
    for begin in [java::begin, redis::begin] {
        let (begun, told) = begin(run, &place, &mut ports)?;
        services.extend(begun);
        lines.extend(told);
    }
    println!(
        "starting {} processes; their logs are in {}",
        services.len(),
        place.path().display()
    );
    if !all_answer(&mut services, &place, &stop)? {
        return Ok(true);
    }
    print(&lines);
    while !stop.is_wanted() {
        for service in &mut services {
            must_run(service, &place)?;
        }
        thread::sleep(LOOK);
    }
    drop(services);
    drop(place);
    println!("\nthey have ended, and what they kept is gone");
    Ok(true)
}

fn install(run: &Run) -> anyhow::Result<()> {
    if let Err(error) = debian(NEEDED) {
        println!("{error:#}");
    }
    for (command, package) in NEEDED {
        shell::which(command).with_context(|| format!("no {command} (Debian: {package})"))?;
    }
    installed::kafka(run)?;
    installed::registry(run)?;
    // They start without it.
    if let Err(error) = debian(CLIENTS).and_then(|()| node_tools(run)) {
        run.skip_even_in_ci("wscat", &format!("{error:#}"));
    }
    Ok(())
}

/// Waits until each has answered; `false` where it is to end before that.
fn all_answer(services: &mut [Service], place: &Place, stop: &Stop) -> anyhow::Result<bool> {
    let begun = now();
    let mut silent: Vec<&mut Service> = services.iter_mut().collect();
    loop {
        // All are asked in turn: nodes of a cluster answer once the others do.
        silent.retain(|service| !(service.answers)());
        let Some(first) = silent.first() else {
            return Ok(true);
        };
        if begun.elapsed() > PATIENCE {
            bail!(
                "{} does not answer:\n{}",
                first.name,
                place.said(first.name)
            );
        }
        if stop.is_wanted() {
            return Ok(false);
        }
        for service in &mut silent {
            must_run(service, place)?;
        }
        thread::sleep(LOOK);
    }
}

fn must_run(service: &mut Service, place: &Place) -> anyhow::Result<()> {
    let runs = service.running.must_run();
    runs.with_context(|| format!("it said:\n{}", place.said(service.name)))
}

fn print(lines: &[Line]) {
    println!();
    for line in lines {
        println!("{:<16}  {}", line.what, line.place);
    }
    println!(
        "\nconfig/cluster.yaml looks for the first three at their usual ports; else these tell it:"
    );
    for line in lines {
        if let Some(variable) = line.variable {
            println!("export {variable}={}", line.place);
        }
    }
    println!("\nAll of them answer. Ctrl-C ends them and forgets what they were told.");
}
