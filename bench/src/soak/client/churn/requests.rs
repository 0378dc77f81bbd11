//! HTTP connections that serve one request, or not even that.

use std::time::Duration;

use tidegate_tests::Request;

use crate::soak::client::session::answer;
use crate::soak::client::tally::pause;
use crate::soak::client::{Load, Place, http};
use crate::soak::talk::Fault;
use crate::soak::wire::{End, Wire, within};

pub(super) async fn asked_once(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    http::ask(load, place, &mut wire).await?;
    if fastrand::bool() {
        wire.reset();
    }
    Ok(())
}

/// Leaves in the middle of its body.
pub(super) async fn upload_given_up(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let request = Request::new("POST", &format!("{}/echo", place.prefix()))
        .with("Content-Length", "50000")
        .then([b'x'; 20_000]);
    wire.send(&request.bytes()).await?;
    pause(Duration::from_secs(1)).await;
    if fastrand::bool() {
        wire.finish().await;
        within("end of the connection", wire.rest()).await?;
    } else {
        wire.reset();
    }
    Ok(())
}

/// Leaves in the middle of an answer that has no end.
pub(super) async fn download_given_up(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let request = Request::get(&format!("{}/endless", place.prefix()));
    wire.send(&request.bytes()).await?;
    let head = answer(&mut wire).await?;
    pause(Duration::from_secs(2)).await;
    wire.reset();
    if head.status() == 200 {
        Ok(())
    } else {
        Err(format!("{} instead of a 200", head.status()))
    }
}

/// The upstream tears its answer: a cut one must not look whole.
pub(super) async fn answer_torn(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let request = Request::get(&format!("{}/torn", place.prefix()));
    wire.send(&request.bytes()).await?;
    let head = answer(&mut wire).await?;
    let body = within("body", wire.body(&head)).await?;
    match (head.status(), body) {
        (200, Err(End::Fin | End::Reset)) | (502, Ok(_)) => Ok(()),
        (status, Ok(body)) => Err(format!("a {status} of {} bytes looks whole", body.len())),
        (status, Err(end)) => Err(format!("{end:?} within the body of a {status}")),
    }
}
