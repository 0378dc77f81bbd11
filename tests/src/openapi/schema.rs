//! Whether a value fits a JSON schema, as far as the document uses the language: another keyword is
//! a panic, not a silence.

use std::net::{Ipv4Addr, Ipv6Addr};

use regex::Regex;
use serde_json::{Map, Value};

/// Says what does not fit, and where. `resolve` gives what a reference is to.
pub(super) fn judge<'a>(
    schema: &'a Value,
    value: &Value,
    resolve: &dyn Fn(&str) -> &'a Value,
) -> Result<(), String> {
    Judge { resolve }.fits(schema, value, "")
}

struct Judge<'j, 'a> {
    resolve: &'j dyn Fn(&str) -> &'a Value,
}

impl<'a> Judge<'_, 'a> {
    fn fits(&self, schema: &'a Value, value: &Value, at: &str) -> Result<(), String> {
        let members = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(members) => members,
            other => return Err(format!("{at}: nothing fits {other}: {value}")),
        };
        for (keyword, rule) in members {
            let fits = match keyword.as_str() {
                "description" | "summary" | "examples" | "default" => true,
                "$ref" => {
                    self.fits((self.resolve)(text(rule)), value, at)?;
                    true
                }
                "allOf" => {
                    for one in list(rule) {
                        self.fits(one, value, at)?;
                    }
                    true
                }
                "anyOf" => self.fitting(rule, value, at) > 0,
                "oneOf" => self.fitting(rule, value, at) == 1,
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(rule, item, &format!("{at}/{place}"))?;
                    }
                    true
                }
                "properties" | "additionalProperties" => {
                    self.members(members, keyword, value, at)?;
                    true
                }
                _ => is_simply(keyword, rule, value),
            };
            if !fits {
                return Err(format!("{at}: {keyword} {rule} does not hold for {value}"));
            }
        }
        Ok(())
    }

    fn fitting(&self, rules: &'a Value, value: &Value, at: &str) -> usize {
        let rules = list(rules).iter();
        rules
            .filter(|rule| self.fits(rule, value, at).is_ok())
            .count()
    }

    fn members(
        &self,
        schema: &'a Map<String, Value>,
        keyword: &str,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let known = schema.get("properties").and_then(Value::as_object);
        let rule = |name: &String| known.and_then(|known| known.get(name));
        for (name, member) in value.as_object().into_iter().flatten() {
            let rule = match (keyword, rule(name)) {
                ("properties", rule) => rule,
                (_, Some(_known)) => None,
                (_, None) => schema.get(keyword),
            };
            if let Some(rule) = rule {
                self.fits(rule, member, &format!("{at}/{name}"))?;
            }
        }
        Ok(())
    }
}

/// Whether a rule holds that has no schema in it.
fn is_simply(keyword: &str, rule: &Value, value: &Value) -> bool {
    let at_most =
        |size: Option<usize>| size.is_none_or(|size| size as u64 <= rule.as_u64().unwrap());
    let at_least =
        |size: Option<usize>| size.is_none_or(|size| size as u64 >= rule.as_u64().unwrap());
    let members = value.as_object().map(Map::len);
    let items = value.as_array().map(Vec::len);
    let number = |holds: fn(f64, f64) -> bool| {
        let bound = rule.as_f64().unwrap();
        value.as_f64().is_none_or(|number| holds(number, bound))
    };
    match keyword {
        "type" => match rule {
            Value::Array(names) => names.iter().any(|name| is_of(text(name), value)),
            name => is_of(text(name), value),
        },
        "const" => rule == value,
        "enum" => list(rule).contains(value),
        "required" => value.as_object().is_none_or(|members| {
            let mut names = list(rule).iter();
            names.all(|name| members.contains_key(text(name)))
        }),
        "minimum" => number(|number, bound| number >= bound),
        "maximum" => number(|number, bound| number <= bound),
        "maxLength" => at_most(value.as_str().map(|text| text.chars().count())),
        "minItems" => at_least(items),
        "maxItems" => at_most(items),
        "minProperties" => at_least(members),
        "pattern" => {
            let pattern = Regex::new(text(rule)).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "format" => value.as_str().is_none_or(|value| is_in(text(rule), value)),
        other => panic!("the keyword {other} is not known here"),
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the type {other} is not known here"),
    }
}

fn is_in(format: &str, value: &str) -> bool {
    match format {
        "ipv4" => value.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => value.parse::<Ipv6Addr>().is_ok(),
        "date-time" => {
            let shape = r"^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?Z$";
            Regex::new(shape).unwrap().is_match(value)
        }
        other => panic!("the format {other} is not known here"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_is_heeded() {
        let number = json!({ "type": "integer" });
        for (schema, good, bad) in [
            (json!({ "$ref": "#" }), json!(1), json!("x")),
            (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
            (json!({ "type": "integer" }), json!(-1), json!(1.5)),
            (json!({ "const": "a" }), json!("a"), json!("b")),
            (json!({ "enum": [1, 2] }), json!(2), json!(3)),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
            (json!({ "minimum": 1, "maximum": 2 }), json!(2), json!(0)),
            (json!({ "minimum": 1, "maximum": 2 }), json!(1), json!(3)),
            (json!({ "maxLength": 2 }), json!("éé"), json!("abc")),
            (json!({ "minItems": 1 }), json!([0]), json!([])),
            (json!({ "maxItems": 1 }), json!([0]), json!([0, 0])),
            (json!({ "minProperties": 1 }), json!({ "a": 1 }), json!({})),
            (json!({ "pattern": "^a+$" }), json!("aa"), json!("ab")),
            (json!({ "format": "ipv4" }), json!("10.0.0.1"), json!("::1")),
            (json!({ "format": "ipv6" }), json!("::1"), json!("10.0.0.1")),
            (
                json!({ "format": "date-time" }),
                json!("2026-11-21T03:00:01.2Z"),
                json!("2026-11-21"),
            ),
            (json!({ "items": number }), json!([1, 2]), json!([1, "x"])),
            (
                json!({ "properties": { "a": number } }),
                json!({ "b": "x" }),
                json!({ "a": "x" }),
            ),
            (
                json!({ "properties": { "a": true }, "additionalProperties": false }),
                json!({ "a": "x" }),
                json!({ "a": 1, "b": 1 }),
            ),
            (
                json!({ "additionalProperties": number }),
                json!({ "a": 1 }),
                json!({ "a": "x" }),
            ),
            (
                json!({ "allOf": [number, { "minimum": 1 }] }),
                json!(1),
                json!(0),
            ),
            (
                json!({ "anyOf": [number, { "const": "x" }] }),
                json!("x"),
                json!("y"),
            ),
            (
                json!({ "oneOf": [number, { "minimum": 1 }] }),
                json!(0),
                json!(1),
            ),
        ] {
            let judge = |value| judge(&schema, value, &|_| &number);
            assert_eq!(judge(&good), Ok(()), "{schema}");
            assert!(judge(&bad).is_err(), "{schema} does not refuse {bad}");
        }
    }

    #[test]
    #[should_panic = "not known here"]
    fn another_keyword_is_not_overlooked() {
        judge(&json!({ "multipleOf": 2 }), &json!(3), &|_| &Value::Null).ok();
    }
}
