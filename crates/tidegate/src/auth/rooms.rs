//! Who may do what in which rooms: rules of a bridge, each a pattern of names with what it grants to
//! whom. Nothing is granted that no rule grants.
//!
//! Names and patterns are compared segment by segment, and what a claim says is compared as it stands: a
//! value with a `:` in it equals no segment, and a `*` in it is no wildcard.

use std::fmt;

use serde_json::Value;

use super::claims::ClaimPath;
use super::expression::Expression;
use super::principal::Principal;

/// What parts the segments of a name.
const SEPARATOR: char = ':';
/// The most segments of a pattern.
const MOST_SEGMENTS: usize = 16;
/// The most bytes of a room's name.
const LONGEST_ROOM: usize = 128;

/// Whether a room can have this name: one of 1 to 128 bytes, without control characters.
pub(crate) fn is_room(name: &str) -> bool {
    (1..=LONGEST_ROOM).contains(&name.len()) && !name.contains(char::is_control)
}

/// What is granted in the rooms of a pattern.
#[derive(Debug, Clone)]
pub struct RoomRule {
    /// The rooms that are meant.
    pub pattern: RoomPattern,
    /// Who may be a member, and so be told what is pushed to the room.
    pub subscribe: Grant,
    /// Who may publish, as a member or not.
    pub publish: Grant,
    /// Who may see who is there. Where nobody may, nobody is counted.
    pub presence: Grant,
}

/// To whom something is granted.
#[derive(Debug, Clone, Default)]
pub enum Grant {
    /// Nobody.
    #[default]
    Nobody,
    /// Everybody whose session the bridge has opened, known or not.
    All,
    /// Users with one of these roles.
    Roles(Vec<Box<str>>),
    /// Users for whom this holds.
    Expression(Expression),
}

/// Names of rooms, some of them with what the claims of a user say.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    /// Whether any number of segments may follow, at least one.
    is_open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Any one.
    Any,
    /// The claim's value, or one of its values.
    Claim(ClaimPath),
    /// This one.
    Exact(Box<str>),
    /// The user's name.
    User,
}

/// Why a text is no pattern of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomPatternError {
    /// A segment is empty.
    #[error("a segment is empty")]
    Empty,
    /// There are too many segments.
    #[error("it has more than {MOST_SEGMENTS} segments")]
    Long,
    /// A wildcard or a claim stands beside something else.
    #[error("`*` and `{{claims.NAME}}` are segments by themselves")]
    Mixed,
    /// What stands in braces is nothing that is known of a user.
    #[error("in braces stands `claims.NAME` or `user`")]
    Unknown,
    /// `**` is not the last.
    #[error("`**` stands at the end alone")]
    Wildcards,
}

/// What somebody wants to do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomAct {
    /// To be told what is pushed to it.
    Subscribe,
    /// To tell its members something.
    Publish,
    /// To see who is there.
    See,
}

impl RoomRule {
    /// Whether it grants `act` in this room to this user, or to somebody who is not known.
    pub(crate) fn grants(&self, act: RoomAct, room: &str, user: Option<&Principal>) -> bool {
        let grant = match act {
            RoomAct::Subscribe => &self.subscribe,
            RoomAct::Publish => &self.publish,
            RoomAct::See => &self.presence,
        };
        !matches!(grant, Grant::Nobody)
            && self.pattern.matches(room, user)
            && grant.includes(room, user)
    }

    /// Whether anybody may see who is in its rooms.
    pub(crate) const fn has_presence(&self) -> bool {
        !matches!(self.presence, Grant::Nobody)
    }

    /// Whether those who are in this room by way of it can be seen by anybody.
    pub(crate) fn shows(&self, room: &str, user: Option<&Principal>) -> bool {
        self.has_presence() && self.pattern.matches(room, user)
    }
}

impl Grant {
    fn includes(&self, room: &str, user: Option<&Principal>) -> bool {
        match (self, user) {
            (Self::Nobody, _) => false,
            (Self::All, _) => true,
            // They ask for more than is known of nobody.
            (Self::Roles(_) | Self::Expression(_), None) => false,
            (Self::Roles(roles), Some(user)) => roles
                .iter()
                .any(|role| user.roles().any(|has| has == &**role)),
            (Self::Expression(expression), Some(user)) => expression.holds_in_room(user, room),
        }
    }
}

