//! A second reader of HTTP/1.1, written from RFC 9112 alone: it shares nothing with the gateway's
//! own, so that a message which the two read differently shows. Where two readers could see
//! different things it sees an error.

/// What one look at the beginning of a stream brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// It needs more bytes.
    More,
    /// It is no message.
    Bad(&'static str),
    /// It is there, and takes so many bytes.
    Whole(T, usize),
}

/// The head of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The start line's three parts: method, target, version; or version, status, reason.
    pub start: [Vec<u8>; 3],
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// A body as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub data: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// It is there to its end.
    pub whole: bool,
    /// How many bytes of the stream it takes so far.
    pub size: usize,
    /// What is wrong behind that.
    pub broken: Option<&'static str>,
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Visible, a space, a tab, or beyond ASCII.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

pub fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// The lines of a head or of trailers: up to the empty one, each ended by CR LF and by nothing else.
fn lines(bytes: &[u8]) -> Look<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut from = 0;
    loop {
        let Some(length) = bytes[from..]
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'))
        else {
            return Look::More;
        };
        let end = from + length;
        match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => {}
            (b'\r', None) => return Look::More,
            _ => return Look::Bad("a line that does not end with CR LF"),
        }
        let line = &bytes[from..end];
        from = end + 2;
        if line.is_empty() {
            return Look::Whole(lines, from);
        }
        lines.push(line);
    }
}

fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    (is_token(name) && value.iter().all(|&byte| is_text(byte)))
        .then(|| (name.to_vec(), value.trim_ascii().to_vec()))
}

/// Looks for a head; `is_start` judges its start line's parts.
fn head(bytes: &[u8], is_start: impl Fn(&[Vec<u8>; 3]) -> bool) -> Look<Head> {
    let (lines, size) = match lines(bytes) {
        Look::Whole(lines, size) => (lines, size),
        Look::More => return Look::More,
        Look::Bad(why) => return Look::Bad(why),
    };
    let Some((first, rest)) = lines.split_first() else {
        return Look::Bad("no start line");
    };
    let mut parts = first.splitn(3, |&byte| byte == b' ').map(<[u8]>::to_vec);
    let start = [(); 3].map(|()| parts.next().unwrap_or_default());
    if !is_start(&start) {
        return Look::Bad("the start line");
    }
    let fields: Option<Vec<_>> = rest.iter().map(|line| field(line)).collect();
    match fields {
        Some(fields) => Look::Whole(Head { start, fields }, size),
        None => Look::Bad("a field line"),
    }
}

/// Looks for the head of a request.
#[must_use]
pub fn request(bytes: &[u8]) -> Look<Head> {
    head(bytes, |[method, target, version]| {
        let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7f;
        is_token(method)
            && !target.is_empty()
            && target.iter().all(is_target)
            && [&b"HTTP/1.1"[..], b"HTTP/1.0"].contains(&&version[..])
    })
}

/// Looks for the head of an answer.
#[must_use]
pub fn response(bytes: &[u8]) -> Look<Head> {
    head(bytes, |[version, status, reason]| {
        [&b"HTTP/1.1"[..], b"HTTP/1.0"].contains(&&version[..])
            && status.len() == 3
            && status.iter().all(u8::is_ascii_digit)
            && (b'1'..=b'9').contains(&status[0])
            && reason.iter().all(|&byte| is_text(byte))
    })
}

impl Head {
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| &value[..])
    }

    /// The elements of a list over all its lines, in lower case.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(|element| lower(element.trim_ascii()))
            .filter(|element| !element.is_empty())
            .collect()
    }

    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.start.contains(&b"HTTP/1.1".to_vec())
    }

    /// An answer's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        let digit = |byte: &u8| u16::from(byte - b'0');
        self.start[1]
            .iter()
            .fold(0, |status, byte| status * 10 + digit(byte))
    }

    /// What the two framing fields say, `None` where they say nothing.
    fn declared(&self) -> Result<Option<Framing>, &'static str> {
        let lengths: Vec<_> = self.values("content-length").collect();
        let encodings: Vec<_> = self.values("transfer-encoding").collect();
        match (&lengths[..], &encodings[..]) {
            ([], []) => Ok(None),
            ([length], []) => match std::str::from_utf8(length).map(str::parse) {
                Ok(Ok(number)) if length.iter().all(u8::is_ascii_digit) => {
                    Ok(Some(Framing::Length(number)))
                }
                _ => Err("Content-Length"),
            },
            ([], [encoding]) if encoding.eq_ignore_ascii_case(b"chunked") && self.is_http11() => {
                Ok(Some(Framing::Chunked))
            }
            _ => Err("two ways to tell where the body ends"),
        }
    }

    /// Where a request's body ends; one `Host` that is not empty goes with it.
    pub fn request_framing(&self) -> Result<Framing, &'static str> {
        let hosts: Vec<_> = self.values("host").collect();
        match (&hosts[..], self.is_http11()) {
            ([host], _) if !host.is_empty() => {}
            ([], false) => {}
            _ => return Err("Host"),
        }
        Ok(self.declared()?.unwrap_or(Framing::Length(0)))
    }

    /// Where the body of an answer to `method` ends.
    pub fn response_framing(&self, method: &[u8]) -> Result<Framing, &'static str> {
        let declared = self.declared()?;
        let status = self.status();
        if method == b"HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::Length(0));
        }
        Ok(declared.unwrap_or(Framing::UntilEnd))
    }
}

