//! What a client is told of frames that mean nothing, or come too fast.

use std::time::Duration;

use super::answer::Correlation;
use super::envelope::Request;
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
        let problem = Problem {
            retry_after: Some(Duration::from_secs(due.as_secs() + 1)),
            ..Problem::rate_limited("messages came faster than they may")
        };
        self.caller.count_refusal(None, &problem);
        let (members, id) = match Request::parse(members) {
            Ok(request) => (request.members, request.id),
            Err(refused) => (refused.members, refused.id),
        };
        let to = Correlation::new(&members, id, self.version_1);
        self.refuse(&to, &problem).await?;
        if self.too_fast.exceeds(MAX_TOO_FAST) {
            return send_away(&self.sender, 4429, "rate_limited").await;
        }
        Ok(())
    }

    /// Tells of an error that belongs to no request.
    pub(super) async fn tell(&mut self, problem: &Problem) -> Result<(), Over> {
        let mut frame = b"{\"op\":\"error\",\"error\":".to_vec();
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
        if self.version_1 {
            self.tell(&problem).await?;
        } else {
            self.send(Correlation::none().refusal(&problem, None))
                .await?;
        }
        self.count_malformed().await
    }

    pub(super) async fn count_malformed(&mut self) -> Result<(), Over> {
        if !self.malformed.exceeds(MAX_MALFORMED) {
            return Ok(());
        }
        let code = if self.version_1 { 4400 } else { 1007 };
        send_away(&self.sender, code, "malformed_frames").await
    }
}
