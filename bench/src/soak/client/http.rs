//! Connections that ask one HTTP request after another, some with bodies, and check the answers.

use std::time::Duration;

use tidegate_tests::Request;

use super::session::answer;
use super::tally::pause;
use super::{Load, Place};
use crate::soak::payload;
use crate::soak::talk::Fault;
use crate::soak::wire::{Wire, within};

/// The longest time between two requests of a connection.
const RHYTHM: Duration = Duration::from_millis(500);

/// Asks until its turn is over, or everybody is to leave.
pub(crate) async fn run(load: &Load, place: Place) -> Result<(), Fault> {
    let departure = load.departure();
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let _open = load.http.open.hold();
    for _ in 0..fastrand::u32(20..200) {
        if departure.has_changed().unwrap_or(true) {
            break;
        }
        ask(load, place, &mut wire).await?;
        pause(RHYTHM).await;
    }
    Ok(())
}

/// One request of any kind, and its answer.
pub(crate) async fn ask(load: &Load, place: Place, wire: &mut Wire) -> Result<(), Fault> {
    let (seed, size) = (fastrand::u64(..), payload::size());
    let body = payload::letters(seed, size);
    let prefix = place.prefix();
    let (request, due) = match fastrand::u8(..4) {
        0 => {
            let request = Request::get(&format!("{prefix}/bytes/{size}"));
            (request, payload::bytes(size as u64, size))
        }
        1 => {
            let request = Request::new("POST", &format!("{prefix}/echo")).body(&body);
            (request, body)
        }
        2 => {
            let request = Request::new("PUT", &format!("{prefix}/chunked")).body(&body);
            (request, body)
        }
        _ => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let (first, second) = text.split_at(size / 3);
            let request = Request::new("POST", &format!("{prefix}/echo")).chunks(&[first, second]);
            (request, body)
        }
    };
    wire.send(&request.bytes()).await?;
    let head = answer(wire).await?;
    let got = within("body", wire.body(&head)).await?;
    let got = got.map_err(|end| format!("{end:?} within the body of a {}", head.status()))?;
    if head.status() != 200 {
        let words = String::from_utf8_lossy(&got).into_owned();
        return Err(format!("{} instead of a 200: {words}", head.status()));
    }
    if got != due {
        let (got, due) = (got.len(), due.len());
        return Err(format!("another body: {got} bytes instead of {due}"));
    }
    load.requests.add(1);
    Ok(())
}
