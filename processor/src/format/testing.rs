//! What the tests of all formats share: columns and rows of any kind, and the way through a format and back.

use proptest::prelude::*;
use sql::schema::Column;
use sql::value::{Decimal, SqlType, StructField, Value};

use super::codec::{Decode, Encode};

/// Columns by name and type.
pub(crate) fn columns(declared: &[(&str, &str)]) -> Vec<Column> {
    declared.iter().map(|(name, of)| Column::new(*name, of.parse().unwrap())).collect()
}

/// Writes one row and reads it again. `None`: the payload was null.
pub(crate) fn read_back(
    columns: &[Column],
    row: &[Value],
    mut decoder: impl Decode,
    encoder: &dyn Encode,
) -> Option<Vec<Value>> {
    let arrays: Vec<_> =
        columns.iter().zip(row).map(|(c, value)| value.repeat(&c.sql_type, 1).unwrap()).collect();
    let mut payload = Vec::new();
    if !encoder.encode(&arrays, 0, &mut payload) {
        assert!(payload.is_empty());
        return None;
    }
    // What an earlier row has left must not show.
    let mut slots = vec![Value::String("left over".into()); columns.len()];
    decoder.decode(&payload, &mut slots).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&payload));
    });
    Some(slots)
}

/// One to four columns and a row of them, with or without nested types.
pub(crate) fn any_columns_and_row(
    nested: bool,
) -> impl Strategy<Value = (Vec<Column>, Vec<Value>)> {
    let cell = any_type(nested).prop_flat_map(|of| (Just(of.clone()), any_value(&of)));
    prop::collection::vec(cell, 1..5).prop_map(|cells| {
        let column = |(index, (of, _)): (usize, &(SqlType, Value))| {
            Column::new(format!("C{index}"), of.clone())
        };
        let columns = cells.iter().enumerate().map(column).collect();
        (columns, cells.into_iter().map(|(_, value)| value).collect())
    })
}

fn any_type(nested: bool) -> BoxedStrategy<SqlType> {
    let scalar = prop::sample::select(vec![
        SqlType::Boolean,
        SqlType::Int,
        SqlType::Bigint,
        SqlType::Double,
        SqlType::Decimal { precision: 9, scale: 2 },
        SqlType::String,
        SqlType::Bytes,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
    ]);
    if !nested {
        return scalar.boxed();
    }
    let deeper = |inner: BoxedStrategy<SqlType>| {
        let field = |name: &str, sql_type| StructField { name: name.to_owned(), sql_type };
        prop_oneof![
            inner.clone().prop_map(|of| SqlType::Array(Box::new(of))),
            inner.clone().prop_map(|of| SqlType::Map(Box::new(SqlType::String), Box::new(of))),
            (inner.clone(), inner)
                .prop_map(move |(f, g)| SqlType::Struct(vec![field("F", f), field("g", g)])),
        ]
    };
    scalar.prop_recursive(2, 6, 2, deeper).boxed()
}

fn any_value(of: &SqlType) -> BoxedStrategy<Value> {
    let some = match of {
        SqlType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        SqlType::Int => any::<i32>().prop_map(Value::Int).boxed(),
        SqlType::Bigint => any::<i64>().prop_map(Value::Bigint).boxed(),
        SqlType::Double => {
            (-1e9_f64..1e9).prop_map(|value| Value::Double((value * 8.0).round() / 8.0)).boxed()
        }
        SqlType::Decimal { scale, .. } => {
            let scale = *scale;
            (-999_999_999_i128..=999_999_999)
                .prop_map(move |unscaled| Value::Decimal(Decimal { unscaled, scale }))
                .boxed()
        }
        SqlType::String => ".{0,12}".prop_map(Value::String).boxed(),
        SqlType::Bytes => prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes).boxed(),
        SqlType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        SqlType::Time => (0..86_400_000).prop_map(Value::Time).boxed(),
        SqlType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        SqlType::Array(item) => {
            prop::collection::vec(any_value(item), 0..3).prop_map(Value::Array).boxed()
        }
        SqlType::Map(_, value) => prop::collection::btree_map("[a-c]", any_value(value), 0..3)
            .prop_map(|entries| {
                let entry = |(key, value)| (Value::String(key), value);
                Value::Map(entries.into_iter().map(entry).collect())
            })
            .boxed(),
        SqlType::Struct(fields) => {
            let names: Vec<_> = fields.iter().map(|field| field.name.clone()).collect();
            fields
                .iter()
                .map(|field| any_value(&field.sql_type))
                .collect::<Vec<_>>()
                .prop_map(move |values| Value::Struct(names.iter().cloned().zip(values).collect()))
                .boxed()
        }
    };
    prop_oneof![9 => some, 1 => Just(Value::Null)].boxed()
}
