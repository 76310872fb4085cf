//! What expressions mean, by example.

use std::sync::Arc;

use thalweg_sql::compile::{compile, compile_as, condition};
use thalweg_sql::error::Cause;
use thalweg_sql::{
    Change, Column, Evaluated, Place, Row, RowCause, Rows, RowsBuilder, Schema, SqlError, SqlType,
    StructField, Value, parse,
};

fn schema() -> Arc<Schema> {
    let address = SqlType::Struct(vec![
        StructField { name: "CITY".into(), sql_type: SqlType::String },
        StructField { name: "ZIP".into(), sql_type: SqlType::Int },
    ]);
    let value = vec![
        Column::new("STARS", SqlType::Int),
        Column::new("CHANNEL", SqlType::String),
        Column::new("AT", SqlType::Timestamp),
        Column::new("ADDRESS", address),
        Column::new("TAGS", SqlType::Array(SqlType::String.into())),
        Column::new("LABELS", SqlType::Map(SqlType::String.into(), SqlType::Int.into())),
    ];
    let key = vec![Column::new("ID", SqlType::String)];
    Arc::new(Schema::new(key, value).unwrap().with_source("R"))
}

fn text(value: &str) -> Value {
    Value::String(value.into())
}

/// Three rows: full, another, and one of nulls.
fn rows() -> Rows {
    let address = |city: &str, zip| {
        Value::Struct(vec![("CITY".into(), text(city)), ("ZIP".into(), Value::Int(zip))])
    };
    let full = vec![
        Value::Int(4),
        text("iOS-test"),
        Value::Timestamp(1_594_049_400_000),
        address("Leeds", 7),
        Value::Array(vec![text("a"), text("b"), text("c")]),
        Value::Map(vec![(text("x"), Value::Int(1)), (text("y"), Value::Int(2))]),
    ];
    let other = vec![
        Value::Int(0),
        text("web 50%\\"),
        Value::Timestamp(0),
        address("York", 8),
        Value::Array(vec![]),
        Value::Map(vec![]),
    ];
    let mut builder = RowsBuilder::new(schema(), 3);
    for (index, value) in [full, other, vec![Value::Null; 6]].into_iter().enumerate() {
        let row = Row {
            key: vec![text(&index.to_string())],
            value,
            time: 1_594_049_400_000 + index as i64,
            partition: Some(3),
            offset: Some(index as i64),
            change: Change::Insert,
        };
        builder.push(&row).unwrap();
    }
    builder.finish()
}

fn evaluate(expression: &str) -> Evaluated {
    let expr = parse::expression(expression).unwrap();
    let compiled =
        compile(&expr, &schema()).unwrap_or_else(|error| panic!("{expression}: {error}"));
    compiled.evaluate(&rows()).unwrap()
}

#[track_caller]
fn gives(expression: &str, expected: [&str; 3]) {
    let column = evaluate(expression).column;
    let found: Vec<String> = (0..3).map(|row| Value::read(&column, row).to_string()).collect();
    assert_eq!(found, expected, "{expression}");
}

fn refused(expression: &str) -> SqlError {
    compile(&parse::expression(expression).unwrap(), &schema()).unwrap_err()
}

#[test]
fn columns_are_found_by_name_and_source() {
    gives("stars", ["4", "0", "null"]);
    gives("r.stars + 1", ["5", "1", "null"]);
    gives("id + '!'", ["0!", "1!", "2!"]);
    gives("rowkey", ["0", "1", "2"]);
    gives("rowpartition + rowoffset", ["3", "4", "5"]);
    gives("r.rowtime - 1594049400000", ["0", "1", "2"]);
}

#[test]
fn texts_are_put_end_to_end_by_plus_and_by_two_bars() {
    gives("channel || '/' || id", ["iOS-test/0", "web 50%\\/1", "null"]);
    gives("id||'a'+'b' = id + 'a' || 'b'", ["true", "true", "true"]);
    gives("'a' || NULL", ["null", "null", "null"]);
    for wrong in ["stars || 'a'", "1 || 2", "tags || tags"] {
        assert!(refused(wrong).to_string().contains("||"), "{}", refused(wrong));
    }
    assert!(parse::expression("'a' | 'b'").is_err());
}

