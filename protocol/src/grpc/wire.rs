//! The fields of a protobuf message, one after the other, without unfolding it.
//!
//! Two bytes of a message can become a hundred in memory: that is what an empty element of a repeated field takes as a
//! struct. Here a message is looked through, and its parts taken as slices of it, before anything is made of them.
//! Nothing is allocated, nothing recurses. Groups, which proto3 does not have, are refused.

use bytes::{Buf as _, Bytes};

use super::refusal::refuse_request;
use crate::limits::ENTRIES_PER_REQUEST_MAX;
use crate::outcome::Refusal;

/// Fields beside its entries that a request may have.
const OTHER_FIELDS_MAX: usize = 100;

/// What stands in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A varint, as it stands on the wire.
    Varint(u64),
    /// Bytes, text or a message: a slice of the message around it.
    Slice(Bytes),
    /// A number of 4 or 8 bytes; no message of ours has any.
    Fixed,
}

/// The fields of a message: number and value. Ends behind the first that is not sound.
#[derive(Clone, Debug)]
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn of(message: Bytes) -> Self {
        Self(message)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.0.try_get_u8().ok()?;
            // The tenth byte carries only the topmost bit.
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn slice(&mut self, bytes: usize) -> Option<Bytes> {
        (bytes <= self.0.len()).then(|| self.0.split_to(bytes))
    }

    fn field(&mut self) -> Option<(u64, Value)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let number = u64::from(key >> 3);
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.slice(8).map(|_| Value::Fixed)?,
            2 => {
                let bytes = usize::try_from(self.varint()?).ok()?;
                Value::Slice(self.slice(bytes)?)
            }
            5 => self.slice(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        (number > 0).then_some((number, value))
    }
}

impl Iterator for Fields {
    type Item = Result<(u64, Value), Refusal>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0.clear();
        }
        Some(field.ok_or_else(malformed))
    }
}

/// The refusal of bytes that are not the message that they should be.
pub(super) fn malformed() -> Refusal {
    refuse_request("the bytes of the request are not the protobuf message that this call takes")
}

/// How many fields of a message have this number; none behind `end` of them are looked at.
///
/// # Errors
/// When the message is not sound.
pub(super) fn count_to(end: usize, message: &Bytes, number: u64) -> Result<usize, Refusal> {
    let mut count = 0;
    for field in Fields::of(message.clone()) {
        count += usize::from(field?.0 == number);
        if count == end {
            break;
        }
    }
    Ok(count)
}

/// How many fields a request has whose entries unfold, and that they are no more than any request may have: to be
/// called before it is decoded.
///
/// # Errors
/// When it has more, or when it is not sound.
pub fn count_fields(message: &Bytes) -> Result<usize, Refusal> {
    let fields_max = ENTRIES_PER_REQUEST_MAX + OTHER_FIELDS_MAX;
    let mut count = 0;
    for field in Fields::of(message.clone()) {
        field?;
        count += 1;
        if count > fields_max {
            return Err(refuse_request(format!(
                "the request has more than {fields_max} fields; a request has up to \
                 {ENTRIES_PER_REQUEST_MAX} entries"
            )));
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::grpc::v1;
    use crate::outcome::Outcome;

    fn record() -> impl Strategy<Value = v1::Record> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
        let header = (".{0,5}", bytes())
            .prop_map(|(name, value)| v1::Header { name, value: value.map(Bytes::from) });
        let headers = proptest::collection::vec(header, 0..5);
        let times = (proptest::option::of(any::<i64>()), any::<i64>());
        (bytes(), bytes(), headers, times).prop_map(|(key, value, headers, times)| v1::Record {
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers,
            timestamp_ms: times.0,
            offset: times.1,
        })
    }

    proptest! {
        #[test]
        fn fields_are_counted_as_prost_decodes_them(
            record in record(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let message = Bytes::from(record.encode_to_vec());
            prop_assert_eq!(count_to(usize::MAX, &message, 3).unwrap(), record.headers.len());
            let values: Vec<_> = Fields::of(message.clone())
                .filter_map(|field| match field.unwrap() {
                    (2, Value::Slice(value)) => Some(value),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(values, record.value.into_iter().collect::<Vec<_>>());
            prop_assert!(count_to(2, &message, 3).unwrap() <= 2);
            // Cut short, both refuse or both read what is left.
            let cut = message.slice(..cut.index(message.len() + 1));
            match v1::Record::decode(cut.clone()) {
                Ok(decoded) => prop_assert_eq!(count_to(usize::MAX, &cut, 3).unwrap(), decoded.headers.len()),
                Err(_) => prop_assert!(count_to(usize::MAX, &cut, 3).is_err()),
            }
        }

        #[test]
        fn what_prost_decodes_of_any_bytes_was_counted(
            bytes in proptest::collection::vec(
                prop_oneof![Just(0x1a_u8), Just(0), Just(1), Just(2), any::<u8>()], 0..40),
        ) {
            let message = Bytes::from(bytes);
            if let (Ok(counted), Ok(decoded)) =
                (count_to(usize::MAX, &message, 3), v1::Record::decode(message))
            {
                prop_assert_eq!(counted, decoded.headers.len());
            }
        }
    }

    #[test]
    fn a_request_of_more_fields_than_any_is_refused_before_it_is_decoded() {
        let entries = |count: usize| {
            let entries = vec![v1::FetchEntry::default(); count];
            Bytes::from(
                v1::FetchRequest { entries, bytes_min: 1, ..Default::default() }.encode_to_vec(),
            )
        };
        let count = count_fields(&entries(ENTRIES_PER_REQUEST_MAX)).unwrap();
        assert_eq!(count, ENTRIES_PER_REQUEST_MAX + 1);
        let refused = count_fields(&entries(2 * ENTRIES_PER_REQUEST_MAX)).unwrap_err();
        assert_eq!(refused.outcome, Outcome::InvalidRequest);
        let group = count_fields(&Bytes::from_static(&[0x0b, 0x0c])).unwrap_err();
        assert_eq!(group.outcome, Outcome::InvalidRequest);
    }
}
