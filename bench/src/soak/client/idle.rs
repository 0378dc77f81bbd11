//! Sessions that are open and silent, and answer pings.

use tidegate_tests::frame::{Frame, PING, PONG};

use super::session::{Leaving, Session, is_end_by_cut, shown};
use super::{Ended, Load, Place};
use crate::soak::talk::Fault;
use crate::soak::wire::Role;

pub(crate) async fn run(load: &Load, place: Place) -> Result<Ended, Fault> {
    let mut departure = load.departure();
    let opening = load.opening.hold();
    let opened = Session::open(load, place, "/quiet").await;
    drop(opening);
    let mut session = match opened {
        Ok(session) => session,
        Err(fault) => return load.excuse(place, Err(fault)),
    };
    let _open = (load.idle.open.hold(), load.hold_shaky(place));
    loop {
        let next = tokio::select! {
            next = session.wire.frame() => next,
            _ = departure.changed() => {
                let left = session.leave(Leaving::of(place)).await;
                return left.map(|()| Ended::AsMeant);
            }
        };
        match next {
            Ok(frame) if frame.opcode == PING => {
                let pong = Frame::new(PONG, frame.payload);
                session.wire.queue(&Role::Client.frame(pong));
            }
            next if load.was_cut(place) && is_end_by_cut(&next) => {
                return Ok(Ended::ByCut);
            }
            Ok(frame) => return Err(format!("{} in an idle session", shown(&frame))),
            Err(end) => return Err(format!("{end:?} of an idle session")),
        }
    }
}
