//! A hundred thousand sessions: every page is whole while they come and go, and no lock is held for
//! long. Figures: `cargo test --release -p tidegate --lib crowd -- --nocapture`.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::Value;
use tokio::time::Instant;

use super::sessions::list;
use super::testing::{open, view};
use super::view::View;
use super::{aliases, routes};
use crate::session::registry::Registered;

const CROWD: usize = 100_000;
/// Those that are gone through while others come and go: without optimisation a page takes its time.
const PAGED: usize = if cfg!(debug_assertions) {
    20_000
} else {
    CROWD
};

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap()
        .to_vec()
}

/// The ids of a page, and the cursor behind it.
async fn page(view: &Arc<View>, query: &str) -> (Vec<String>, Option<String>) {
    let answer = list(State(Arc::clone(view)), RawQuery(Some(query.to_owned()))).await;
    let page: Value = serde_json::from_slice(&body(answer.unwrap()).await).unwrap();
    let ids = page["sessions"].as_array().unwrap().iter();
    let ids = ids.map(|session| session["id"].as_str().unwrap().to_owned());
    (
        ids.collect(),
        page["next_cursor"].as_str().map(str::to_owned),
    )
}

fn resident() -> usize {
    let words = fs::read_to_string("/proc/self/statm").unwrap();
    words.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn told(what: &str, begun: Instant) {
    println!("{what}: {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
}

#[tokio::test]
async fn whoever_stays_is_seen_once_in_a_crowd() {
    let (view, core) = view();
    let before = resident();
    let mut staying: Vec<Registered> = Vec::new();
    let mut going = Vec::new();
    for number in 0..PAGED {
        let session = open(&view, &core, number % 2);
        if number % 10 == 0 {
            going.push(session);
        } else {
            staying.push(session);
        }
    }
    println!("{} bytes each", resident().saturating_sub(before) / PAGED);
    let (mut seen, mut pages, mut cursor) = (HashSet::new(), Vec::new(), String::new());
    loop {
        let begun = Instant::now();
        let (ids, next) = page(&view, &format!("limit=1000{cursor}")).await;
        pages.push(begun.elapsed());
        assert!(next.is_none() || ids.len() == 1000, "a page has a gap");
        for id in ids {
            assert!(seen.insert(id), "one stood there twice");
        }
        // A tenth of a page goes, and as many come, wherever there is room.
        going.truncate(going.len().saturating_sub(100));
        going.extend((0..100).map(|number| open(&view, &core, number % 2)));
        fastrand::shuffle(&mut going);
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    for session in &staying {
        assert!(
            seen.contains(&session.handle().id.to_string()),
            "one was missed"
        );
    }
    pages.sort();
    let millis = |place: usize| pages[place].as_secs_f64() * 1e3;
    let (middle, last) = (millis(pages.len() / 2), millis(pages.len() - 1));
    println!(
        "{} pages of 1000: median {middle:.3} ms, longest {last:.3} ms",
        pages.len()
    );
}

#[tokio::test]
async fn a_hundred_thousand_are_looked_through_in_slices() {
    let (view, core) = view();
    let sessions: Vec<_> = (0..CROWD)
        .map(|number| open(&view, &core, number % 2))
        .collect();
    let begun = Instant::now();
    assert_eq!(page(&view, "route=other").await, (Vec::new(), None));
    told("a filter that takes none", begun);
    let begun = Instant::now();
    let (ids, next) = page(&view, "limit=1&cursor=1-49999").await;
    told("a page of one at the end", begun);
    assert_eq!((ids.len(), next), (1, None));
    let mut locked = Vec::new();
    for (worker, _) in &view.workers {
        let (mut place, mut count) = (Some(0), 0);
        while let Some(from) = place {
            let begun = Instant::now();
            let (handles, next) = worker.sessions.slice(from);
            locked.push(begun.elapsed());
            assert!(handles.len() <= 256, "a slice of {}", handles.len());
            count += handles.len();
            place = next;
        }
        assert_eq!(count, CROWD / 2);
    }
    locked.sort();
    let micros = |place: usize| locked[place].as_secs_f64() * 1e6;
    let (middle, last) = (micros(locked.len() / 2), micros(locked.len() - 1));
    println!("locked for a slice: median {middle:.1} us, longest {last:.1} us");
    let begun = Instant::now();
    let all = body(aliases::application(State(Arc::clone(&view))).await).await;
    told("/application/websockets", begun);
    let all: Vec<Value> = serde_json::from_slice(&all).unwrap();
    assert_eq!(all.len(), CROWD);
    let begun = Instant::now();
    let routes = body(routes::routes(State(Arc::clone(&view))).await).await;
    told("/v1/routes", begun);
    assert!(!routes.is_empty());
    let begun = Instant::now();
    let found = view.workers[1]
        .0
        .sessions
        .find(sessions[99_999].handle().id);
    told("one by its id", begun);
    assert!(found.is_some());
    let begun = Instant::now();
    view.workers[0].0.sessions.sweep(&view.workers[0].0.clock);
    told("the sweep of one worker's 50,000", begun);
}