/// Reads a body from the beginning of `bytes`, as far as it has come. `ended`: nothing more comes.
#[must_use]
pub fn body(bytes: &[u8], framing: Framing, ended: bool) -> Body {
    match framing {
        Framing::Length(length) => {
            let there = (bytes.len() as u64).min(length);
            let size = usize::try_from(there).unwrap_or(bytes.len());
            Body {
                data: bytes[..size].to_vec(),
                whole: there == length,
                size,
                ..Body::default()
            }
        }
        Framing::UntilEnd => Body {
            data: bytes.to_vec(),
            whole: ended,
            size: bytes.len(),
            ..Body::default()
        },
        Framing::Chunked => {
            let mut body = Body::default();
            body.broken = chunks(bytes, &mut body).err();
            body
        }
    }
}

fn chunks(bytes: &[u8], body: &mut Body) -> Result<(), &'static str> {
    loop {
        let rest = &bytes[body.size..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return Ok(());
        };
        let line = rest[..end].strip_suffix(b"\r").ok_or("a chunk's line")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (digits, extension) = line.split_at(digits.count());
        let is_extension = extension.trim_ascii_start().first() == Some(&b';');
        if !extension.is_empty() && !is_extension || !extension.iter().all(|&byte| is_text(byte)) {
            return Err("a chunk's extension");
        }
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let size = usize::from_str_radix(text, 16).map_err(|_none| "a chunk's size")?;
        let from = body.size + end + 1;
        if size == 0 {
            if let Some((trailers, used)) = trailers(&bytes[from..])? {
                body.trailers = trailers;
                body.whole = true;
                body.size = from + used;
            }
            return Ok(());
        }
        let data = &bytes[from..];
        body.data.extend_from_slice(&data[..size.min(data.len())]);
        match data.get(size..) {
            Some([b'\r', b'\n', ..]) => body.size = from + size + 2,
            None | Some([] | [b'\r']) => return Ok(()),
            Some(_) => return Err("a chunk's end"),
        }
    }
}

impl Body {
    /// It, unless there is something wrong with it.
    #[must_use]
    pub fn right(self) -> Self {
        match self.broken {
            None => self,
            Some(why) => panic!("a body with a wrong {why}"),
        }
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn trailers(bytes: &[u8]) -> Result<Option<(Fields, usize)>, &'static str> {
    match lines(bytes) {
        Look::More => Ok(None),
        Look::Bad(why) => Err(why),
        Look::Whole(lines, size) => {
            let fields: Option<Vec<_>> = lines.iter().map(|line| field(line)).collect();
            Ok(Some((fields.ok_or("a trailer")?, size)))
        }
    }
}

/// A message with the body that has come, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub body: Body,
    /// The bytes of the stream up to its end, as far as it has come.
    pub size: usize,
}

/// Reads the requests of a stream in turn, up to one that is not whole, which comes last. An error
/// stands at the end, with what it was.
#[must_use]
pub fn requests(bytes: &[u8]) -> (Vec<Message>, Option<&'static str>) {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        while bytes[at..].starts_with(b"\r\n") {
            at += 2;
        }
        let (head, size) = match request(&bytes[at..]) {
            Look::More => return (found, None),
            Look::Bad(why) => return (found, Some(why)),
            Look::Whole(head, size) => (head, size),
        };
        let framing = match head.request_framing() {
            Ok(framing) => framing,
            Err(why) => return (found, Some(why)),
        };
        let body = body(&bytes[at + size..], framing, false);
        let broken = body.broken;
        let whole = body.whole;
        at += size + body.size;
        let size = at;
        found.push(Message { head, body, size });
        if broken.is_some() || !whole {
            return (found, broken);
        }
    }
}
