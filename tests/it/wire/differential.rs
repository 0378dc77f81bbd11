//! The same rows against nginx and HAProxy (`docs/differential.md`): what we forward and both of
//! them refuse is a bug of ours, and what we refuse and both of them accept has a reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tidegate_tests::probe::{Did, Peer, ReplyRow, Row, Target};

use super::{
    answers, answers_framed, chunks, fields, handshakes, hosts, lengths, limits, lines, paths,
    start_lines, switches,
};

/// How long a gateway may be silent before it is taken to wait for what will not come; and how long
/// where the verdict hangs on it.
const PATIENCE: Duration = Duration::from_millis(300);
const MORE_PATIENCE: Duration = Duration::from_secs(5);

/// A row that every gateway can be asked.
enum Probe {
    Request(Row),
    Reply(ReplyRow),
}

/// What the three made of one row: ours, nginx's, HAProxy's.
struct Compared {
    name: String,
    probe: Probe,
    did: [Did; 3],
}

impl Probe {
    const fn why(&self) -> Option<&'static str> {
        match self {
            Self::Request(row) => row.reason(),
            Self::Reply(row) => row.treated_because(),
        }
    }

    async fn ask(&self, target: &Target, patience: Duration) -> Did {
        match self {
            Self::Request(row) => target.requests(row.bytes(), patience).await,
            Self::Reply(row) => {
                let request = row.request().bytes();
                target.replies(&request, row.script(), patience).await
            }
        }
    }
}

impl Compared {
    fn shows(&self, forwarded: [bool; 3]) -> bool {
        self.did.map(Did::is_forwarded) == forwarded
    }

    /// Of requests none may pass that both others refuse; of answers, only for a reason.
    fn is_bug(&self) -> bool {
        let may = matches!(self.probe, Probe::Reply(_)) && self.probe.why().is_some();
        self.shows([true, false, false]) && !may
    }

    fn is_unexplained(&self) -> bool {
        self.shows([false, true, true]) && self.probe.why().is_none()
    }
}

/// Every row that the others can be asked too, with its name.
fn probes() -> Vec<(String, Probe)> {
    let requests = [
        ("chunks", chunks::rows()),
        ("fields", fields::rows()),
        ("handshakes", handshakes::rows()),
        ("hosts", hosts::rows()),
        ("lengths", lengths::rows()),
        ("limits", limits::rows()),
        ("lines", lines::rows()),
        ("paths", paths::rows()),
        ("start_lines", start_lines::rows()),
    ];
    let replies = [
        ("answers", answers::rows()),
        ("answers_framed", answers_framed::rows()),
        ("switches", switches::rows()),
    ];
    let mut probes = Vec::new();
    for (table, rows) in requests {
        let rows = rows.into_iter().filter(|(_, row)| row.is_comparable());
        probes.extend(rows.map(|(name, row)| (format!("{table}::{name}"), Probe::Request(row))));
    }
    for (table, rows) in replies {
        let rows = rows.into_iter();
        probes.extend(rows.map(|(name, row)| (format!("{table}::{name}"), Probe::Reply(row))));
    }
    probes
}

/// What one gateway makes of every row.
async fn run(target: &Target, probes: &[(String, Probe)]) -> Vec<Did> {
    let mut did = Vec::new();
    for (_, probe) in probes {
        did.push(probe.ask(target, PATIENCE).await);
    }
    did
}