#[test]
fn nested_values_are_read() {
    gives("address->city", ["Leeds", "York", "null"]);
    gives("address->zip * 2", ["14", "16", "null"]);
    gives("tags[1]", ["a", "null", "null"]);
    gives("tags[-1]", ["c", "null", "null"]);
    gives("tags[4]", ["null", "null", "null"]);
    gives("labels['y']", ["2", "null", "null"]);
    gives("STRUCT(a := stars, b := ARRAY[stars, 9])->b[2]", ["9", "9", "9"]);
    gives("MAP('k' := stars)", ["{k=4}", "{k=0}", "{k=null}"]);
}

#[test]
fn patterns_match_as_written() {
    gives("LCASE(channel) LIKE '%test%'", ["true", "false", "null"]);
    gives("channel NOT LIKE 'iOS_test'", ["false", "true", "null"]);
    gives("channel LIKE '%50!%%' ESCAPE '!'", ["false", "true", "null"]);
    gives("channel LIKE '%\\'", ["false", "true", "null"]);
}

#[test]
fn choices_are_made_row_by_row() {
    gives("CASE WHEN stars > 3 THEN 'good' WHEN stars < 3 THEN 'bad' END", ["good", "bad", "null"]);
    gives("CASE stars WHEN 4 THEN 1 ELSE 2.5 END", ["1.0", "2.5", "2.5"]);
    gives("stars IN (1, 4)", ["true", "false", "null"]);
    gives("stars NOT IN (1, NULL)", ["null", "null", "null"]);
    let many: Vec<String> = (2..40).map(|n| n.to_string()).collect();
    gives(&format!("stars IN ({})", many.join(", ")), ["true", "false", "null"]);
    gives("COALESCE(stars, -1)", ["4", "0", "-1"]);
}

#[test]
fn moments_are_compared_with_texts_and_numbers() {
    gives("at = '2020-07-06T15:30:00.000'", ["true", "false", "null"]);
    gives("at >= 1594049400000", ["true", "false", "null"]);
    gives("rowtime > '2020-07-06T15:30:00.000'", ["false", "true", "true"]);
    gives("at BETWEEN '2020' AND '2021-01-01'", ["true", "false", "null"]);
    gives("CAST(at AS STRING)", ["2020-07-06T15:30:00.000", "1970-01-01T00:00:00.000", "null"]);
    let error = refused("at > 'yesterday'");
    assert!(matches!(error.cause, Cause::Literal { .. }), "{error}");
}

#[test]
fn an_error_is_of_one_row_only() {
    let Evaluated { column, errors } = evaluate("8 / stars");
    assert_eq!(Value::read(&column, 0), Value::Int(2));
    assert!(Value::read(&column, 1).is_null());
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].row, &errors[0].cause), (1, &RowCause::DivisionByZero));
    let overflow = evaluate("stars * 2147483647").errors;
    assert!(matches!(overflow[0].cause, RowCause::OutOfRange { .. }));
    let cast = evaluate("CAST(channel AS INT)").errors;
    assert_eq!(cast.len(), 2);
    assert!(matches!(cast[0].cause, RowCause::Cast { .. }));
    let path = evaluate("EXTRACTJSONFIELD(channel, '$.a')").errors;
    assert!(matches!(path[0].cause, RowCause::Argument { .. }));
    let large = evaluate("LPAD(channel, 9999999, 'x')").errors;
    assert!(matches!(large[0].cause, RowCause::TooLarge { .. }));
}

#[test]
fn what_was_not_needed_is_no_error() {
    assert!(evaluate("stars <> 0 AND 8 / stars > 1").errors.is_empty());
    assert!(evaluate("stars = 0 OR 8 / stars > 1").errors.is_empty());
    assert!(evaluate("CASE WHEN stars = 0 THEN 0 ELSE 8 / stars END").errors.is_empty());
}

#[test]
fn a_mask_has_no_nulls() {
    let expr = parse::expression("stars < 3").unwrap();
    let (mask, _) = condition(&expr, &schema()).unwrap().evaluate_mask(&rows()).unwrap();
    let kept = rows().filter(&mask).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept.row(0).offset, Some(1));
}

#[test]
fn decimals_are_exact() {
    gives("CAST(0.1 AS DECIMAL(5, 1)) + 0.2", ["0.3", "0.3", "0.3"]);
    gives("1.00 / 3.0", ["0.333333"; 3]);
    gives("CAST(stars AS DECIMAL(4, 2)) % 3", ["1.00", "0.00", "null"]);
    let large = "CAST('12345678901234567890123456789012345.678' AS DECIMAL(38, 3))";
    gives(&format!("{large} / {large}"), ["1.000000"; 3]);
    gives("CAST(-2 AS DECIMAL(38, 6)) / 3", ["-0.666667"; 3]);
    assert_eq!(evaluate("1.5 / CAST(stars AS DECIMAL(1, 0))").errors.len(), 1);
}

