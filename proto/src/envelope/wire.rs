//! Protobuf's wire format, as far as these messages need it: varints and length-delimited fields.
//!
//! Reading is as strict as Go's decoder: a known field with an unexpected wire type is an unknown field, unknown fields
//! are skipped (groups too), everything malformed is an error.

/// Wire type 2 of field `number` (below 16): one byte.
pub(crate) const fn tag(number: u8) -> u8 {
    number << 3 | 2
}

/// Wire type 0 of field `number` (below 16): one byte.
pub(crate) const fn varint_tag(number: u8) -> u8 {
    number << 3
}

/// Bytes a varint takes.
#[inline]
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes a length-delimited field with a one-byte tag takes.
#[inline]
pub(crate) fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

#[inline]
pub(crate) fn put_field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_head(out, number, content.len());
    out.extend_from_slice(content);
}

/// Tag and length of a field whose content the caller appends.
#[inline]
pub(crate) fn put_head(out: &mut Vec<u8>, number: u8, content: usize) {
    out.push(tag(number));
    put_varint(out, content as u64);
}

/// A proto3 `string` or `bytes` field: absent when empty.
#[inline]
pub(crate) fn put_nonempty(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    if !content.is_empty() {
        put_field(out, number, content);
    }
}

/// Room for a length that is known only afterwards: 4 bytes, up to 256 MiB. Protobuf readers accept a varint with
/// leading zero groups, so nothing has to move when the field is closed.
const OPEN_LENGTH: usize = 4;

/// Begins a field of unknown length; hand the result to [`close`].
#[inline]
#[must_use = "the field must be closed"]
pub(crate) fn open(out: &mut Vec<u8>, number: u8) -> usize {
    out.extend_from_slice(&[tag(number), 0x80, 0x80, 0x80, 0]);
    out.len()
}

/// Ends the field that [`open`] began.
#[inline]
pub(crate) fn close(out: &mut [u8], at: usize) {
    let mut length = out.len().saturating_sub(at);
    let from = at.saturating_sub(OPEN_LENGTH);
    for byte in out.get_mut(from..at).unwrap_or_default() {
        *byte = *byte & 0x80 | (length & 0x7f) as u8;
        length >>= 7;
    }
}

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// Wire type 0: field number and value.
    Varint(u32, u64),
    /// Wire type 2: field number and content.
    Bytes(u32, &'a [u8]),
    /// Any other wire type: skipped.
    Other,
}

/// The fields of a message, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if let [tag, length, rest @ ..] = self.rest
            && *tag & 0x87 == 2
            && *length < 0x80
            && *tag > 7
            && let Some((content, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            return Ok(Some(Field::Bytes(u32::from(*tag >> 3), content)));
        }
        if self.rest.is_empty() { Ok(None) } else { self.slow().map(Some) }
    }

    fn slow(&mut self) -> Result<Field<'a>, Malformed> {
        let key = self.varint()?;
        let number =
            u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number)).ok_or(Malformed)?;
        Ok(match key & 7 {
            0 => Field::Varint(number, self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let (content, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Field::Bytes(number, content)
            }
            3 => self.group(number)?,
            5 => self.skip(4)?,
            _ => return Err(Malformed),
        })
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            if shift == 9 && *byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn skip(&mut self, length: usize) -> Result<Field<'a>, Malformed> {
        self.rest = self.rest.get(length..).ok_or(Malformed)?;
        Ok(Field::Other)
    }

    /// Skips a group to its end tag. Nested groups are counted, not called into.
    fn group(&mut self, number: u32) -> Result<Field<'a>, Malformed> {
        const DEEPEST: usize = 100;
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or(Malformed)?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.skip(8)?),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                    self.skip(length)?;
                }
                3 if open.len() < DEEPEST => open.push(number),
                4 if number == innermost => drop(open.pop()),
                5 => drop(self.skip(4)?),
                _ => return Err(Malformed),
            }
        }
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        let (mut fields, mut all) = (Fields::new(message), Vec::new());
        while let Some(field) = fields.next()? {
            all.push(field);
        }
        Ok(all)
    }

    #[test]
    fn varints_survive() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = vec![varint_tag(1)];
            put_varint(&mut out, value);
            assert_eq!(out.len(), 1 + varint_len(value));
            assert_eq!(fields(&out).unwrap(), [Field::Varint(1, value)]);
        }
    }

    #[test]
    fn an_open_field_holds_what_was_appended() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = Vec::new();
            let at = open(&mut out, 3);
            out.resize(out.len() + length, 7);
            close(&mut out, at);
            assert_eq!(fields(&out).unwrap(), [Field::Bytes(3, &vec![7; length])]);
        }
    }

    #[test]
    fn other_wire_types_and_groups_are_skipped() {
        let group = [0x0b, 0x08, 1, 0x13, 0x14, 0x12, 1, 9, 0x0c]; // 1 { 1: 1, 2 {}, 2: "\t" }
        let message = [&[0x09; 9][..], &[0x0d; 5], &group, &[0x12, 0]].concat();
        assert_eq!(
            fields(&message).unwrap(),
            [Field::Other, Field::Other, Field::Other, Field::Bytes(2, b"")]
        );
    }

    #[test]
    fn broken_messages_are_refused() {
        for message in [
            &[0x08][..],                                             // varint without value
            &[0x08, 0x80],                                           // varint without end
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], // varint above 64 bits
            &[0x0a, 2, 0],                                           // content too short
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],                   // the same, long form
            &[0x02, 0],                                              // field number 0
            &[0x0b],                                                 // group without end
            &[0x0b, 0x14],                                           // group with another's end
            &[0x0c],                                                 // end without group
            &[0x0e],                                                 // wire type 6
            &[0x0d, 0, 0, 0],                                        // fixed32 too short
        ] {
            assert_eq!(fields(message), Err(Malformed), "{message:?}");
        }
    }
}
