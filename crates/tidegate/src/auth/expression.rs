//! `expr`: a condition in CEL over who asks, what for, and when. The text is the operator's and is judged
//! with the configuration; the values are strangers', so what they can cost is bounded there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::parser::Expression as Tree;
use cel::{Context, Env, Value};
use serde_json::Value as Json;

use super::principal::Principal;
use super::token::seconds;
use crate::exchange::Exchange;
use crate::headers::stays_though_named;
use crate::pipeline::scheme;
use crate::time;

/// The longest text.
const LONGEST: usize = 4096;
/// How deep operators, calls and brackets may stand in each other.
const DEEPEST: u16 = 32;
/// How deep its tree may be: `a.b.c` and `a + b + c` are deep too, though their text is not.
const DEEPEST_TREE: u16 = 64;
/// The stack of the thread that reads a text: the parser takes much of it for each level.
const STACK: usize = 64 << 20;
/// The most values that claims may have, counted in all depths. With more, no expression holds.
const MOST_VALUES: usize = 1000;
/// The most regex that a pattern may become, in bytes.
const LARGEST_REGEX: usize = 32 << 10;
/// How many macros may work on what another one made: each may make its list twice as large.
const LONGEST_CHAIN: u8 = 3;

const VARIABLES: [&str; 4] = ["subject", "request", "environment", "room"];
/// What each of them has.
const MEMBERS: [&[&str]; 3] = [
    &["user", "roles", "scopes", "claims"],
    &[
        "method",
        "path",
        "query",
        "host",
        "headers",
        "address",
        "secure",
        "websocket",
    ],
    &["now", "date", "time", "hour", "weekday"],
];
/// Which of them there are for a request, and for what is done in a room.
const OF_REQUEST: [bool; VARIABLES.len()] = [true, true, true, false];
const IN_ROOM: [bool; VARIABLES.len()] = [true, false, true, true];
/// What may be called, besides operators and macros.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// A condition.
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    tree: Arc<Tree>,
    environment: Arc<Env>,
    /// Which of `VARIABLES` it names.
    names: [bool; VARIABLES.len()],
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// More stands in each other than can be evaluated in little room.
    #[error("more than {DEEPEST_TREE} operations stand in each other")]
    Deep,
    /// There is no function of that name.
    #[error("there is no function `{0}`")]
    Function(String),
    /// It is too long.
    #[error("it has more than {LONGEST} bytes")]
    Long,
    /// The argument of `matches` is no regex, or is not written there.
    #[error("`matches` wants a regex that is written there, between quotes: {0}")]
    Pattern(String),
    /// Too many macros work on what others made.
    #[error(
        "more than {LONGEST_CHAIN} of `all`, `exists`, `filter` and `map` stand behind each other"
    )]
    Chained,
    /// A variable has no such member.
    #[error("there is no `{name}` in `{variable}`; there are {there}")]
    Member {
        /// The variable.
        variable: &'static str,
        /// What is asked of it.
        name: String,
        /// What it has.
        there: String,
    },
    /// One macro stands in another.
    #[error(
        "`all`, `exists`, `filter` and `map` cannot stand in each other: lists are as long as users make them"
    )]
    Nested,
    /// There is no variable of that name for what is done in a room.
    #[error("there is no `{0}`; there are `subject`, `room` and `environment`")]
    RoomVariable(String),
    /// It is no CEL.
    #[error("it is no CEL: {0}")]
    Syntax(String),
    /// There is no variable of that name.
    #[error("there is no `{0}`; there are `subject`, `request` and `environment`")]
    Variable(String),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is none, or could cost more than a request is worth.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        Self::parse_with(text, OF_REQUEST)
    }

    /// Reads one over what is done in a room: it has `room`, the room's name, and no `request`.
    ///
    /// # Errors
    /// As for the other.
    pub fn parse_for_room(text: &str) -> Result<Self, ExpressionError> {
        Self::parse_with(text, IN_ROOM)
    }

    fn parse_with(text: &str, there: [bool; VARIABLES.len()]) -> Result<Self, ExpressionError> {
        if text.len() > LONGEST {
            return Err(ExpressionError::Long);
        }
        let environment = Env::stdlib().with_optional_support(false);
        let parser = environment.parser().max_recursion_depth(DEEPEST);
        let source = text.to_owned();
        let read = thread::Builder::new()
            .name("expression".into())
            .stack_size(STACK)
            .spawn(move || parser.parse(&source).map_err(|errors| first_line(&errors)));
        let syntax = |what: &str| ExpressionError::Syntax(what.to_owned());
        let read = read.map_err(|_no_thread| syntax("there is no thread to read it"))?;
        let read = read.join().map_err(|_panic| syntax("it cannot be read"))?;
        let tree = read.map_err(ExpressionError::Syntax)?;
        let mut names = [false; VARIABLES.len()];
        Walk {
            bound: Vec::new(),
            depth: 0,
            chain: 0,
            there,
            names: &mut names,
        }
        .check(&tree.expr)?;
        Ok(Self {
            text: text.into(),
            tree: Arc::new(tree),
            environment: Arc::new(environment),
            names,
        })
    }

    /// Whether it holds. What fails, or is no truth value, does not hold.
    pub(crate) fn holds(&self, principal: &Principal, exchange: &Exchange) -> bool {
        self.judge(principal, &mut |context| {
            if self.names[1] {
                context.add_variable_from_value(VARIABLES[1], request_of(exchange));
            }
        })
    }

    /// The same for what is done in the room of that name.
    pub(crate) fn holds_in_room(&self, principal: &Principal, room: &str) -> bool {
        self.judge(principal, &mut |context| {
            if self.names[3] {
                context.add_variable_from_value(VARIABLES[3], text(room));
            }
        })
    }

    fn judge(&self, principal: &Principal, add: &mut dyn FnMut(&mut Context<'_, '_>)) -> bool {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        let [subject, _, environment, _] = self.names;
        if subject {
            let Some(value) = subject_of(principal) else {
                tracing::debug!("a token has too many claims for an expression");
                return false;
            };
            context.add_variable_from_value(VARIABLES[0], value);
        }
        add(&mut context);
        if environment {
            context.add_variable_from_value(VARIABLES[2], now_of(SystemTime::now()));
        }
        match Value::resolve(&self.tree, &context) {
            Ok(Value::Bool(true)) => true,
            Ok(Value::Bool(false)) => {
                tracing::debug!(expression = &*self.text, "it does not hold");
                false
            }
            Ok(_) => {
                tracing::debug!(expression = &*self.text, "it is no truth value");
                false
            }
            Err(error) => {
                tracing::debug!(expression = &*self.text, %error, "it cannot be told");
                false
            }
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

fn first_line(errors: &impl fmt::Display) -> String {
    let text = errors.to_string();
    let line = text.lines().next().unwrap_or_default();
    // The list of all that could stand there is longer than any condition.
    let line = line.split(" expecting {").next().unwrap_or_default();
    line.trim_start_matches("ERROR: <input>:").to_owned()
}

/// Operators have signs in their names, which no function has.
fn is_function(name: &str) -> bool {
    let is_operator = !name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_operator || FUNCTIONS.contains(&name)
}

/// A look at all of a tree, as far down as one may be deep.
struct Walk<'t, 'n> {
    /// The names that a macro gives to items of a list, within it.
    bound: Vec<&'t str>,
    depth: u16,
    /// Of macros, each on the list of the one before.
    chain: u8,
    /// Which of `VARIABLES` there are.
    there: [bool; VARIABLES.len()],
    names: &'n mut [bool; VARIABLES.len()],
}

impl<'t> Walk<'t, '_> {
    /// Whether all that it names is there, and evaluating it costs no more than in proportion to what it
    /// is given.
    fn check(&mut self, expression: &'t Expr) -> Result<(), ExpressionError> {
        let mut children: Vec<&Expr> = Vec::new();
        self.depth += 1;
        // It is evaluated by as many calls within each other.
        if self.depth > DEEPEST_TREE {
            return Err(ExpressionError::Deep);
        }
        match expression {
            Expr::Call(call) => {
                if !is_function(&call.func_name) {
                    return Err(ExpressionError::Function(call.func_name.clone()));
                }
                if call.func_name == "matches" {
                    check_pattern(call.args.last().map(|argument| &argument.expr))?;
                }
                if call.func_name == "_[_]"
                    && let [of, at] = &call.args[..]
                    && let Expr::Literal(LiteralValue::String(name)) = &at.expr
                {
                    check_member(&of.expr, name.inner())?;
                }
                children.extend(call.target.iter().map(|target| &target.expr));
                children.extend(call.args.iter().map(|argument| &argument.expr));
            }
            Expr::Comprehension(one) => {
                if !self.bound.is_empty() {
                    return Err(ExpressionError::Nested);
                }
                self.chain += 1;
                if self.chain > LONGEST_CHAIN {
                    return Err(ExpressionError::Chained);
                }
                self.check(&one.iter_range.expr)?;
                self.chain -= 1;
                self.check(&one.accu_init.expr)?;
                self.bound.extend([one.iter_var.as_str(), &one.accu_var]);
                self.bound.extend(one.iter_var2.as_deref());
                for part in [&one.loop_cond, &one.loop_step, &one.result] {
                    self.check(&part.expr)?;
                }
                self.bound.clear();
            }
            Expr::List(list) => children.extend(list.elements.iter().map(|one| &one.expr)),
            Expr::Map(map) => {
                children.extend(map.entries.iter().flat_map(|one| entry_parts(&one.expr)));
            }
            Expr::Struct(one) => {
                children.extend(one.entries.iter().flat_map(|one| entry_parts(&one.expr)));
            }
            Expr::Select(select) => {
                check_member(&select.operand.expr, &select.field)?;
                children.push(&select.operand.expr);
            }
            Expr::Ident(name) => self.name(name)?,
            Expr::Literal(_) | Expr::Unspecified => {}
        }
        children
            .into_iter()
            .try_for_each(|child| self.check(child))?;
        self.depth -= 1;
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), ExpressionError> {
        let place = VARIABLES.iter().position(|one| *one == name);
        if let Some(place) = place.filter(|place| self.there[*place]) {
            self.names[place] = true;
            return Ok(());
        }
        // Names of types, as in `type(x) == string`, are values too.
        if self.bound.contains(&name) || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let name = name.to_owned();
        Err(match self.there {
            IN_ROOM => ExpressionError::RoomVariable(name),
            _ => ExpressionError::Variable(name),
        })
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&Expr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value.expr],
        EntryExpr::MapEntry(entry) => vec![&entry.key.expr, &entry.value.expr],
    }
}