#[test]
fn names_and_types_are_checked_with_their_places() {
    let error = refused("stars > 1 AND\n  chanel = 'x'");
    assert_eq!(error.place, Place { line: 2, column: 3 });
    assert_eq!(
        error.cause,
        Cause::UnknownColumn { name: "CHANEL".into(), near: Some("CHANNEL".into()) }
    );
    let error = refused("channel > 1");
    assert_eq!(
        error.to_string(),
        "line 1, column 9: > can't be used with STRING and INT. CAST(value AS type) makes another type of it"
    );
    assert!(matches!(refused("UCAS('x')").cause, Cause::UnknownFunction { near: Some(_), .. }));
    assert!(matches!(refused("UCASE(1)").cause, Cause::Arguments { .. }));
    assert!(matches!(refused("SUM(stars)").cause, Cause::Aggregate { .. }));
    assert!(matches!(
        refused("TRANSFORM(tags, x => x)").cause,
        Cause::Unsupported { .. } | Cause::UnknownFunction { .. }
    ));
    assert!(matches!(refused("stars AND TRUE").cause, Cause::WrongType { .. }));
    assert!(matches!(refused("address->street").cause, Cause::UnknownField { .. }));
    assert!(matches!(refused("CAST(tags AS INT)").cause, Cause::Cast { .. }));
    assert!(matches!(refused("CAST(stars AS my_type)").cause, Cause::UnknownType { .. }));
    assert!(matches!(refused("REGEXP_EXTRACT('(', channel)").cause, Cause::Literal { .. }));
    let left = schema().value().to_vec();
    let mut both = left.clone();
    both.extend(left.into_iter().map(|column| Column { source: Some("L".into()), ..column }));
    let joined = Schema::new(vec![], both).unwrap();
    let ambiguous = compile(&parse::expression("stars").unwrap(), &joined).unwrap_err();
    assert!(matches!(ambiguous.cause, Cause::AmbiguousColumn { .. }));
    assert!(compile(&parse::expression("l.stars").unwrap(), &joined).is_ok());
}

#[test]
fn values_go_into_columns() {
    let into = |expression: &str, target: SqlType| {
        let expr = parse::expression(expression).unwrap();
        compile_as(&expr, &Schema::default(), &target)
            .map(|compiled| compiled.constant().unwrap().unwrap())
    };
    assert_eq!(into("5", SqlType::Bigint).unwrap(), Value::Bigint(5));
    assert_eq!(into("5", SqlType::Double).unwrap(), Value::Double(5.0));
    assert_eq!(into("'2020-01-02'", SqlType::Date).unwrap(), Value::Date(18_263));
    assert_eq!(into("NULL", SqlType::Int).unwrap(), Value::Null);
    assert_eq!(into("1.5", SqlType::Double).unwrap(), Value::Double(1.5));
    assert!(matches!(into("'x'", SqlType::Int).unwrap_err().cause, Cause::WrongType { .. }));
}

#[test]
fn rows_are_cut_and_joined() {
    let rows = rows();
    let again = Rows::concat(&[rows.slice(0, 1), rows.slice(1, 2)]).unwrap().unwrap();
    for row in 0..3 {
        assert_eq!(again.row(row), rows.row(row));
    }
    let taken = rows.take(&[2, 0, 2]).unwrap();
    assert_eq!(taken.row(1), rows.row(0));
    assert!(rows.take(&[3]).is_err());
    assert!(rows.with_changes(vec![Change::Delete]).is_err());
    assert!(rows.with_schema(Arc::new(Schema::default())).is_err());
    assert!(Rows::concat(&[rows.clone(), Rows::empty(Arc::new(Schema::default()))]).is_err());
}

#[test]
fn a_constant_that_cannot_be_computed_is_an_error_of_each_row() {
    let failed = |expression: &str| -> Vec<usize> {
        evaluate(expression).errors.iter().map(|error| error.row).collect()
    };
    assert_eq!(failed("1 / 0"), [0, 1, 2]);
    // Only the rows that need it.
    assert_eq!(failed("CASE WHEN stars = 0 THEN 1 / 0 ELSE 1 END"), [1]);
}