impl RoomPattern {
    /// Reads a pattern: segments with `:` between them, of which each is a text, `*` for any one,
    /// `{claims.NAME}` or `{user}`, and the last may be `**` for one or more.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, RoomPatternError> {
        let (parted, is_open) = match text.strip_suffix("**") {
            Some("") => ("", true),
            Some(rest) => {
                let rest = rest.strip_suffix(SEPARATOR);
                (rest.ok_or(RoomPatternError::Mixed)?, true)
            }
            None => (text, false),
        };
        let mut segments = Vec::new();
        if !(parted.is_empty() && text == "**") {
            for segment in parted.split(SEPARATOR) {
                segments.push(Segment::parse(segment)?);
            }
        }
        if segments.len() > MOST_SEGMENTS {
            return Err(RoomPatternError::Long);
        }
        Ok(Self {
            text: text.into(),
            segments: segments.into(),
            is_open,
        })
    }

    /// Whether a room of this name is meant, for this user. An empty segment is never.
    fn matches(&self, room: &str, user: Option<&Principal>) -> bool {
        let mut names = room.split(SEPARATOR);
        let all_match = self.segments.iter().all(|segment| {
            let name = names.next().filter(|name| !name.is_empty());
            name.is_some_and(|name| segment.matches(name, user))
        });
        if !all_match {
            return false;
        }
        let mut rest = names.peekable();
        rest.peek().is_some() == self.is_open && rest.all(|name| !name.is_empty())
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, RoomPatternError> {
        match text {
            "" => return Err(RoomPatternError::Empty),
            "*" => return Ok(Self::Any),
            "**" => return Err(RoomPatternError::Wildcards),
            "{user}" => return Ok(Self::User),
            _ => {}
        }
        let braced = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(braced) = braced.filter(|braced| !braced.contains(['{', '}'])) else {
            return match text.contains(['*', '{', '}']) {
                true => Err(RoomPatternError::Mixed),
                false => Ok(Self::Exact(text.into())),
            };
        };
        let claim = braced
            .strip_prefix("claims.")
            .filter(|claim| !claim.is_empty());
        claim
            .map(|claim| Self::Claim(ClaimPath::new(claim)))
            .ok_or(RoomPatternError::Unknown)
    }

    fn matches(&self, name: &str, user: Option<&Principal>) -> bool {
        match (self, user) {
            (Self::Any, _) => true,
            (Self::Exact(exact), _) => **exact == *name,
            (Self::User | Self::Claim(_), None) => false,
            (Self::User, Some(user)) => user.user() == name,
            (Self::Claim(path), Some(user)) => match path.find(user.claims()) {
                None => false,
                Some(Value::Array(all)) => all.iter().any(|one| is_written(one, name)),
                Some(one) => is_written(one, name),
            },
        }
    }
}