#[tokio::test]
#[ignore = "needs nginx and HAProxy: cargo xtask differential runs it"]
async fn nothing_passes_that_both_others_refuse() {
    let folder = std::env::var_os("TIDEGATE_DIFFERENTIAL");
    let folder = folder.expect("TIDEGATE_DIFFERENTIAL names the folder for the report");
    let ours = Target::start(Peer::Tidegate).await;
    let nginx = Target::start(Peer::Nginx).await;
    let haproxy = Target::start(Peer::Haproxy).await;
    let probes = probes();
    let (first, second, third) = tokio::join!(
        run(&ours, &probes),
        run(&nginx, &probes),
        run(&haproxy, &probes)
    );
    let mut rows: Vec<Compared> = Vec::new();
    for (place, (name, probe)) in probes.into_iter().enumerate() {
        let did = [first[place], second[place], third[place]];
        let mut row = Compared { name, probe, did };
        if row.is_bug() || row.is_unexplained() {
            // A loaded machine is slow, which is no verdict.
            for (did, target) in row.did.iter_mut().zip([&ours, &nginx, &haproxy]) {
                *did = row.probe.ask(target, MORE_PATIENCE).await;
            }
        }
        rows.push(row);
    }
    let summary = summary(&rows, [&ours, &nginx, &haproxy]);
    write(Path::new(&folder), &summary, &rows);
    println!("{summary}");
    // A harness that reaches nobody would agree with everybody.
    let agreed = rows.iter().filter(|row| row.shows([true; 3])).count();
    assert!(agreed > 100, "only {agreed} rows pass through all three");
    let named = |row: &Compared| format!("{} {:?}", row.name, row.did);
    let bugs: Vec<_> = rows.iter().filter(|row| row.is_bug()).map(named).collect();
    assert!(bugs.is_empty(), "we alone forward: {bugs:#?}");
    let unexplained = rows.iter().filter(|row| row.is_unexplained());
    let unexplained: Vec<_> = unexplained.map(named).collect();
    assert!(
        unexplained.is_empty(),
        "we alone refuse, unexplained: {unexplained:#?}"
    );
}

fn summary(rows: &[Compared], targets: [&Target; 3]) -> String {
    let mut text = "# Differential\n\n".to_owned();
    for target in targets {
        let _ = writeln!(text, "- {}", target.version);
    }
    let _ = writeln!(
        text,
        "\n| tidegate | nginx | HAProxy | rows |\n|---|---|---|---|"
    );
    let word = |forwarded: bool| if forwarded { "forwards" } else { "refuses" };
    for case in 0..8 {
        let forwarded = [case & 4 == 0, case & 2 == 0, case & 1 == 0];
        let count = rows.iter().filter(|row| row.shows(forwarded)).count();
        let [ours, nginx, haproxy] = forwarded.map(word);
        let _ = writeln!(text, "| {ours} | {nginx} | {haproxy} | {count} |");
    }
    let _ = writeln!(text, "| | | all | {} |", rows.len());
    text
}

/// Rows under their reasons.
fn list<'a>(text: &mut String, rows: impl Iterator<Item = &'a Compared>) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows {
        let why = row.probe.why().unwrap_or("UNEXPLAINED");
        reasons.entry(why).or_default().push(&row.name);
    }
    for (why, names) in reasons {
        let _ = writeln!(text, "\n{why}:\n");
        for name in names {
            let _ = writeln!(text, "- `{name}`");
        }
    }
}

/// The report, and every row for who wants to look for himself.
fn write(folder: &Path, summary: &str, rows: &[Compared]) {
    std::fs::create_dir_all(folder).unwrap();
    let mut report = summary.to_owned();
    for (title, forwarded) in [
        ("We refuse, and both others accept", [false, true, true]),
        ("We accept, and both others refuse", [true, false, false]),
    ] {
        let _ = writeln!(report, "\n## {title}");
        list(&mut report, rows.iter().filter(|row| row.shows(forwarded)));
    }
    let mut table = "row\ttidegate\tnginx\thaproxy\n".to_owned();
    for row in rows {
        let [ours, nginx, haproxy] = row.did;
        let _ = writeln!(table, "{}\t{ours:?}\t{nginx:?}\t{haproxy:?}", row.name);
    }
    std::fs::write(folder.join("rows.tsv"), table).unwrap();
    std::fs::write(folder.join("report.md"), report).unwrap();
}
