//! The contract of a format: bytes of a record's key or value to the cells of its columns, and back.
//!
//! What is common to formats lives here; which formats there are is in [`super::table`].

use arrow_array::ArrayRef;
use bytes::Bytes;
use sql::value::{SqlType, Value};

/// Reads payloads. One decoder belongs to one reader and may keep scratch memory between rows.
pub trait Decode: Send {
    /// Reads one payload that is not null into one slot for each column, in their order. Slots hold what an earlier
    /// row left: each is written. What is written is of the column's type.
    ///
    /// # Errors
    /// When the payload does not fit the columns. The slots then hold anything.
    fn decode(&mut self, payload: &[u8], slots: &mut [Value]) -> Result<(), Malformed>;
}

/// Writes payloads.
pub trait Encode: Send {
    /// Appends the payload of one row. False: the payload is null, and nothing was appended.
    fn encode(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> bool;
}

/// Why a payload is not a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes break the rules of the format.
    #[error("the bytes are not {format}: {cause}")]
    Syntax {
        /// The format's name.
        format: &'static str,
        /// The rule they break.
        cause: String,
    },
    /// A field that does not become its column's type.
    #[error("{column} must be {expected}; found {found}")]
    WrongType {
        /// The column.
        column: String,
        /// Its type.
        expected: SqlType,
        /// What was found, cut to 60 characters.
        found: String,
    },
    /// Another number of fields than columns.
    #[error("the line has {found} fields; the {expected} columns need one each")]
    FieldCount {
        /// Columns there are.
        expected: usize,
        /// Fields there are.
        found: usize,
    },
    /// Another number of bytes than the type has.
    #[error("{column} {expected} needs {bytes} bytes; found {found}")]
    Length {
        /// The column.
        column: String,
        /// Its type.
        expected: SqlType,
        /// The bytes it needs.
        bytes: usize,
        /// The bytes that are there.
        found: usize,
    },
}

/// What an error shows of a value that does not fit: enough to find it, never a whole document.
pub(super) fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut cut: String = text.chars().take(CHARACTERS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// The payloads of many rows in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct Payloads {
    bytes: Bytes,
    /// Where each payload ends, and whether there is one.
    ends: Vec<(usize, bool)>,
}

impl Payloads {
    /// Encodes every row of some columns.
    pub fn encode(encoder: &dyn Encode, columns: &[ArrayRef], rows: usize) -> Self {
        let mut bytes = Vec::new();
        let ends = (0..rows).map(|row| {
            let present = encoder.encode(columns, row, &mut bytes);
            (bytes.len(), present)
        });
        let ends = ends.collect();
        Self { bytes: bytes.into(), ends }
    }

    /// The payload of a row, sharing the memory; `None` for null and for rows that are not there.
    pub fn get(&self, row: usize) -> Option<Bytes> {
        let (end, present) = *self.ends.get(row)?;
        let start = match row.checked_sub(1) {
            Some(before) => self.ends.get(before)?.0,
            None => 0,
        };
        present.then(|| self.bytes.slice(start..end))
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends bytes as base64 with padding, the form that BYTES has in text formats.
pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let six = (bits >> (18 - 6 * digit)) & 63;
            let letter = BASE64.get(six as usize).copied().unwrap_or(b'=');
            out.push(if digit <= group.len() { letter } else { b'=' });
        }
    }
}

/// Reads base64, with or without padding. `None` when it is not.
pub(super) fn read_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0;
        for index in 0..4 {
            let six = match group.get(index) {
                Some(letter) => BASE64.iter().position(|known| known == letter)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(six).ok()?;
        }
        bytes.extend(bits.to_be_bytes().iter().skip(1).take(group.len() - 1));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn base64_is_read_as_it_was_written(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut text = Vec::new();
            write_base64(&bytes, &mut text);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(read_base64(std::str::from_utf8(&text).unwrap()), Some(bytes));
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            let mut text = Vec::new();
            write_base64(plain.as_bytes(), &mut text);
            assert_eq!(text, coded.as_bytes());
        }
        assert_eq!(read_base64("Zg"), Some(b"f".to_vec()));
        assert_eq!(read_base64("Z"), None);
        assert_eq!(read_base64("Z*=="), None);
    }

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt("abc"), "abc");
        assert_eq!(excerpt(&"ü".repeat(100)).chars().count(), 61);
    }
}
