//! JSON: an object for each row, or a bare value where there is one column and no wrapping.
//!
//! Read as ksqlDB reads it: a field belongs to the column of its exact name, else to the one whose name differs only in
//! case; what is missing is null; what no column wants is skipped. Numbers become the declared type where they fit it
//! exactly, also from text; a STRING column takes anything, nested values as their JSON. BYTES is base64; DATE, TIME
//! and TIMESTAMP are days, milliseconds of the day and milliseconds since 1970.
//!
//! Left out: DECIMAL numbers of more than 17 digits lose digits unless they are written as text.

mod decoder;
mod encoder;
mod verbatim;

pub use self::decoder::JsonDecoder;
pub use self::encoder::JsonEncoder;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sql::value::{SqlType, Value};

    use super::*;
    use crate::format::codec::{Decode, Encode, Malformed};
    use crate::format::testing::{any_columns_and_row, columns, read_back};

    fn decode(declared: &[(&str, &str)], json: &str) -> Result<Vec<String>, Malformed> {
        let columns = columns(declared);
        let mut slots = vec![Value::Boolean(true); columns.len()];
        JsonDecoder::new(&columns, true).decode(json.as_bytes(), &mut slots)?;
        Ok(slots.iter().map(ToString::to_string).collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((columns, row) in any_columns_and_row(true)) {
            let (decoder, encoder) = (JsonDecoder::new(&columns, true), JsonEncoder::new(&columns, true));
            prop_assert_eq!(read_back(&columns, &row, decoder, &encoder), Some(row));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let columns = columns(&[("A", "STRING"), ("B", "ARRAY<INT>")]);
            let mut slots = vec![Value::Null; 2];
            if JsonDecoder::new(&columns, true).decode(&payload, &mut slots).is_ok() {
                for (slot, column) in slots.iter().zip(&columns) {
                    prop_assert!(slot.is_of(&column.sql_type));
                }
            }
        }
    }

    #[test]
    fn names_match_exactly_first_then_without_case() {
        let declared = [("A", "INT"), ("b", "INT"), ("C", "INT")];
        assert_eq!(
            decode(&declared, r#"{"a":1,"A":2,"x":[{}],"B":3}"#).unwrap(),
            ["2", "3", "null"]
        );
        assert_eq!(decode(&declared, r#"{"A":2,"a":1,"b":4,"B":3}"#).unwrap(), ["2", "4", "null"]);
        assert_eq!(decode(&declared, r#"{"A":2,"A":5}"#).unwrap(), ["5", "null", "null"]);
    }

    #[test]
    fn values_become_the_declared_type() {
        let one = |sql_type, json: &str| decode(&[("A", sql_type)], &format!(r#"{{"A":{json}}}"#));
        for (sql_type, json, expected) in [
            ("BIGINT", "7.0", "7"),
            ("BIGINT", "\"7\"", "7"),
            ("DOUBLE", "7", "7.0"),
            ("DECIMAL(6, 2)", "10.105", "10.11"),
            ("STRING", "7", "7"),
            ("STRING", r#"{"z":1,"a":[true,null,"x"]}"#, r#"{"z":1,"a":[true,null,"x"]}"#),
            ("STRING", "[]", "[]"),
            ("ARRAY<INT>", "[1,null]", "[1, null]"),
            ("MAP<STRING, INT>", r#"{"k":1}"#, "{k=1}"),
            ("STRUCT<F INT, G STRING>", r#"{"f":1}"#, "{F=1, G=null}"),
            ("BYTES", "\"Zm8=\"", "666f"),
        ] {
            assert_eq!(one(sql_type, json).unwrap(), [expected], "{sql_type} from {json}");
        }
        for (sql_type, json) in [
            ("INT", "2147483648"),
            ("INT", "1.5"),
            ("INT", "\"x\""),
            ("INT", "true"),
            ("BOOLEAN", "1"),
            ("BOOLEAN", "\"true\""),
            ("ARRAY<INT>", "{}"),
            ("ARRAY<INT>", "[\"x\"]"),
            ("STRUCT<F INT>", "[]"),
            ("BYTES", "\"*\""),
            ("TIME", "86400000"),
        ] {
            let error = one(sql_type, json).unwrap_err();
            assert!(
                matches!(&error, Malformed::WrongType { column, .. } if column.as_str() >= "A"),
                "{sql_type} from {json}: {error}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for payload in ["", "{", "[1]", "1", r#"{"A":1} x"#, "{\"A\":\u{1}}"] {
            let error = decode(&[("A", "INT")], payload).unwrap_err();
            assert!(
                matches!(error, Malformed::Syntax { format: "JSON", .. }),
                "{payload}: {error}"
            );
        }
    }

    #[test]
    fn a_single_value_may_stand_alone() {
        let columns = columns(&[("K", "BIGINT")]);
        let mut slots = [Value::Null];
        JsonDecoder::new(&columns, false).decode(b"42", &mut slots).unwrap();
        assert_eq!(slots, [Value::Bigint(42)]);
        let mut out = Vec::new();
        let array = Value::Bigint(42).repeat(&SqlType::Bigint, 1).unwrap();
        assert!(JsonEncoder::new(&columns, false).encode(&[array], 0, &mut out));
        assert_eq!(out, b"42");
        let null = Value::Null.repeat(&SqlType::Bigint, 1).unwrap();
        assert!(!JsonEncoder::new(&columns, false).encode(&[null], 0, &mut out));
    }
}
