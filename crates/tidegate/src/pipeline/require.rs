//! `require`: who may come through.

use std::sync::Arc;

use serde_json::Value;

use super::{Filter, FilterError, Moment, Setting, Step};
use crate::auth::{AuthError, ClaimPath, Expression, Principal, Verdict};
use crate::exchange::Exchange;

/// What is asked of the user. With none of it, any user that is verified may come.
#[derive(Debug, Clone, Default)]
pub struct RequirePlan {
    /// One of these roles; empty: any or none.
    pub roles: Vec<Box<str>>,
    /// All of these scopes.
    pub scopes: Vec<Box<str>>,
    /// All of these claims, each with one of its values; a claim that is a list must hold one.
    pub claims: Vec<(ClaimPath, Vec<Value>)>,
    /// A condition that holds.
    pub expression: Option<Expression>,
}

/// The filter.
#[derive(Debug)]
pub(super) struct Require {
    plan: RequirePlan,
    setting: Setting,
}

impl RequirePlan {
    /// Whether the user may come.
    pub(crate) fn judge(
        &self,
        principal: &Principal,
        exchange: &Exchange,
    ) -> Result<(), AuthError> {
        let has_role = |wanted: &str| principal.roles().any(|role| role == wanted);
        if !self.roles.is_empty() && !self.roles.iter().any(|role| has_role(role)) {
            return Err(AuthError::Forbidden);
        }
        let has_scope = |wanted: &str| principal.scopes().any(|scope| scope == wanted);
        if !self.scopes.iter().all(|scope| has_scope(scope)) {
            return Err(AuthError::Scope {
                needed: self.scopes.join(" ").into(),
            });
        }
        let has_claim =
            |(path, wanted): &(ClaimPath, Vec<Value>)| match path.find(principal.claims()) {
                Some(Value::Array(all)) => all.iter().any(|one| wanted.contains(one)),
                Some(one) => wanted.contains(one),
                None => false,
            };
        let holds = |one: &Expression| one.holds(principal, exchange);
        if !self.claims.iter().all(has_claim) || !self.expression.iter().all(holds) {
            return Err(AuthError::Forbidden);
        }
        Ok(())
    }
}

impl Require {
    pub(super) const fn new(plan: RequirePlan, setting: Setting) -> Self {
        Self { plan, setting }
    }

    fn admit(
        &self,
        known: Result<Arc<Principal>, AuthError>,
        exchange: &Exchange,
    ) -> Result<Step, FilterError> {
        self.plan.judge(&*known?, exchange)?;
        Ok(Step::Continue)
    }
}

impl Filter for Require {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        let Setting {
            authenticator,
            cors,
        } = &self.setting;
        match authenticator.look(exchange, cors.as_ref()) {
            Verdict::Known(known) => Moment::ready(self.admit(known, exchange)),
            Verdict::Wants(shown) => Moment::waits(async {
                let known = authenticator.wait(exchange, shown, cors.as_ref());
                let known = known.await;
                self.admit(known, exchange)
            }),
        }
    }
}
