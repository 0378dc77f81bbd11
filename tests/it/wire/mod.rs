//! What must be refused and what must pass as it is (`SECURITY.md`, promises 1, 2 and 4), row by row:
//! every row is a case of its own, named after what it protects. The engine that tries them is `tidegate_tests::probe`.

use tidegate_tests::probe::{FrameRow, ReplyRow, Row};

/// Makes a table, `rows()`, and a case of each of its rows.
macro_rules! rows {
    ($kind:ty: $($name:ident: $row:expr;)+) => {
        pub(super) fn rows() -> Vec<(&'static str, $kind)> {
            vec![$((stringify!($name), $row)),+]
        }
        $(
            #[test]
            fn $name() {
                super::Judged::judge_in(super::find(rows(), stringify!($name)));
            }
        )+
    };
}

mod answers;
mod answers_framed;
mod chunks;
mod differential;
mod fields;
mod frames;
mod handshakes;
mod hosts;
mod lengths;
mod limits;
mod lines;
mod paths;
mod start_lines;
mod switches;

/// What reads in two ways, or breaks the grammar.
const BAD: &str = "bad_request";

fn find<T>(rows: Vec<(&'static str, T)>, name: &str) -> T {
    let mut found = rows.into_iter().filter(|(known, _)| *known == name);
    found.next().unwrap().1
}

/// A row that can be tried.
trait Judged {
    fn judge_in(self);
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work);
}

impl Judged for Row {
    fn judge_in(self) {
        run(async move { self.judge().await });
    }
}

impl Judged for ReplyRow {
    fn judge_in(self) {
        run(async move { self.judge().await });
    }
}

impl Judged for FrameRow {
    fn judge_in(self) {
        run(async move { self.judge().await });
    }
}

/// A GET with these lines beside `Host`.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n\r\n")
}

/// A POST with these lines beside `Host`, and these bytes behind its head.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n\r\n{body}")
}

/// A request with this first line.
fn start(line: &str) -> String {
    format!("{line}\r\nHost: test.example\r\n\r\n")
}

/// A GET of this target.
fn path(target: &str) -> String {
    start(&format!("GET {target} HTTP/1.1"))
}
