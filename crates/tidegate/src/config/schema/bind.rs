//! `bind`: where a listener listens.

use std::path::PathBuf;

use super::super::defaults;
use super::super::error::{Fault, Problems};
use super::super::plan::{Bind, UnixBind};
use super::super::value;
use super::super::yaml::{Located, Quoted, Spot};
use super::located;

/// The longest path that the system takes (`sun_path` and its NUL).
const LONGEST_PATH: usize = 107;

/// `ADDRESS:PORT`, `unix:/path`, or `{ unix: /path, mode: 660, owner: ..., group: ... }`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<Bind>> {
    if !spot.is_map() {
        return located(spot, problems, |text| match text.strip_prefix("unix:") {
            Some(path) => Ok(Bind::Unix(of_defaults(path)?)),
            None => value::bind(text).map(Bind::Tcp),
        });
    }
    let mut fields = spot.fields(problems)?;
    let path = fields.need("unix", "unix: /run/tidegate.sock", problems);
    let path = path.and_then(|spot| located(&spot, problems, of_defaults));
    let mode = fields.take("mode");
    let mode = mode.map(|spot| spot.value(problems, mode_of));
    let mut name = |key| {
        let spot = fields.take(key)?;
        Some(spot.value(problems, account))
    };
    let (owner, group) = (name("owner"), name("group"));
    fields.finish(problems);
    let Located { value, place } = path?;
    let bind = UnixBind {
        mode: mode.unwrap_or(Some(value.mode))?,
        owner: transposed(owner)?,
        group: transposed(group)?,
        ..value
    };
    Some(Located {
        value: Bind::Unix(bind),
        place,
    })
}

/// What is not written is nothing; what is written and wrong has been reported.
fn transposed<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    written.map_or(Some(None), |value| value.map(Some))
}

fn of_defaults(path: &str) -> Result<UnixBind, Fault> {
    let fault = |what: &str| Fault::new(format!("{} {what}", Quoted(path)));
    if path.starts_with('@') {
        return Err(fault("is an abstract name")
            .suggest("a socket is a file: write a path such as `unix:/run/tidegate.sock`"));
    }
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(fault("is not the absolute path of a file")
            .suggest("write it from the root on, such as `unix:/run/tidegate.sock`"));
    }
    if path.len() > LONGEST_PATH || path.contains('\0') {
        return Err(fault(&format!(
            "cannot be the path of a socket: it has at most {LONGEST_PATH} bytes, and no NUL"
        )));
    }
    Ok(UnixBind {
        path: PathBuf::from(path),
        mode: defaults::UNIX_MODE,
        owner: None,
        group: None,
    })
}

/// Permission bits in octal digits, as `chmod` takes them.
fn mode_of(text: &str) -> Result<u32, Fault> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(digits, 8).ok();
    mode.filter(|mode| is_octal && digits.len() >= 3 && *mode <= 0o777)
        .ok_or_else(|| {
            Fault::new(format!("{} is not a mode", Quoted(text)))
                .suggest("write three octal digits, such as `660`")
        })
}

/// The name or number of a user or a group; whether there is one is seen when it is bound.
fn account(text: &str) -> Result<Box<str>, Fault> {
    let is_name = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/' | b',');
    if text.is_empty() || !text.bytes().all(is_name) {
        let fault = Fault::new(format!("{} is not the name of an account", Quoted(text)));
        return Err(fault.suggest("write a name or a number, such as `www-data`"));
    }
    Ok(text.into())
}
