//! The filter `require`: what is asked of the user.

use serde_json::Value;

use super::super::error::{Fault, Problems};
use super::super::yaml::{Choice, Quoted, Spot};
use super::auth;
use crate::auth::{ClaimPath, Expression};
use crate::pipeline::RequirePlan;

/// The filter, with an argument or without.
pub(super) fn read(choice: &Choice<'_>, problems: &mut Problems) -> Option<RequirePlan> {
    let Some(spot) = &choice.argument else {
        return Some(RequirePlan::default());
    };
    let mut fields = spot.fields(problems)?;
    let roles = fields.take("roles");
    let scopes = fields.take("scopes");
    let claims = fields.take("claims");
    let expression = fields.take("expr");
    let plan = RequirePlan {
        roles: texts(roles.as_ref(), problems, auth::text),
        scopes: texts(scopes.as_ref(), problems, scope),
        claims: claims.map_or_else(Vec::new, |spot| read_claims(&spot, problems)),
        expression: expression.and_then(|spot| spot.value(problems, condition)),
    };
    fields.finish(problems);
    Some(plan)
}

fn condition(text: &str) -> Result<Expression, Fault> {
    Expression::parse(text).map_err(|error| {
        let fault = Fault::new(format!("{} is no condition: {error}", Quoted(text)));
        fault.suggest("write CEL, such as `subject.claims.tenant == 'acme'`")
    })
}

fn texts(
    spot: Option<&Spot<'_>>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<Box<str>, Fault>,
) -> Vec<Box<str>> {
    let spots = spot.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let spots = spots.iter();
    spots
        .filter_map(|spot| spot.value(problems, &parse))
        .collect()
}

/// A scope (RFC 6749 section 3.3): it goes into a header between quotes.
fn scope(text: &str) -> Result<Box<str>, Fault> {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if !text.bytes().all(fits) {
        let fault = Fault::new(format!("{} is no scope", Quoted(text)));
        return Err(fault.suggest("a scope has neither spaces nor quotes; write a list"));
    }
    auth::text(text)
}

fn read_claims(spot: &Spot<'_>, problems: &mut Problems) -> Vec<(ClaimPath, Vec<Value>)> {
    let mut claims = Vec::new();
    for (name, spot) in spot.entries(problems) {
        let mut values = Vec::new();
        for spot in spot.one_or_many(problems) {
            let Some(text) = spot.text(problems) else {
                continue;
            };
            values.push(Value::from(text));
            // YAML does not say whether `42` is a number to the issuer of tokens.
            let other = serde_json::from_str(text).ok();
            values.extend(other.filter(|value: &Value| value.is_number() || value.is_boolean()));
        }
        claims.push((ClaimPath::new(name.value), values));
    }
    claims
}
