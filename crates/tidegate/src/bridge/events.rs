//! Bodies that are a sequence: server-sent events (WHATWG HTML section 9.2.6) and lines of JSON.

/// The most bytes of one event or line that are gathered.
pub(super) const MAX_ITEM: usize = 1024 * 1024;

/// One server-sent event, as its fields add up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) data: String,
    pub(super) retry: Option<u64>,
}

/// An item of a body is larger than [`MAX_ITEM`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Cuts a body into lines, whichever of the three line ends it has.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// The last byte was a CR, so that an LF belongs to it.
    after_return: bool,
}

impl Lines {
    /// Calls `each` for every line that ends in `bytes`. CR alone ends one only where `returns`.
    fn push(
        &mut self,
        bytes: &[u8],
        returns: bool,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_return) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        let ends = |byte: &u8| *byte == b'\n' || (returns && *byte == b'\r');
        while let Some(at) = rest.iter().position(ends) {
            self.gather(&rest[..at])?;
            each(&self.line);
            self.line.clear();
            let is_return = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if is_return {
                self.after_return = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
        }
        self.gather(rest)
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_ITEM {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads server-sent events from the pieces of a body.
#[derive(Debug, Default)]
pub(super) struct Events {
    lines: Lines,
    begun: bool,
    event: Event,
    has_data: bool,
}

impl Events {
    /// The events that end in `bytes`.
    ///
    /// # Errors
    /// When one is over 1 MiB.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut whole = Vec::new();
        let (begun, event, has_data) = (&mut self.begun, &mut self.event, &mut self.has_data);
        let mut gathered = event.data.len();
        let mut is_too_long = false;
        self.lines.push(bytes, true, |line| {
            let line = String::from_utf8_lossy(line);
            let line = if std::mem::replace(begun, true) {
                &*line
            } else {
                line.strip_prefix('\u{feff}').unwrap_or(&line)
            };
            if line.is_empty() {
                let mut ended = std::mem::take(event);
                // The id holds for events to come, too, but each of ours tells its own.
                if std::mem::take(has_data) {
                    ended.data.pop();
                    whole.push(ended);
                }
                gathered = 0;
                return;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" if gathered + value.len() <= MAX_ITEM => {
                    *has_data = true;
                    event.data.push_str(value);
                    event.data.push('\n');
                    gathered = event.data.len();
                }
                "data" => is_too_long = true,
                "event" => event.event = Some(value.to_owned()),
                "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    event.retry = value.parse().ok();
                }
                _ => {}
            }
        })?;
        if is_too_long {
            return Err(TooLong);
        }
        Ok(whole)
    }
}

impl Event {
    /// Writes it as a JSON object, with the members that the service gave.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let mut object = serde_json::Map::new();
        if let Some(id) = &self.id {
            object.insert("id".into(), id.as_str().into());
        }
        if let Some(event) = &self.event {
            object.insert("event".into(), event.as_str().into());
        }
        object.insert("data".into(), self.data.as_str().into());
        if let Some(retry) = self.retry {
            object.insert("retry".into(), retry.into());
        }
        into.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
    }
}

/// Reads newline-delimited JSON from the pieces of a body.
#[derive(Debug, Default)]
pub(super) struct JsonLines(Lines);

impl JsonLines {
    /// The lines that end in `bytes`, without empty ones.
    ///
    /// # Errors
    /// When one is over 1 MiB.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        self.0.push(bytes, false, |line| {
            let line = line.trim_ascii();
            if !line.is_empty() {
                whole.push(line.to_vec());
            }
        })?;
        Ok(whole)
    }

    /// The last line, where no line end stands behind it.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.0.line);
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| line.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: Option<&str>, name: Option<&str>, data: &str) -> Event {
        Event {
            id: id.map(str::to_owned),
            event: name.map(str::to_owned),
            data: data.to_owned(),
            retry: None,
        }
    }

    const BODY: &str = "\u{feff}: hello\nid: 1\nevent: token\ndata: Hel\n\ndata:lo\rdata:  two\r\n\r\n\
                        event: empty\n\nid\ndata\n\nretry: 5\ndata: {\"a\":1}\nfoo: x\n\ndata: cut off";

    fn expected() -> Vec<Event> {
        vec![
            event(Some("1"), Some("token"), "Hel"),
            event(None, None, "lo\n two"),
            event(Some(""), None, ""),
            Event {
                retry: Some(5),
                ..event(None, None, "{\"a\":1}")
            },
        ]
    }

    #[test]
    fn fields_add_up_to_events() {
        assert_eq!(Events::default().push(BODY.as_bytes()), Ok(expected()));
    }

    #[test]
    fn nothing_is_gathered_without_bound() {
        let long = vec![b'x'; MAX_ITEM + 1];
        assert_eq!(Events::default().push(&long), Err(TooLong));
        let mut events = Events::default();
        let line = [&b"data: "[..], &vec![b'x'; MAX_ITEM / 2], b"\n"].concat();
        assert_eq!(events.push(&line), Ok(vec![]));
        assert_eq!(events.push(&[&line[..], b"\n"].concat()), Err(TooLong));
        assert_eq!(JsonLines::default().push(&long), Err(TooLong));
    }

    #[test]
    fn lines_of_json() {
        let mut lines = JsonLines::default();
        assert_eq!(
            lines.push(b"{\"a\":1}\r\n\n [2] \n{\"b").unwrap(),
            [&b"{\"a\":1}"[..], b"[2]"]
        );
        assert_eq!(lines.finish().unwrap(), b"{\"b");
        assert_eq!(lines.finish(), None);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(cuts in prop::collection::vec(0..BODY.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.push(BODY.len());
            cuts.sort_unstable();
            let (mut events, mut seen, mut at) = (Events::default(), Vec::new(), 0);
            for cut in cuts {
                seen.extend(events.push(&BODY.as_bytes()[at..cut]).unwrap());
                at = cut;
            }
            prop_assert_eq!(seen, expected());
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Events::default().push(&bytes);
        }
    }
}
