use proptest::prelude::*;

use super::*;

/// A header of version 2, with what is added to its addresses.
fn header(command: u8, family: u8, addresses: &[u8], added: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    let length = u16::try_from(addresses.len() + added.len()).unwrap();
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(addresses);
    bytes.extend_from_slice(added);
    bytes
}

/// 192.0.2.1:4000 to 198.51.100.1:443.
const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x0f, 0xa0, 1, 0xbb];

fn v6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let addresses = [source.octets(), Ipv6Addr::LOCALHOST.octets()].concat();
    [&addresses[..], &V4[8..]].concat()
}

fn added(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&[kind], &length.to_be_bytes()[..], value].concat()
}

/// With a checksum that fits, behind `added`.
fn with_checksum(family: u8, addresses: &[u8], before: &[u8]) -> Vec<u8> {
    let zero = [before, &added(CRC32C, &[0; 4])].concat();
    let mut bytes = header(0x21, family, addresses, &zero);
    let at = bytes.len() - CRC32C_SIZE;
    let crc = crc32c::Crc32c::default().over(&bytes).value();
    bytes[at..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn source(bytes: &[u8]) -> Result<String, HeaderError> {
    Ok(match parse(bytes)? {
        Parsed::Header(source, size) => {
            assert_eq!(size, bytes.len());
            match source {
                Source::Local => "local".into(),
                Source::Unknown => "unknown".into(),
                Source::Client(client) => client.to_string(),
            }
        }
        other => format!("{other:?}"),
    })
}

#[test]
fn lines() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\n",
            "192.0.2.1:4000",
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255:65535",
        ),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 0 0\r\n", "192.0.2.1:0"),
        (
            "PROXY TCP6 2001:db8::1 ::1 4000 443\r\n",
            "[2001:db8::1]:4000",
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1"),
        ("PROXY UNKNOWN\r\n", "unknown"),
        ("PROXY UNKNOWN ffff:f...f:ffff 65535\r\n", "unknown"),
        (&longest, "unknown"),
    ] {
        assert_eq!(source(line.as_bytes()).as_deref(), Ok(expected), "{line}");
    }
}

#[test]
fn lines_that_are_wrong() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 4000 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 4000 443\r\n",
        "PROXY TCP4 ::1 ::1 4000 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 4000 443\r\n",
        "PROXY TCP6 [::1] ::1 4000 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 4000 443\r\n",
        "PROXY TCP4 192.0.2.1 nowhere 4000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 04000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1  443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4000 x\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 4000 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert_eq!(source(line.as_bytes()), Err(HeaderError::Line), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE));
    assert_eq!(source(long.as_bytes()), Err(HeaderError::LineTooLong));
    let endless = vec![b' '; LONGEST_LINE];
    let endless = [LINE_START, &endless].concat();
    assert_eq!(source(&endless), Err(HeaderError::LineTooLong));
}

#[test]
fn binary_headers() {
    let ssl = added(0x20, &[1; 300]);
    let odd = [added(0x04, b""), added(0xea, b"vpce-1"), ssl.clone()].concat();
    for (bytes, expected) in [
        (header(0x21, 0x11, &V4, b""), "192.0.2.1:4000"),
        (header(0x21, 0x11, &V4, &odd), "192.0.2.1:4000"),
        (
            header(0x21, 0x21, &v6("2001:db8::1"), &ssl),
            "[2001:db8::1]:4000",
        ),
        (
            header(0x21, 0x21, &v6("::ffff:192.0.2.1"), b""),
            "192.0.2.1:4000",
        ),
        (header(0x21, 0x31, &[b'/'; 216], &ssl), "unknown"),
        (header(0x21, 0x00, b"", b""), "unknown"),
        (header(0x21, 0x00, b"whatever", b""), "unknown"),
        (header(0x20, 0x00, b"", b""), "local"),
        (header(0x20, 0x11, &V4, &odd), "local"),
        (header(0x20, 0xff, b"whatever", b""), "local"),
        (with_checksum(0x11, &V4, &odd), "192.0.2.1:4000"),
        (with_checksum(0x21, &v6("::1"), b""), "[::1]:4000"),
    ] {
        assert_eq!(source(&bytes).as_deref(), Ok(expected), "{bytes:02x?}");
    }
    let value = vec![7; LONGEST - FIXED - V4.len() - 3];
    let longest = header(0x21, 0x11, &V4, &added(0xe0, &value));
    assert_eq!(longest.len(), LONGEST);
    assert_eq!(source(&longest).unwrap(), "192.0.2.1:4000");
}

