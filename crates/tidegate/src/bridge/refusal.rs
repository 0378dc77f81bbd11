//! What a client is told of frames that mean nothing, or come too fast.

use std::time::Duration;

use super::answer::Correlation;
use super::envelope::{Id, Request};
use super::faults::Faults;
use super::members::Members;
use super::problem::Problem;
use super::session::{Over, Session, send_away};

/// Malformed frames in a minute that are answered; the next ends the session.
const MAX_MALFORMED: u32 = 10;
/// Messages in a minute that are answered for having come too fast.
const MAX_TOO_FAST: u32 = 1000;

impl Session<'_> {
    pub(super) async fn too_fast(
        &mut self,
        members: Members<'_>,
        due: Duration,
    ) -> Result<(), Over> {
        let problem = Problem::too_fast(due);
        self.caller.count_refusal(None, &problem);
        let (members, id) = match Request::parse(members) {
            Ok(request) => (request.members, request.id),
            Err(refused) => (refused.members, refused.id),
        };
        let to = Correlation::new(&members, id, self.caller.version_1);
        self.refuse(&to, &problem).await?;
        self.count_too_fast().await
    }

    /// A frame with an `op` is told once, until one is in time again: an error for each would be no less of
    /// a flood.
    pub(super) async fn op_too_fast(
        &mut self,
        members: &Members<'_>,
        due: Duration,
    ) -> Result<(), Over> {
        if !std::mem::replace(&mut self.faults().has_told_late, true) {
            self.tell(&Problem::too_fast(due), members).await?;
        }
        self.count_too_fast().await
    }

    pub(super) fn charge(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.charge(bytes);
        }
    }

    pub(super) async fn count_too_fast(&mut self) -> Result<(), Over> {
        if self.faults().too_fast.exceeds(MAX_TOO_FAST) {
            return send_away(&mut self.socket, 4429, "rate_limited").await;
        }
        Ok(())
    }

    /// Tells of an error that belongs to no request, but may be to a frame with an id.
    pub(super) async fn tell(
        &mut self,
        problem: &Problem,
        members: &Members<'_>,
    ) -> Result<(), Over> {
        let mut frame = b"{\"op\":\"error\",".to_vec();
        if let Some(Ok(id)) = members.value("id").map(Id::parse) {
            frame.extend_from_slice(b"\"id\":");
            id.write(&mut frame);
            frame.push(b',');
        }
        frame.extend_from_slice(b"\"error\":");
        problem.write(None, &mut frame);
        frame.push(b'}');
        self.send(String::from_utf8(frame).unwrap_or_default())
            .await
    }

    pub(super) async fn refuse(&mut self, to: &Correlation, problem: &Problem) -> Result<(), Over> {
        if self.caller.is_silent(to) {
            return Ok(());
        }
        self.send(to.refusal(problem, None)).await
    }

    pub(super) async fn malformed(&mut self, problem: Problem) -> Result<(), Over> {
        if self.caller.version_1 {
            self.tell(&problem, &Members::default()).await?;
        } else {
            self.send(Correlation::none().refusal(&problem, None))
                .await?;
        }
        self.count_malformed().await
    }

    pub(super) fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_with(|| Box::new(Faults::new()))
    }

    pub(super) async fn count_malformed(&mut self) -> Result<(), Over> {
        if !self.faults().malformed.exceeds(MAX_MALFORMED) {
            return Ok(());
        }
        let code = if self.caller.version_1 { 4400 } else { 1007 };
        send_away(&mut self.socket, code, "protocol_error").await
    }
}
