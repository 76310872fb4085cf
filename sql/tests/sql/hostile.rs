//! Statements and expressions made to cost much: each is refused, or ends in time with a bounded result.
//!
//! The bound of time is wide, so that a slow machine in a build for debugging keeps it; what it must catch is work that
//! grows with the square of the input or worse, which would take minutes to days.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_sql::compile::compile;
use thalweg_sql::error::Cause;
use thalweg_sql::{
    Change, Column, Evaluated, Row, RowCause, Rows, RowsBuilder, Schema, SqlError, SqlType, Value,
    parse,
};

const TIME_MAX: Duration = Duration::from_secs(30);

const MIB: usize = 1 << 20;

fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    let what: String = what.chars().take(80).collect();
    assert!(begun.elapsed() < TIME_MAX, "{what} took {:?}", begun.elapsed());
    done
}

fn refused(statement: &str) -> Cause {
    in_time(statement, || parse::script(statement)).unwrap_err().cause
}

fn rows(count: usize) -> Rows {
    let schema = Schema::new(vec![], vec![Column::new("T", SqlType::String)]).unwrap();
    let mut builder = RowsBuilder::new(Arc::new(schema.with_source("S")), count);
    for row in 0..count {
        let value = vec![Value::String(format!("{:0>200}", row % 10))];
        let (key, change) = (vec![], Change::Insert);
        let row = Row { key, value, time: 0, partition: None, offset: None, change };
        builder.push(&row).unwrap();
    }
    builder.finish()
}

fn evaluate(expression: &str, count: usize) -> Result<Evaluated, SqlError> {
    let rows = rows(count);
    let expr = parse::expression(expression)?;
    let compiled = in_time(expression, || compile(&expr, rows.schema()))?;
    // What is refused for the whole batch has one error, like a row.
    Ok(in_time(expression, || compiled.evaluate(&rows)).unwrap_or_else(|error| {
        assert!(error.to_string().contains("make its texts and arrays shorter"), "{error}");
        let cause = RowCause::TooLarge { what: "bytes", limit: 0 };
        Evaluated {
            column: Value::Null.repeat(compiled.sql_type(), 1).unwrap(),
            errors: vec![thalweg_sql::RowError { row: 0, cause }],
        }
    }))
}

#[test]
fn statements_of_any_size_and_depth_are_refused_with_the_limit() {
    let deep = |open: &str, close: &str| {
        format!("SELECT {}1{} FROM S;", open.repeat(15_000), close.repeat(15_000))
    };
    for nested in [deep("(", ")"), deep("ABS(", ")"), deep("ARRAY[", "]"), deep("- ", "")] {
        assert!(matches!(refused(&nested), Cause::TooDeep { .. }));
    }
    let terms = format!("SELECT 1{} FROM S;", " + 1".repeat(20_000));
    assert!(matches!(refused(&terms), Cause::TooDeep { .. }));
    let types = format!("CREATE STREAM S (X {}INT{});", "ARRAY<".repeat(9_000), ">".repeat(9_000));
    assert!(matches!(refused(&types), Cause::TooDeep { .. }));
    let long = format!("SELECT '{}' FROM S;", "x".repeat(10 * MIB));
    assert!(matches!(refused(&long), Cause::TooLong { bytes, limit: MIB } if bytes > 10 * MIB));
    let many = "SHOW TOPICS;".repeat(20_000);
    assert!(matches!(refused(&many), Cause::TooMany { .. }));
    let columns = format!("SELECT 1{} FROM S;", ", 1".repeat(300_000));
    assert!(matches!(refused(&columns), Cause::TooMany { .. }));
    // As wide as the limit allows: read, in time.
    let wide = format!("INSERT INTO S (X) VALUES (1){};", ", (1)".repeat(12_000));
    assert!(in_time("wide", || parse::script(&wide)).is_ok());
}

#[test]
fn a_name_as_long_as_a_text_is_not_compared_with_every_other() {
    let long = "A".repeat(900_000);
    let unknown = evaluate(&format!("{long}(T)"), 1).unwrap_err();
    assert!(matches!(unknown.cause, Cause::UnknownFunction { near: None, .. }));
    let unknown = evaluate(&long, 1).unwrap_err();
    assert!(matches!(unknown.cause, Cause::UnknownColumn { near: None, .. }));
}