/// Whether a variable of ours has a member of that name.
fn check_member(operand: &Expr, name: &str) -> Result<(), ExpressionError> {
    let Expr::Ident(variable) = operand else {
        return Ok(());
    };
    let mut known = VARIABLES.into_iter().zip(MEMBERS);
    match known.find(|(one, _)| one == variable) {
        Some((variable, members)) if !members.contains(&name) => Err(ExpressionError::Member {
            variable,
            name: name.to_owned(),
            there: format!("`{}`", members.join("`, `")),
        }),
        _ => Ok(()),
    }
}

fn check_pattern(pattern: Option<&Expr>) -> Result<(), ExpressionError> {
    let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern else {
        return Err(ExpressionError::Pattern("this one is not".into()));
    };
    let built = regex::RegexBuilder::new(pattern.inner())
        .size_limit(LARGEST_REGEX)
        .build();
    built.map(|_| ()).map_err(|error| {
        let text = error.to_string();
        ExpressionError::Pattern(text.lines().next_back().unwrap_or_default().to_owned())
    })
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.map(|(name, value)| (name.to_owned(), value));
    Value::from(HashMap::from(members))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    Value::List(Arc::new(names.map(text).collect()))
}

/// `None`: there is more of it than an expression may be given.
fn subject_of(principal: &Principal) -> Option<Value> {
    let mut left = MOST_VALUES;
    let mut claims = HashMap::new();
    for (name, claim) in principal.claims() {
        claims.insert(name.clone(), of_json(claim, &mut left)?);
    }
    Some(map([
        ("user", text(principal.user())),
        ("roles", list(principal.roles())),
        ("scopes", list(principal.scopes())),
        ("claims", Value::from(claims)),
    ]))
}

