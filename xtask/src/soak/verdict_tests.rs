//! The verdict, tried with series that were made up: the good one passes, and each fault in it,
//! planted alone, fails the check that is there for it.

use super::super::series::{Census, Counts, Phase, Process, Sample};
use super::*;

const CENSUS: Census = Census {
    connections: 1,
    sessions: 0,
    upstream_idle: 0,
    tasks: 5,
    panics: 0,
};

fn sample(at: f64, phase: Phase, private: u64) -> Sample {
    let is_loaded = matches!(phase, Phase::RoundOne | Phase::RoundTwo | Phase::WarmUp);
    let counts = Counts {
        lives: 47_000,
        ends: 75_000,
        cut: 9_000,
        cuts: 7,
        messages: 1,
        requests: 1,
        left: if is_loaded { 9_000 } else { 0 },
        ..Counts::default()
    };
    Sample {
        at,
        phase,
        is_settled: is_loaded,
        process: Process {
            rss: private + 4_000,
            pss: private + 1_000,
            private,
            descriptors: if is_loaded { 18_100 } else { 21 },
            threads: 4,
            cpu: at / 10.0,
        },
        census: CENSUS,
        counts,
        ordered_lives: 48_000.0,
    }
}

/// 20 minutes in which nothing grows, with the noise of an allocator.
fn good() -> Outcome {
    let mut samples = vec![sample(0.0, Phase::Cold, 3_000)];
    let mut at = 0.0;
    for (phase, readings) in [
        (Phase::WarmUp, 36),
        (Phase::RoundOne, 72),
        (Phase::RoundTwo, 132),
    ] {
        for reading in 0..readings {
            at += 5.0;
            samples.push(sample(at, phase, 60_000 + (reading * 37 % 90)));
        }
        at += 70.0;
        samples.push(sample(at, Phase::Rest, 20_000));
    }
    Outcome {
        samples,
        faults: Vec::new(),
        kinds: Vec::new(),
        panics_logged: 0,
        has_stopped_well: true,
    }
}

fn failed(outcome: &Outcome) -> Vec<&'static str> {
    let checks = judge(outcome);
    let failed = checks.iter().filter(|check| !check.passed);
    failed.map(|check| check.what).collect()
}

/// The good series with `plant` in every sample of a phase.
fn with(phase: Phase, mut plant: impl FnMut(usize, &mut Sample)) -> Outcome {
    let mut outcome = good();
    let planted = outcome.samples.iter_mut().filter(|s| s.phase == phase);
    for (place, sample) in planted.enumerate() {
        plant(place, sample);
    }
    outcome
}

#[test]
fn a_series_that_stays_as_it_was_passes() {
    assert_eq!(failed(&good()), Vec::<&str>::new());
}

#[test]
fn memory_that_each_end_leaves_behind_is_seen() {
    // 48 bytes of each of the 200 lives that end between two readings.
    let leak = |place: usize, s: &mut Sample| s.process.private += place as u64 * 200 * 48 / 1024;
    assert_eq!(
        failed(&with(Phase::RoundTwo, leak)),
        ["KiB private, growth while steady"]
    );
}

#[test]
fn a_higher_plateau_is_seen() {
    let more = |_, s: &mut Sample| s.process.private += 2_000;
    assert_eq!(
        failed(&with(Phase::RoundTwo, more)),
        ["KiB private, plateau of round two"]
    );
}

/// The bound of a small load is not that of a large one, and neither is far away.
#[test]
fn the_bound_of_a_plateau_fits_the_load() {
    let grown = |from: u64, by: u64| {
        let mut outcome = good();
        for sample in &mut outcome.samples {
            let grows = sample.phase == Phase::RoundTwo;
            sample.process.private = from + if grows { by } else { 0 };
        }
        failed(&outcome)
    };
    let plateau = ["KiB private, plateau of round two"];
    assert!(grown(9_000, 500).is_empty());
    assert_eq!(grown(9_000, 530), plateau);
    assert!(grown(27_500, 800).is_empty());
    assert_eq!(grown(27_500, 840), plateau);
}

#[test]
fn memory_that_stays_when_all_have_left_is_seen() {
    let more = |place, s: &mut Sample| s.process.rss += place as u64 * 6_000;
    assert_eq!(failed(&with(Phase::Rest, more)), ["KiB of RSS at rest"]);
}

#[test]
fn one_descriptor_thread_task_or_session_that_stays_is_seen() {
    type Plant = fn(&mut Sample);
    let plants: [(&str, Plant); 8] = [
        ("descriptors at rest", |s| s.process.descriptors += 1),
        ("threads at rest", |s| s.process.threads += 1),
        ("upstreams' connections at rest", |s| {
            s.counts.upstream_connections += 1;
        }),
        ("tasks at rest", |s| change(s, |c| c.tasks += 1)),
        ("connections at rest", |s| change(s, |c| c.connections += 1)),
        ("sessions at rest", |s| change(s, |c| c.sessions += 1)),
        ("idle upstream connections at rest", |s| {
            change(s, |c| c.upstream_idle += 1);
        }),
        ("panics counted", |s| change(s, |c| c.panics += 1)),
    ];
    for (what, plant) in plants {
        for wanted in [1, 2] {
            let outcome = with(Phase::Rest, |place, s| {
                if place == wanted {
                    plant(s);
                }
            });
            assert_eq!(failed(&outcome), [what], "after round {wanted}");
        }
    }
}

fn change(sample: &mut Sample, with: fn(&mut Census)) {
    with(&mut sample.census);
}

#[test]
fn faults_panics_and_a_bad_end_are_seen() {
    let mut outcome = good();
    outcome.faults.push("a wrong byte".to_owned());
    outcome.panics_logged = 1;
    outcome.has_stopped_well = false;
    assert_eq!(
        failed(&outcome),
        [
            "the gateway ended in order",
            "panics in its log",
            "faults told"
        ]
    );
    let unexpected = |_, s: &mut Sample| {
        s.counts.unexpected = 1;
        s.counts.upstream_faults = 1;
    };
    assert_eq!(
        failed(&with(Phase::Rest, unexpected)),
        ["unexpected ends and wrong bytes", "faults at the upstreams"]
    );
}

#[test]
fn a_load_that_was_not_there_proves_nothing() {
    let idle = |_, s: &mut Sample| s.counts = Counts::default();
    let missed = failed(&with(Phase::Rest, idle));
    assert_eq!(
        missed,
        [
            "short lives, ended in every way",
            "messages, checked",
            "requests, checked",
            "cuts",
            "sessions ended by cuts"
        ]
    );
    let mut broken_off = good();
    broken_off.samples.retain(|s| s.phase != Phase::RoundTwo);
    assert_eq!(failed(&broken_off), ["steady readings of a round"]);
    let mut nothing = good();
    nothing.samples.clear();
    assert_eq!(failed(&nothing), ["readings"]);
}
