//! Which schemas of others are read. A schema comes from whoever may register one, and a record of a few
//! bytes can make its decoder recurse, or make values, without an end. Of those that are left a record
//! makes no more values than its bytes, times the depth.

use apache_avro::Schema;
use apache_avro::schema::Name;

/// How deep values may lie in each other.
const MOST_DEPTH: usize = 16;
/// Parts that a schema may have where each name stands for all that it names.
const MOST_PARTS: usize = 10_000;

/// What is found on the way through a schema.
#[derive(Default)]
struct Walk<'s> {
    /// The named schemas that are complete.
    named: Vec<(&'s Name, &'s Schema)>,
    /// Those that the current one lies in.
    around: Vec<&'s Name>,
    parts: usize,
}

/// Whether every record of this schema can be decoded with bounds.
///
/// # Errors
/// Says what has none.
pub(super) fn bounded(schema: &Schema) -> Result<(), &'static str> {
    Walk::default().enter(schema, 0)
}

impl<'s> Walk<'s> {
    fn enter(&mut self, schema: &'s Schema, depth: usize) -> Result<(), &'static str> {
        self.parts += 1;
        if depth > MOST_DEPTH {
            return Err("its schema is too deep");
        }
        if self.parts > MOST_PARTS {
            return Err("its schema has too many parts");
        }
        match schema {
            Schema::Record(record) => {
                if record.fields.is_empty() {
                    return Err("its schema has a record without fields");
                }
                self.around.push(&record.name);
                for field in &record.fields {
                    self.enter(&field.schema, depth + 1)?;
                }
                self.around.pop();
                self.named.push((&record.name, schema));
                Ok(())
            }
            Schema::Array(array) => self.enter(&array.items, depth + 1),
            Schema::Map(map) => self.enter(&map.types, depth + 1),
            Schema::Union(union) => {
                let variants = union.variants().iter();
                // The number of the variant is a byte of its own.
                let mut variants = variants.filter(|one| !matches!(one, Schema::Null));
                variants.try_for_each(|one| self.enter(one, depth + 1))
            }
            Schema::Ref { name } => self.follow(name, depth),
            Schema::Null => Err("its schema has values of no bytes"),
            Schema::Fixed(fixed) if fixed.size == 0 => Err("its schema has values of no bytes"),
            Schema::Fixed(fixed) => {
                self.named.push((&fixed.name, schema));
                Ok(())
            }
            Schema::Enum(symbols) => {
                self.named.push((&symbols.name, schema));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn follow(&mut self, name: &Name, depth: usize) -> Result<(), &'static str> {
        if self.around.contains(&name) {
            return Err("its schema is recursive");
        }
        let found = self.named.iter().rev().find(|(one, _)| *one == name);
        // A name that nobody explains is not decoded either.
        let (_, schema) = found.ok_or("its schema has a name without a meaning")?;
        self.enter(schema, depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(more: &str) -> Result<(), &'static str> {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":"string"}},{more}]}}"#
        );
        bounded(&Schema::parse_str(&text).unwrap())
    }

    #[test]
    fn what_people_write_is_read() {
        for more in [
            r#"{"name":"b","type":["null","long"]}"#,
            r#"{"name":"b","type":{"type":"array","items":["null","string"]}}"#,
            r#"{"name":"b","type":{"type":"map","values":{"type":"fixed","name":"F","size":4}}},
               {"name":"c","type":"F"}"#,
            r#"{"name":"b","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int"}]}},
               {"name":"c","type":{"type":"array","items":"S"}}"#,
            r#"{"name":"b","type":{"type":"enum","name":"E","symbols":["x"]}},
               {"name":"c","type":["null","E"]}"#,
            r#"{"name":"b","type":{"type":"bytes","logicalType":"decimal","precision":4}},
               {"name":"c","type":{"type":"long","logicalType":"timestamp-millis"}}"#,
        ] {
            assert_eq!(judged(more), Ok(()), "{more}");
        }
        assert_eq!(bounded(&Schema::String), Ok(()));
    }

    #[test]
    fn what_has_no_bound_is_not() {
        let recursive = "its schema is recursive";
        let no_bytes = "its schema has values of no bytes";
        for (more, why) in [
            (r#"{"name":"b","type":["null","R"]}"#, recursive),
            (
                r#"{"name":"b","type":{"type":"record","name":"S","fields":[
                   {"name":"x","type":{"type":"array","items":"R"}}]}}"#,
                recursive,
            ),
            (r#"{"name":"b","type":"null"}"#, no_bytes),
            (
                r#"{"name":"b","type":{"type":"array","items":"null"}}"#,
                no_bytes,
            ),
            (
                r#"{"name":"b","type":{"type":"array","items":{"type":"fixed","name":"F","size":0}}}"#,
                no_bytes,
            ),
            (
                r#"{"name":"b","type":{"type":"array","items":{"type":"record","name":"S","fields":[]}}}"#,
                "its schema has a record without fields",
            ),
        ] {
            assert_eq!(judged(more), Err(why), "{more}");
        }
        let deep = |levels: usize| {
            let (open, close) = (r#"{"type":"array","items":"#, "}");
            let inner = r#""int""#;
            let all = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
            judged(&format!(r#"{{"name":"b","type":{all}}}"#))
        };
        assert_eq!(deep(15), Ok(()));
        assert_eq!(deep(16), Err("its schema is too deep"));
    }

    /// Each level has two of the one before: twelve are thousands of values.
    #[test]
    fn what_grows_by_its_names_is_not() {
        let grown = |levels: usize| {
            let first = r#"{"name":"f0","type":{"type":"record","name":"S0","fields":[{"name":"x","type":"int"}]}}"#;
            let rest = (1..levels).map(|level| {
                let below = level - 1;
                format!(
                    r#",{{"name":"f{level}","type":{{"type":"record","name":"S{level}","fields":[
                    {{"name":"x","type":"S{below}"}},{{"name":"y","type":"S{below}"}}]}}}}"#
                )
            });
            judged(&format!("{first}{}", rest.collect::<String>()))
        };
        assert_eq!(grown(6), Ok(()));
        assert_eq!(grown(14), Err("its schema has too many parts"));
    }
}