/// Whether `name` is what a claim says: a text as it is, or a whole number in digits. Nothing else has a
/// form that all would agree on.
fn is_written(claim: &Value, name: &str) -> bool {
    match claim {
        Value::String(text) => text == name,
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string() == name,
        _ => false,
    }
}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomPattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(claims: &Value) -> Principal {
        let mut user = Principal::sample("u1", &["staff"]);
        user.claims = claims.as_object().cloned().unwrap().into();
        user
    }

    fn matches(pattern: &str, room: &str, claims: &Value) -> bool {
        let pattern = RoomPattern::parse(pattern).unwrap();
        pattern.matches(room, Some(&user(claims)))
    }

    #[test]
    fn a_pattern_means_the_rooms_that_it_says() {
        for (pattern, room, is_meant) in [
            ("orders", "orders", true),
            ("orders", "orders:1", false),
            ("orders:*", "orders:1", true),
            ("orders:*", "orders", false),
            ("orders:*", "orders:", false),
            ("orders:*", "orders:1:2", false),
            ("orders:*:items", "orders:1:items", true),
            ("orders:*:items", "orders:1:2:items", false),
            ("orders:**", "orders:1:2", true),
            ("orders:**", "orders:1", true),
            ("orders:**", "orders", false),
            ("orders:**", "orders::2", false),
            ("**", "a", true),
            ("**", "a:b", true),
            ("**", "", false),
            ("*", "a:b", false),
            ("user:{user}", "user:u1", true),
            ("user:{user}", "user:u2", false),
            ("*", "*", true),
            ("Orders", "orders", false),
        ] {
            assert_eq!(
                matches(pattern, room, &json!({})),
                is_meant,
                "{pattern} {room}"
            );
        }
    }

    #[test]
    fn no_claim_widens_a_pattern() {
        let pattern = "orders:{claims.tenant}:*";
        for (tenant, room, is_meant) in [
            (json!("acme"), "orders:acme:7", true),
            (json!("acme"), "orders:other:7", false),
            (json!(42), "orders:42:7", true),
            (json!("*"), "orders:acme:7", false),
            (json!("**"), "orders:acme:7", false),
            (json!("{user}"), "orders:u1:7", false),
            (json!("{claims.tenant}"), "orders:acme:7", false),
            (json!("a:b"), "orders:a:b", false),
            (json!("a:b"), "orders:a:b:7", false),
            (json!("acme:7"), "orders:acme:7", false),
            (json!(""), "orders::7", false),
            (json!("acm"), "orders:acme:7", false),
            (json!(null), "orders:null:7", false),
            (json!(true), "orders:true:7", false),
            (json!(1.5), "orders:1.5:7", false),
            (json!({"acme": 1}), "orders:acme:7", false),
            (json!(["acme", "other"]), "orders:other:7", true),
            (json!(["acme", "*"]), "orders:third:7", false),
            (json!([["acme"]]), "orders:acme:7", false),
            (json!([]), "orders:acme:7", false),
            (json!([]), "orders::7", false),
        ] {
            let claims = json!({ "tenant": tenant });
            assert_eq!(matches(pattern, room, &claims), is_meant, "{tenant} {room}");
        }
        assert!(
            !matches(pattern, "orders:acme:7", &json!({})),
            "no such claim"
        );
        assert!(!matches(pattern, "orders::7", &json!({})), "no such claim");
        assert!(matches(pattern, "orders:x:7", &json!({"tenant": "x"})));
        assert!(matches(
            "t:{claims.org.id}",
            "t:x",
            &json!({"org": {"id": "x"}})
        ));
        let nobody = RoomPattern::parse(pattern).unwrap();
        assert!(!nobody.matches("orders:acme:7", None));
        assert!(!nobody.matches("orders::7", None));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        use RoomPatternError::{Empty, Long, Mixed, Unknown, Wildcards};
        for (text, error) in [
            ("", Empty),
            ("a:", Empty),
            (":a", Empty),
            ("a::b", Empty),
            (":**", Empty),
            ("a*", Mixed),
            ("a:b**", Mixed),
            ("***", Mixed),
            ("a:x{user}", Mixed),
            ("{user}{user}", Mixed),
            ("a:**:b", Wildcards),
            ("{tenant}", Unknown),
            ("{claims.}", Unknown),
            ("{}", Unknown),
            (&vec!["a"; MOST_SEGMENTS + 1].join(":"), Long),
        ] {
            assert_eq!(RoomPattern::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_rule_grants_what_it_says_to_whom_it_says() {
        let rule = RoomRule {
            pattern: RoomPattern::parse("chat:*").unwrap(),
            subscribe: Grant::All,
            publish: Grant::Roles(vec!["staff".into()]),
            presence: Grant::Nobody,
        };
        let (staff, guest) = (
            Principal::sample("u1", &["staff"]),
            Principal::sample("u2", &[]),
        );
        for (act, user, is_granted) in [
            (RoomAct::Subscribe, None, true),
            (RoomAct::Subscribe, Some(&guest), true),
            (RoomAct::Publish, None, false),
            (RoomAct::Publish, Some(&guest), false),
            (RoomAct::Publish, Some(&staff), true),
            (RoomAct::See, Some(&staff), false),
        ] {
            assert_eq!(
                rule.grants(act, "chat:1", user),
                is_granted,
                "{act:?} {user:?}"
            );
            assert!(!rule.grants(act, "talk:1", user), "{act:?} {user:?}");
        }
        assert!(!rule.shows("chat:1", Some(&staff)));
    }

    #[test]
    fn an_expression_sees_the_room() {
        let text = "room.startsWith('chat:') && 'staff' in subject.roles";
        let grant = Grant::Expression(Expression::parse_for_room(text).unwrap());
        let (staff, guest) = (
            Principal::sample("u1", &["staff"]),
            Principal::sample("u2", &[]),
        );
        assert!(grant.includes("chat:1", Some(&staff)));
        assert!(!grant.includes("talk:1", Some(&staff)));
        assert!(!grant.includes("chat:1", Some(&guest)));
        assert!(!grant.includes("chat:1", None));
        assert!(Expression::parse_for_room("request.path == '/'").is_err());
        assert!(Expression::parse("room == 'a'").is_err());
    }
}