#[test]
fn patterns_cannot_explode() {
    let percent = "%a".repeat(450);
    for pattern in [format!("{percent}b"), "_".repeat(1_000), format!("%{}%", "_%".repeat(400))] {
        evaluate(&format!("LPAD(T, 100000, 'a') LIKE '{pattern}'"), 50).unwrap();
    }
    let long = evaluate(&format!("T LIKE '{}'", "%".repeat(1_001)), 1).unwrap_err();
    assert!(long.to_string().contains("at most 1000 bytes"), "{long}");
    // A pattern that comes with the rows is no reason to stop: the row has no value.
    let found = evaluate("T LIKE LPAD(T, 1001, '%')", 3).unwrap();
    assert_eq!(found.errors.len(), 3);
    for pattern in ["(a+)+$", "(a{1000}){1000}", "(.*)*(.*)*(.*)*b", "(a|aa)+$"] {
        match evaluate(&format!("REGEXP_EXTRACT('{pattern}', LPAD('b', 100000, 'a'))"), 1) {
            Ok(found) => assert_eq!(found.errors, [], "{pattern}"),
            Err(error) => assert!(error.to_string().contains("a moderate size"), "{error}"),
        }
    }
}

#[test]
fn short_expressions_do_not_fill_the_memory() {
    let a = "LPAD('a', 1000000, 'a')";
    let concat = vec![a; 300].join(", ");
    let cases = vec![format!("WHEN T = '1' THEN {a}"); 300].join(" ");
    for expression in [
        a.to_owned(),
        format!("CONCAT({concat})"),
        format!("CONCAT(T, {concat})"),
        format!("ARRAY[{concat}]"),
        format!("CASE {cases} ELSE T END"),
        format!("{a} LIKE T"),
        format!("REPLACE({a}, 'a', {a})"),
        format!("REGEXP_REPLACE({a}, 'a', {a})"),
        format!("REGEXP_REPLACE({a}, 'a+', REPLACE(LPAD('$', 300000, '$'), '$', '$0'))"),
        format!("ARRAY_JOIN(SPLIT({a}, ''), {a})"),
        format!("MASK({a}, {a}, {a}, {a}, {a})"),
        "GENERATE_SERIES(1, 1000000)".to_owned(),
        "GENERATE_SERIES(1, 900000 + LEN(T))".to_owned(),
    ] {
        let found = evaluate(&expression, 1_000).unwrap();
        assert!(
            matches!(
                found.errors.first().map(|error| &error.cause),
                Some(RowCause::TooLarge { .. })
            ),
            "{expression:.80}"
        );
    }
}

#[test]
fn errors_of_a_row_are_kept_once_however_many_there_are() {
    let bad = vec!["CAST(T AS INT) / 0"; 5_000].join(", ");
    let found = evaluate(&format!("ARRAY[{bad}]"), 200).unwrap();
    assert_eq!(found.errors.len(), 200);
    let cases = vec!["WHEN CAST(T AS INT) / 0 = 1 THEN 1"; 2_000].join(" ");
    assert_eq!(evaluate(&format!("CASE {cases} ELSE 2 END"), 200).unwrap().errors.len(), 200);
}

#[test]
fn functions_take_time_with_the_length_of_their_arguments() {
    let a = "LPAD('a', 1000000, 'a')";
    let numbers = "ARRAY_JOIN(GENERATE_SERIES(1, 90000), '=x,')";
    for expression in [
        format!("INSTR({a}, LPAD('b', 500000, 'a'))"),
        format!("INSTR({a}, LPAD('a', 500000, 'a'), -1, 400000)"),
        format!("SPLIT_TO_MAP({numbers}, ',', '=')"),
        "ARRAY_INTERSECT(GENERATE_SERIES(1, 300000), GENERATE_SERIES(300000, 1))".to_owned(),
    ] {
        assert_eq!(evaluate(&expression, 1).unwrap().errors, [], "{expression}");
    }
}
