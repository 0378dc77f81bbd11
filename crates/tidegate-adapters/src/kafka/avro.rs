//! The records of the predecessor (rows B-030 to B-032) as Avro.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Once, OnceLock};

use apache_avro::types::Value;
use apache_avro::util::max_allocation_bytes;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};

/// The most that one length in a record may ask for. Its records are at most as large as brokers take.
const MOST_ALLOCATED: usize = 16 * 1024 * 1024;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Push {
        user: String,
        base_url: String,
        uri: String,
        body: String,
    },
    Connected {
        user: String,
        roles: Vec<String>,
    },
    Disconnected {
        user: String,
        hash: i64,
        is_timeout: bool,
    },
    /// No record at all, but a key.
    Text(String),
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Push,
    Connected,
    Disconnected,
    Text,
}

impl Kind {
    /// The schema that we write with, as it is registered.
    pub(super) const fn written(self) -> &'static str {
        match self {
            Self::Push => include_str!("schemas/web_socket_event.avsc"),
            Self::Connected => include_str!("schemas/user_connect_event.avsc"),
            Self::Disconnected => include_str!("schemas/user_disconnect_event.avsc"),
            Self::Text => "\"string\"",
        }
    }

    /// The subject of a value of this kind: its record's full name.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Self::Push => "io.github.sevenparadigms.gateway.kafka.model.WebSocketEvent",
            Self::Connected => "io.github.sevenparadigms.gateway.kafka.model.UserConnectEvent",
            Self::Disconnected => {
                "io.github.sevenparadigms.gateway.kafka.model.UserDisconnectEvent"
            }
            Self::Text => "string",
        }
    }
}

impl Record {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Push { .. } => Kind::Push,
            Self::Connected { .. } => Kind::Connected,
            Self::Disconnected { .. } => Kind::Disconnected,
            Self::Text(_) => Kind::Text,
        }
    }

    fn into_value(self) -> Value {
        let record = |fields: Vec<(&str, Value)>| {
            let fields = fields.into_iter();
            Value::Record(
                fields
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            )
        };
        match self {
            Self::Push {
                user,
                base_url,
                uri,
                body,
            } => record(vec![
                ("username", Value::String(user)),
                ("baseUrl", Value::String(base_url)),
                ("uri", Value::String(uri)),
                ("body", Value::String(body)),
            ]),
            Self::Connected { user, roles } => record(vec![
                ("username", Value::String(user)),
                (
                    "roles",
                    Value::Array(roles.into_iter().map(Value::String).collect()),
                ),
            ]),
            Self::Disconnected {
                user,
                hash,
                is_timeout,
            } => record(vec![
                ("username", Value::String(user)),
                ("hash", Value::Long(hash)),
                ("isTimeOut", Value::Boolean(is_timeout)),
            ]),
            Self::Text(text) => Value::String(text),
        }
    }

    /// The datum, written with a schema that may be another version of ours.
    ///
    /// # Errors
    /// When the record has no place in that schema.
    pub(super) fn write(self, schema: &Schema) -> Result<Vec<u8>, String> {
        let value = self.into_value().resolve(schema);
        let value = value.map_err(|error| error.to_string())?;
        to_avro_datum(schema, value).map_err(|error| error.to_string())
    }

    /// Reads a datum that was written with the schema `written`, which may be another version of ours.
    ///
    /// # Errors
    /// When it is not of that kind, or is cut, or goes on behind its end.
    pub(super) fn read(kind: Kind, written: &Schema, datum: &[u8]) -> Result<Self, String> {
        static BOUND: Once = Once::new();
        BOUND.call_once(|| {
            max_allocation_bytes(MOST_ALLOCATED);
        });
        // What is behind it reads what strangers wrote, and may be wrong about it.
        catch_unwind(AssertUnwindSafe(|| read_unguarded(kind, written, datum)))
            .unwrap_or_else(|_panic| Err("its decoder panicked".to_owned()))
    }
}

fn read_unguarded(kind: Kind, written: &Schema, mut datum: &[u8]) -> Result<Record, String> {
    let named = |schema: &Schema| match schema {
        Schema::Record(record) => Some(record.name.name.clone()),
        _ => None,
    };
    let ours = schema_of(kind)?;
    if named(written) != named(ours) {
        let what = named(written).unwrap_or_else(|| "no record".to_owned());
        return Err(format!("it is a {what}"));
    }
    let value = from_avro_datum(written, &mut datum, Some(ours));
    let value = value.map_err(|error| error.to_string())?;
    if !datum.is_empty() {
        return Err(format!("{} bytes follow it", datum.len()));
    }
    record_of(kind, value).ok_or_else(|| "its fields are not those of its schema".to_owned())
}

