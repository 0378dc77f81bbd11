//! Sessions that are opened, and end.

use std::time::Duration;

use tidegate_tests::frame::{BINARY, Frame, TEXT};
use tokio::time::sleep;

use crate::soak::client::session::{Leaving, Session};
use crate::soak::client::tally::pause;
use crate::soak::client::{Load, Place};
use crate::soak::payload;
use crate::soak::talk::Fault;
use crate::soak::wire::{End, Role, within};

/// How long sessions last, at most.
const LIFE: Duration = Duration::from_secs(2);
/// What the gateway's own clock for a closing handshake may not need: 5 s, and then some for a busy
/// machine.
const CLOSING: Duration = Duration::from_secs(15);

pub(super) async fn client_closes(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = Session::open(load, place, "/until/1000").await?;
    session.say(load, any_message()).await?;
    pause(LIFE).await;
    session.leave(Leaving::Close).await
}

pub(super) async fn upstream_closes(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/close").await?;
    session.expect_close(3001).await?;
    session.follow(3001).await
}

pub(super) async fn client_ends(load: &Load, place: Place) -> Result<(), Fault> {
    let session = begun(load, place, "/until/1001").await?;
    pause(LIFE).await;
    session.leave(Leaving::Fin).await
}

pub(super) async fn client_resets(load: &Load, place: Place) -> Result<(), Fault> {
    let session = begun(load, place, "/until/1001").await?;
    pause(LIFE).await;
    session.leave(Leaving::Reset).await
}

/// The upstream, in the middle of a frame, cannot be told a code.
pub(super) async fn client_resets_in_a_frame(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/until/0").await?;
    let bytes = Role::Client.frame(any_message());
    session.wire.send(&bytes[..bytes.len() / 2]).await?;
    pause(LIFE).await;
    session.wire.reset();
    Ok(())
}

/// Says goodbye and leaves the end of TCP to the gateway.
pub(super) async fn client_closes_and_stays(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/until/1000").await?;
    session.send(Frame::close(1000, "")).await?;
    session.expect_close(1000).await?;
    within_closing(&mut session).await
}

/// The upstream says goodbye and leaves the end of TCP to the gateway.
pub(super) async fn upstream_closes_and_stays(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/hold").await?;
    session.expect_close(3001).await?;
    session.send(Frame::close(3001, "")).await?;
    within_closing(&mut session).await
}

pub(super) async fn client_breaks_a_frame(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/until/1001").await?;
    let bytes = match fastrand::u8(..3) {
        0 => Frame::text("not masked").bytes(),
        1 => Role::Client.frame(Frame::new(3, "reserved opcode")),
        _ => Role::Client.frame(Frame::text("reserved bit").reserved(4)),
    };
    session.wire.send(&bytes).await?;
    session.expect_close(1002).await?;
    session.follow(1002).await
}

/// More than the route's `max_message`; the header alone tells.
pub(super) async fn client_says_too_much(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/until/1001").await?;
    let frame = Frame::new(BINARY, vec![0; 200 * 1024]).from_client();
    session.wire.send(&frame.header()).await?;
    session.expect_close(1009).await?;
    session.follow(1009).await
}

pub(super) async fn upstream_breaks_a_frame(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/bad").await?;
    session.expect_close(1011).await?;
    session.follow(1011).await
}

pub(super) async fn upstream_says_too_much(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/big").await?;
    session.expect_close(1001).await?;
    session.follow(1001).await
}

pub(super) async fn upstream_ends(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/fin").await?;
    session.expect_close(1011).await?;
    session.follow(1011).await
}

pub(super) async fn upstream_resets(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = Session::open(load, place, "/rst").await?;
    session.send(any_message()).await?;
    // The reset may overtake the echo, or cut it.
    let next = within(
        "end of the session",
        session.wire.telling_frame(Role::Client),
    );
    match next.await? {
        Ok(frame) if matches!(frame.opcode, TEXT | BINARY) => {
            session.expect_close(1011).await?;
            session.follow(1011).await
        }
        Ok(frame) if crate::soak::client::session::is_close(&frame, 1011) => {
            session.follow(1011).await
        }
        Ok(frame) => Err(format!("{frame:?} of an upstream that is gone")),
        Err(End::Reset) => Ok(()),
        Err(End::Fin) => Err("a clean end where the upstream was reset".to_owned()),
    }
}

/// Half a message must never look whole.
pub(super) async fn upstream_resets_in_a_frame(load: &Load, place: Place) -> Result<(), Fault> {
    let mut session = begun(load, place, "/half").await?;
    let (rest, end) = within("end of the session", session.wire.rest()).await?;
    if end == End::Reset {
        return Ok(());
    }
    Err(format!(
        "{} bytes of half a frame, and then a clean end",
        rest.len()
    ))
}

/// Takes nothing of what comes, and leaves.
pub(super) async fn client_leaves_a_flood(load: &Load, place: Place) -> Result<(), Fault> {
    let session = Session::open(load, place, "/flood").await?;
    sleep(Duration::from_secs(3)).await;
    session.wire.reset();
    Ok(())
}

/// A session in which one message has come back.
async fn begun(load: &Load, place: Place, path: &str) -> Result<Session, Fault> {
    let mut session = Session::open(load, place, path).await?;
    session.say(load, any_message()).await?;
    Ok(session)
}

fn any_message() -> Frame {
    let size = payload::size();
    Frame::new(BINARY, payload::bytes(fastrand::u64(..), size))
}

async fn within_closing(session: &mut Session) -> Result<(), Fault> {
    let ended = tokio::time::timeout(CLOSING, session.expect_end()).await;
    ended.map_err(|_elapsed| format!("the gateway does not end TCP within {CLOSING:?}"))?
}