#[test]
fn binary_headers_that_are_wrong() {
    let value = vec![7; LONGEST - FIXED - V4.len() - 2];
    let mut flipped = with_checksum(0x11, &V4, b"");
    flipped[FIXED] ^= 1;
    let fits = with_checksum(0x11, &V4, b"");
    let crc = &fits[fits.len() - CRC32C_SIZE..];
    let twice = [added(CRC32C, crc), added(CRC32C, crc)].concat();
    for (bytes, expected) in [
        (header(0x11, 0x11, &V4, b""), HeaderError::Version),
        (header(0x31, 0x11, &V4, b""), HeaderError::Version),
        (header(0x22, 0x11, &V4, b""), HeaderError::Command),
        (header(0x21, 0x12, &V4, b""), HeaderError::Family(0x12)),
        (header(0x21, 0x10, &V4, b""), HeaderError::Family(0x10)),
        (header(0x21, 0x01, &V4, b""), HeaderError::Family(0x01)),
        (header(0x21, 0x41, &V4, b""), HeaderError::Family(0x41)),
        (header(0x21, 0x11, &V4[..11], b""), HeaderError::TooShort),
        (header(0x21, 0x21, &V4, b""), HeaderError::TooShort),
        (header(0x21, 0x31, &[b'/'; 215], b""), HeaderError::TooShort),
        (header(0x21, 0x11, &V4, &[4]), HeaderError::Added),
        (header(0x21, 0x11, &V4, &[4, 0]), HeaderError::Added),
        (header(0x21, 0x11, &V4, &[4, 0, 1]), HeaderError::Added),
        (
            header(0x21, 0x11, &V4, &[4, 0xff, 0xff, 1]),
            HeaderError::Added,
        ),
        (
            header(0x21, 0x11, &V4, &added(CRC32C, b"abc")),
            HeaderError::Checksum,
        ),
        (
            header(0x21, 0x11, &V4, &added(CRC32C, &[0; 4])),
            HeaderError::Checksum,
        ),
        (header(0x21, 0x11, &V4, &twice), HeaderError::Checksum),
        (flipped, HeaderError::Checksum),
        (
            header(0x21, 0x11, &V4, &added(0xe0, &value)),
            HeaderError::TooLong,
        ),
    ] {
        assert_eq!(source(&bytes), Err(expected), "{bytes:02x?}");
    }
}

#[test]
fn what_is_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST / HTTP/1.1\r\n",
        b"PROX",
        b"PROXYX",
        b"PROXY\tTCP4 192.0.2.1 198.51.100.1 4000 443\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.1 4000 443\r\n",
        b"\r\nGET /",
        b"\r\n\r\nGET /",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00",
    ] {
        let is_begun = bytes == b"PROX";
        let expected = if is_begun {
            Parsed::NeedMore
        } else {
            Parsed::NoHeader
        };
        assert_eq!(parse(bytes), Ok(expected), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Parsed::NeedMore));
}

/// Both versions, right and nearly right.
fn begun() -> impl Strategy<Value = Vec<u8>> {
    let lines =
        "PROXY (TCP4|TCP6|UNKNOWN|X) [0-9a-f.:]{1,20} [0-9a-f.:]{1,20} [0-9]{1,6} [0-9]{1,6}\r?\n";
    let binary = (
        prop_oneof![Just(0x20), Just(0x21), any::<u8>()],
        prop_oneof![Just(0x11), Just(0x21), Just(0x31), Just(0), any::<u8>()],
        proptest::collection::vec(any::<u8>(), 0..260),
        proptest::collection::vec(any::<u8>(), 0..40),
    );
    prop_oneof![
        lines.prop_map(String::into_bytes),
        binary.prop_map(|(command, family, addresses, added)| {
            header(command, family, &addresses, &added)
        }),
        proptest::collection::vec(any::<u8>(), 0..130),
    ]
}

proptest! {
    /// Byte by byte there is one verdict, and what follows changes nothing of it.
    #[test]
    fn one_verdict_under_any_cut(bytes in begun(), behind in proptest::collection::vec(any::<u8>(), 0..8)) {
        let whole = [bytes, behind].concat();
        let verdict = parse(&whole);
        for end in 0..=whole.len() {
            let early = parse(&whole[..end]);
            if early != Ok(Parsed::NeedMore) {
                prop_assert_eq!(early, verdict);
            }
            if let Ok(Parsed::Header(_, size)) = verdict {
                prop_assert_eq!(end >= size, early == verdict);
            }
        }
    }
}
