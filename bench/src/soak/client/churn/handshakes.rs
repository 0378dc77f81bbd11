//! Handshakes that are refused, late, broken or given up.

use std::time::Duration;

use tidegate_tests::Request;
use tidegate_tests::frame::Frame;
use tokio::time::sleep;

use crate::soak::client::session::{Leaving, Session, answer, handshake};
use crate::soak::client::tally::pause;
use crate::soak::client::{Load, Place, http};
use crate::soak::payload;
use crate::soak::talk::Fault;
use crate::soak::wire::{Role, Wire, within};

/// A refusal arrives as the upstream made it, and the connection serves on.
pub(super) async fn refused_and_asked_again(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let status = if fastrand::bool() { 401 } else { 403 };
    wire.send(&handshake(place, &format!("/refuse/{status}")))
        .await?;
    let head = answer(&mut wire).await?;
    let body = within("body", wire.body(&head)).await?;
    if head.status() != status || body != Ok(payload::letters(status.into(), 300)) {
        return Err(format!(
            "{} instead of a {status} and its body",
            head.status()
        ));
    }
    if head.field("set-cookie") != Some("no=1") {
        return Err("the refusal has lost its cookie".to_owned());
    }
    http::ask(load, place, &mut wire).await
}

pub(super) async fn accepted_late(load: &Load, place: Place) -> Result<(), Fault> {
    let path = format!("/late/{}", fastrand::u32(100..2_000));
    let mut session = Session::open(load, place, &path).await?;
    session.say(load, Frame::text("at last")).await?;
    session.leave(Leaving::Close).await
}

/// What is said behind the handshake waits for the upstream's word.
pub(super) async fn early_words(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let early = Role::Client.frame(Frame::text("early"));
    wire.send(&[handshake(place, "/late/300"), early].concat())
        .await?;
    let mut session = Session::opened(wire).await?;
    let frame = within("echo", session.wire.telling_frame(Role::Client)).await?;
    match frame {
        Ok(frame) if frame.payload == b"early" => session.leave(Leaving::Close).await,
        other => Err(format!("{other:?} instead of the early word")),
    }
}

pub(super) async fn answered_with_garbage(load: &Load, place: Place) -> Result<(), Fault> {
    is_refused(load, place, handshake(place, "/garbage"), 502).await
}

pub(super) async fn upstream_hangs_up(load: &Load, place: Place) -> Result<(), Fault> {
    is_refused(load, place, handshake(place, "/hangup"), 502).await
}

pub(super) async fn upstream_slams(load: &Load, place: Place) -> Result<(), Fault> {
    is_refused(load, place, handshake(place, "/slam"), 502).await
}

pub(super) async fn no_key(load: &Load, place: Place) -> Result<(), Fault> {
    let request = Request::handshake(&format!("{}/echo", place.prefix()));
    let request = request.without("Sec-WebSocket-Key").bytes();
    is_refused(load, place, request, 400).await
}

/// The upstream is silent; it must see that the client is gone.
pub(super) async fn given_up_by_end(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    wire.send(&handshake(place, "/never")).await?;
    pause(Duration::from_secs(2)).await;
    wire.finish().await;
    within("end of the connection", wire.rest()).await?;
    Ok(())
}

pub(super) async fn given_up_by_reset(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    wire.send(&handshake(place, "/never")).await?;
    pause(Duration::from_secs(2)).await;
    wire.reset();
    Ok(())
}

pub(super) async fn half_a_head(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let head = handshake(place, "/echo");
    wire.send(&head[..fastrand::usize(1..head.len())]).await?;
    pause(Duration::from_millis(500)).await;
    if fastrand::bool() {
        wire.finish().await;
        within("end of the connection", wire.rest()).await?;
    } else {
        wire.reset();
    }
    Ok(())
}

/// Slow, but in time.
pub(super) async fn slow_head(load: &Load, place: Place) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    let head = handshake(place, "/echo");
    for piece in head.chunks(head.len().div_ceil(30)) {
        wire.send(piece).await?;
        sleep(Duration::from_millis(100)).await;
    }
    let mut session = Session::opened(wire).await?;
    session.say(load, Frame::text("slow but sure")).await?;
    session.leave(Leaving::Close).await
}

/// The gateway waits ten seconds for the end of a head.
pub(super) async fn endless_head(load: &Load, place: Place) -> Result<(), Fault> {
    let head = handshake(place, "/echo");
    is_refused(load, place, head[..head.len() - 2].to_vec(), 408).await
}

async fn is_refused(load: &Load, place: Place, request: Vec<u8>, status: u16) -> Result<(), Fault> {
    let mut wire = Wire::connect(place.source, load.gateway).await?;
    wire.send(&request).await?;
    let head = answer(&mut wire).await?;
    let body = within("body", wire.body(&head)).await?;
    match (head.status(), body) {
        (got, Ok(_)) if got == status => Ok(()),
        (got, body) => {
            let words = body.map(|body| String::from_utf8_lossy(&body).into_owned());
            Err(format!("{got} instead of a {status}: {words:?}"))
        }
    }
}