fn of_json(json: &Json, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::String(one) => text(one),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::Array(all) => {
            let all: Option<Vec<_>> = all.iter().map(|one| of_json(one, left)).collect();
            Value::List(Arc::new(all?))
        }
        Json::Object(members) => {
            let mut values = HashMap::new();
            for (name, member) in members {
                values.insert(name.clone(), of_json(member, left)?);
            }
            Value::from(values)
        }
    })
}

fn request_of(exchange: &Exchange) -> Value {
    let headers = headers_of(exchange).into_iter();
    let headers: HashMap<_, _> = headers.map(|(name, value)| (name, text(&value))).collect();
    let query = exchange.query.as_deref().unwrap_or_default();
    let host = exchange.authority.as_ref();
    map([
        ("method", text(exchange.method.as_str())),
        ("path", text(exchange.original_path().as_str())),
        ("query", text(&String::from_utf8_lossy(query))),
        ("host", text(host.map_or("", |host| host.host()))),
        ("headers", Value::from(headers)),
        ("address", text(&exchange.client.to_string())),
        ("secure", Value::Bool(is_secure(exchange))),
        ("websocket", Value::Bool(exchange.upgrade)),
    ])
}

/// As where origins are compared: a proxy that is trusted is believed.
fn is_secure(exchange: &Exchange) -> bool {
    matches!(scheme(exchange), Some("https" | "wss"))
}

/// Those that the upstream will see, all lines of a name in one (RFC 9110 section 5.3).
fn headers_of(exchange: &Exchange) -> HashMap<String, String> {
    let is_named =
        |name: &str| !stays_though_named(name) && exchange.headers.list_has("connection", name);
    let mut headers: HashMap<String, String> = HashMap::new();
    for field in exchange.headers.iter() {
        let name = field.name.as_str().to_ascii_lowercase();
        if is_named(&name) {
            continue;
        }
        let value = String::from_utf8_lossy(field.value.as_bytes());
        match headers.entry(name) {
            Entry::Occupied(mut entry) => {
                let between = if entry.key() == "cookie" { "; " } else { ", " };
                let joined = entry.get_mut();
                joined.push_str(between);
                joined.push_str(&value);
            }
            Entry::Vacant(entry) => {
                entry.insert(value.into_owned());
            }
        }
    }
    headers
}

fn now_of(now: SystemTime) -> Value {
    let seconds = i64::try_from(seconds(now)).unwrap_or(i64::MAX);
    let told = time::rfc3339(now);
    // The epoch began on a Thursday; Monday is 1.
    let weekday = (seconds / 86_400 + 3) % 7 + 1;
    map([
        ("now", Value::Int(seconds)),
        ("date", text(told.get(..10).unwrap_or_default())),
        ("time", text(told.get(11..19).unwrap_or_default())),
        ("hour", Value::Int(seconds / 3600 % 24)),
        ("weekday", Value::Int(weekday)),
    ])
}

#[cfg(test)]
mod tests;
