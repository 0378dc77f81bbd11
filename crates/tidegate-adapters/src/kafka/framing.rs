//! What stands before each Avro datum in a record (row B-034): a zero, and the id of its schema in four
//! bytes, the highest first.

const MAGIC: u8 = 0;

/// A datum of the schema that a registry calls `id`.
pub(super) fn frame(id: u32, datum: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(5 + datum.len());
    framed.push(MAGIC);
    framed.extend_from_slice(&id.to_be_bytes());
    framed.extend_from_slice(datum);
    framed
}

/// The id of the schema, and the datum; `None` where there is no frame.
pub(super) fn split(framed: &[u8]) -> Option<(u32, &[u8])> {
    let (&MAGIC, rest) = framed.split_first()? else {
        return None;
    };
    let (id, datum) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*id), datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_zero_and_the_schemas_id() {
        assert_eq!(frame(0x0102_0304, b"ab"), [0, 1, 2, 3, 4, b'a', b'b']);
        assert_eq!(split(&[0, 0, 0, 0, 7, 9]), Some((7, &[9][..])));
        assert_eq!(split(&[0, 0, 0, 0, 7]), Some((7, &[][..])));
        for wrong in [&[][..], &[0, 0, 0, 7], &[1, 0, 0, 0, 7, 9], b"{}"] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
    }
}
