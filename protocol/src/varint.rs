//! Variable-length integers as Kafka's records use them: zigzag over LEB128, at most 10 bytes, checked.
//!
//! Reading never trusts the bytes: an integer that is cut short or too long is `None`, and the caller says where.

use bytes::BufMut;

/// Most bytes that an encoded 64-bit integer takes.
pub const VARINT_BYTES_MAX: usize = 10;

/// Reads a signed 64-bit integer from the front of `input` and moves `input` past it.
///
/// `None` when the bytes end inside the integer or it is longer than ten bytes; `input` is then unchanged.
///
/// ```
/// use thalweg_protocol::varint;
/// let mut bytes = Vec::new();
/// varint::write(&mut bytes, -300);
/// let mut rest = &bytes[..];
/// assert_eq!(varint::read(&mut rest), Some(-300));
/// assert!(rest.is_empty());
/// ```
#[inline]
pub fn read(input: &mut &[u8]) -> Option<i64> {
    // One byte is by far the most frequent case: deltas, small lengths, "no headers".
    if let Some((&first, rest)) = input.split_first()
        && first < 0x80
    {
        *input = rest;
        return Some(unzigzag(u64::from(first)));
    }
    read_long(input)
}

fn read_long(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, &byte) in input.iter().take(VARINT_BYTES_MAX).enumerate() {
        let shift = 7 * u32::try_from(index).ok()?;
        // The tenth byte carries only the topmost bit.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *input = input.get(index + 1..)?;
            return Some(unzigzag(value));
        }
    }
    None
}

/// Reads a length or count that must fit in an `i32`, as every 32-bit varint of the record format must.
#[inline]
pub fn read_i32(input: &mut &[u8]) -> Option<i32> {
    let mut rest = *input;
    let value = i32::try_from(read(&mut rest)?).ok()?;
    *input = rest;
    Some(value)
}

/// Appends `value`.
#[inline]
pub fn write(output: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        output.put_u8(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    output.put_u8(low_bits(rest));
}

/// Bytes that [`write`] takes for `value`: 1 to 10.
#[inline]
pub fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[inline]
fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<i64>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size(value));
            let mut rest = &bytes[..];
            prop_assert_eq!(read(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_prefix_is_an_integer(value in any::<i64>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            for end in 0..bytes.len() {
                let mut rest = &bytes[..end];
                prop_assert_eq!(read(&mut rest), None);
                prop_assert_eq!(rest.len(), end);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut rest = &bytes[..];
            let _ = read(&mut rest);
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        for value in [i64::MIN, i64::MAX, 0, -1, 63, -64, 64, -65] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(read(&mut &bytes[..]), Some(value));
        }
        assert_eq!(read(&mut &[0xff_u8; 11][..]), None);
        let mut wide = Vec::new();
        write(&mut wide, i64::from(i32::MAX) + 1);
        assert_eq!(read_i32(&mut &wide[..]), None);
    }
}