/// The schema of a kind, parsed.
pub(super) fn schema_of(kind: Kind) -> Result<&'static Schema, String> {
    static PARSED: [OnceLock<Result<Schema, String>>; 4] = [const { OnceLock::new() }; 4];
    let parsed = PARSED[kind as usize]
        .get_or_init(|| Schema::parse_str(kind.written()).map_err(|error| error.to_string()));
    parsed.as_ref().map_err(Clone::clone)
}

fn record_of(kind: Kind, value: Value) -> Option<Record> {
    let mut fields = match value {
        Value::Record(fields) => fields.into_iter(),
        Value::String(text) if kind == Kind::Text => return Some(Record::Text(text)),
        _ => return None,
    };
    let mut next = || fields.next().map(|(_, value)| value);
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    Some(match kind {
        Kind::Push => Record::Push {
            user: text(next())?,
            base_url: text(next())?,
            uri: text(next())?,
            body: text(next())?,
        },
        Kind::Connected => Record::Connected {
            user: text(next())?,
            roles: match next()? {
                Value::Array(roles) => {
                    let roles = roles.into_iter().map(|role| text(Some(role)));
                    roles.collect::<Option<_>>()?
                }
                _ => return None,
            },
        },
        Kind::Disconnected => Record::Disconnected {
            user: text(next())?,
            hash: match next()? {
                Value::Long(hash) => hash,
                _ => return None,
            },
            is_timeout: match next()? {
                Value::Boolean(is_timeout) => is_timeout,
                _ => return None,
            },
        },
        Kind::Text => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> Record {
        Record::Push {
            user: "u1".into(),
            base_url: "http://a".into(),
            uri: "x".into(),
            body: "{}".into(),
        }
    }

    fn all() -> Vec<(Record, Vec<u8>)> {
        vec![
            (push(), b"\x04u1\x10http://a\x02x\x04{}".to_vec()),
            (
                Record::Connected {
                    user: "u1".into(),
                    roles: vec!["a".into(), "b".into()],
                },
                // A block of two, and its end.
                b"\x04u1\x04\x02a\x02b\x00".to_vec(),
            ),
            (
                Record::Disconnected {
                    user: "u1".into(),
                    hash: -3,
                    is_timeout: true,
                },
                b"\x04u1\x05\x01".to_vec(),
            ),
            (Record::Text("k".into()), b"\x02k".to_vec()),
        ]
    }

    #[test]
    fn each_record_is_these_bytes() {
        for (record, bytes) in all() {
            let (kind, schema) = (record.kind(), schema_of(record.kind()).unwrap());
            assert_eq!(
                record.clone().write(schema).as_ref(),
                Ok(&bytes),
                "{kind:?}"
            );
            assert_eq!(Record::read(kind, schema, &bytes), Ok(record));
        }
    }

    #[test]
    fn what_is_cut_or_goes_on_is_no_record() {
        for (record, bytes) in all() {
            let (kind, schema) = (record.kind(), schema_of(record.kind()).unwrap());
            for end in 0..bytes.len() {
                let read = Record::read(kind, schema, &bytes[..end]);
                assert!(read.is_err(), "{kind:?} {end} {read:?}");
            }
            let longer = [&bytes[..], b"\x00"].concat();
            assert!(Record::read(kind, schema, &longer).is_err(), "{kind:?}");
            let huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
            assert!(Record::read(kind, schema, huge).is_err(), "{kind:?}");
        }
    }

    /// Another order, a field more, a name with Java's marks, and one that may be null.
    #[test]
    fn what_another_version_wrote_is_read() {
        let text = r#"{"type":"record","name":"WebSocketEvent","namespace":"other","fields":[
            {"name":"more","type":["null","long"],"default":null},
            {"name":"uri","type":"string"},
            {"name":"username","type":{"type":"string","avro.java.string":"String"}},
            {"name":"body","type":["null","string"]},
            {"name":"baseUrl","type":"string","default":"null"}]}"#;
        let written = Schema::parse_str(text).unwrap();
        let datum = b"\x02\x0e\x02x\x04u1\x02\x04{}\x10http://a";
        assert_eq!(Record::read(Kind::Push, &written, datum), Ok(push()));
        let connected = schema_of(Kind::Connected).unwrap();
        let read = Record::read(Kind::Push, connected, b"\x04u1\x00");
        assert_eq!(read, Err("it is a UserConnectEvent".to_owned()));
    }

    #[test]
    fn the_misplaced_default_is_no_more_than_a_mark() {
        let schema = schema_of(Kind::Push).unwrap();
        let Schema::Record(record) = schema else {
            panic!("{schema:?}");
        };
        assert_eq!(record.name.fullname(None), Kind::Push.subject());
        assert!(record.fields[0].default.is_none());
    }
}
