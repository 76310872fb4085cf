//! Functions on moments, days and times of day.
//!
//! Where no zone is given, it is UTC.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::function::{Body, Function, Group, RowFunction, RowResult, Type, call, text, whole};
use super::java_time::{self, Pattern};
use crate::ast::SpanUnit;
use crate::error::RowCause;
use crate::value::{SqlType, Value};

const S: Type = Type::String;
const I: Type = Type::Int;
const B: Type = Type::Bigint;
const M: Type = Type::Timestamp;
const U: Type = Type::Unit;

const DAY_MS: i64 = 86_400_000;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Time.row(
        "TIMESTAMPTOSTRING",
        "Milliseconds since 1970 as text by a pattern, in a zone.",
        &[
            call(&[B, S], S, Body::Prepared(format)),
            call(&[B, S, S], S, Body::Prepared(format)),
            call(&[M, S], S, Body::Prepared(format)),
            call(&[M, S, S], S, Body::Prepared(format)),
        ],
        &[
            ("TIMESTAMPTOSTRING(1581504360000, 'yyyy-MM-dd HH:mm:ss')", "2020-02-12 10:46:00"),
            ("TIMESTAMPTOSTRING(1594049400000, 'HH:mm', 'Europe/London')", "16:30"),
        ],
    ),
    Group::Time.row(
        "STRINGTOTIMESTAMP",
        "A text by a pattern as milliseconds since 1970.",
        &[
            call(&[S, S], B, Body::Prepared(|c| parse(c, Value::Bigint))),
            call(&[S, S, S], B, Body::Prepared(|c| parse(c, Value::Bigint))),
        ],
        &[("STRINGTOTIMESTAMP('2020-02-12 10:46', 'yyyy-MM-dd HH:mm')", "1581504360000")],
    ),
    Group::Time.row(
        "FORMAT_TIMESTAMP",
        "A TIMESTAMP as text by a pattern, in a zone.",
        &[call(&[M, S], S, Body::Prepared(format)), call(&[M, S, S], S, Body::Prepared(format))],
        &[("FORMAT_TIMESTAMP(FROM_UNIXTIME(0), 'dd MMM yyyy')", "01 Jan 1970")],
    ),
    Group::Time.row(
        "PARSE_TIMESTAMP",
        "A text by a pattern as a TIMESTAMP.",
        &[
            call(&[S, S], M, Body::Prepared(|c| parse(c, Value::Timestamp))),
            call(&[S, S, S], M, Body::Prepared(|c| parse(c, Value::Timestamp))),
        ],
        &[("PARSE_TIMESTAMP('12/02/2020', 'dd/MM/yyyy')", "2020-02-12T00:00:00.000")],
    ),
    Group::Time.row(
        "FORMAT_DATE",
        "A DATE as text by a pattern.",
        &[call(&[Type::Date, S], S, Body::Prepared(format_date))],
        &[("FORMAT_DATE(CAST('2020-02-12' AS DATE), 'd.M.yyyy')", "12.2.2020")],
    ),
    Group::Time.row(
        "PARSE_DATE",
        "A text by a pattern as a DATE.",
        &[call(&[S, S], Type::Date, Body::Prepared(|c| parse_days(c, Value::Date)))],
        &[("PARSE_DATE('12.2.2020', 'd.M.yyyy')", "2020-02-12")],
    ),
    Group::Time.row(
        "FORMAT_TIME",
        "A TIME as text by a pattern.",
        &[call(&[Type::Time, S], S, Body::Prepared(format))],
        &[("FORMAT_TIME(CAST('15:30:00' AS TIME), 'h:mm a')", "3:30 PM")],
    ),
    Group::Time.row(
        "PARSE_TIME",
        "A text by a pattern as a TIME.",
        &[call(&[S, S], Type::Time, Body::Prepared(parse_time))],
        &[("PARSE_TIME('3:30 PM', 'h:mm a')", "15:30:00")],
    ),
    Group::Time.row(
        "DATETOSTRING",
        "Days since 1970 as text by a pattern.",
        &[call(&[I, S], S, Body::Prepared(format_date))],
        &[("DATETOSTRING(18304, 'yyyy-MM-dd')", "2020-02-12")],
    ),
    Group::Time.row(
        "STRINGTODATE",
        "A text by a pattern as days since 1970.",
        &[call(&[S, S], I, Body::Prepared(|c| parse_days(c, Value::Int)))],
        &[("STRINGTODATE('2020-02-12', 'yyyy-MM-dd')", "18304")],
    ),
    Group::Time.row(
        "UNIX_TIMESTAMP",
        "A TIMESTAMP as milliseconds since 1970.",
        &[call(&[M], B, Body::Row(|row| Ok(Value::Bigint(whole(row, 0)))))],
        &[("UNIX_TIMESTAMP(CAST('1970-01-01T00:00:01' AS TIMESTAMP))", "1000")],
    ),
    Group::Time.row(
        "FROM_UNIXTIME",
        "Milliseconds since 1970 as a TIMESTAMP.",
        &[call(&[B], M, Body::Row(|row| Ok(Value::Timestamp(whole(row, 0)))))],
        &[("FROM_UNIXTIME(1000)", "1970-01-01T00:00:01.000")],
    ),
    Group::Time.row(
        "UNIX_DATE",
        "A DATE as days since 1970.",
        &[call(&[Type::Date], I, Body::Row(|row| days(whole(row, 0), Value::Int)))],
        &[("UNIX_DATE(CAST('1970-01-02' AS DATE))", "1")],
    ),
    Group::Time.row(
        "FROM_DAYS",
        "Days since 1970 as a DATE.",
        &[call(&[I], Type::Date, Body::Row(|row| days(whole(row, 0), Value::Date)))],
        &[("FROM_DAYS(1)", "1970-01-02")],
    ),
    Group::Time.row(
        "TIMESTAMPADD",
        "A TIMESTAMP so many units later.",
        &[call(&[U, I, M], M, Body::Row(|row| moved(row, 1).map(Value::Timestamp)))],
        &[("TIMESTAMPADD(MINUTES, 5, FROM_UNIXTIME(0))", "1970-01-01T00:05:00.000")],
    ),
    Group::Time.row(
        "TIMESTAMPSUB",
        "A TIMESTAMP so many units earlier.",
        &[call(&[U, I, M], M, Body::Row(|row| moved(row, -1).map(Value::Timestamp)))],
        &[("TIMESTAMPSUB(SECONDS, 1, FROM_UNIXTIME(1000))", "1970-01-01T00:00:00.000")],
    ),
    Group::Time.row(
        "DATEADD",
        "A DATE so many days later.",
        &[call(&[U, I, Type::Date], Type::Date, Body::Row(|row| moved_days(row, 1)))],
        &[("DATEADD(DAYS, 1, CAST('2020-02-28' AS DATE))", "2020-02-29")],
    ),
    Group::Time.row(
        "DATESUB",
        "A DATE so many days earlier.",
        &[call(&[U, I, Type::Date], Type::Date, Body::Row(|row| moved_days(row, -1)))],
        &[("DATESUB(DAYS, 1, CAST('2020-03-01' AS DATE))", "2020-02-29")],
    ),
    Group::Time.row(
        "TIMEADD",
        "A TIME so many units later, round the clock.",
        &[call(&[U, I, Type::Time], Type::Time, Body::Row(|row| moved(row, 1).map(clock)))],
        &[("TIMEADD(HOURS, 2, CAST('23:00:00' AS TIME))", "01:00:00")],
    ),
    Group::Time.row(
        "TIMESUB",
        "A TIME so many units earlier, round the clock.",
        &[call(&[U, I, Type::Time], Type::Time, Body::Row(|row| moved(row, -1).map(clock)))],
        &[("TIMESUB(HOURS, 2, CAST('01:00:00' AS TIME))", "23:00:00")],
    ),
    Group::Time.row(
        "CONVERT_TZ",
        "What clocks show in the second zone when they show the TIMESTAMP in the first.",
        &[call(&[M, S, S], M, Body::Row(convert_tz))],
        &[("CONVERT_TZ(FROM_UNIXTIME(0), 'UTC', 'America/New_York')", "1969-12-31T19:00:00.000")],
    ),
];

/// A pattern and a zone among the arguments, prepared where constant.
struct Prepared {
    pattern: Option<Pattern>,
    zone: Option<TimeZone>,
}

impl Prepared {
    fn new(arguments: &[Option<Value>]) -> Result<Self, RowCause> {
        let pattern = match arguments.get(1) {
            Some(Some(Value::String(pattern))) => Some(Pattern::new(pattern)?),
            _ => None,
        };
        let zone = match arguments.get(2) {
            None => Some(TimeZone::UTC),
            Some(Some(Value::String(name))) => Some(java_time::zone(name)?),
            Some(_) => None,
        };
        Ok(Self { pattern, zone })
    }

    /// Calls `with` with the pattern and zone of a row.
    fn of<T>(
        &self,
        row: &[Value],
        with: impl FnOnce(&Pattern, &TimeZone) -> Result<T, RowCause>,
    ) -> Result<T, RowCause> {
        let (read_pattern, read_zone);
        let pattern = match &self.pattern {
            Some(pattern) => pattern,
            None => {
                read_pattern = Pattern::new(text(row, 1))?;
                &read_pattern
            }
        };
        let zone = match &self.zone {
            Some(zone) => zone,
            None => {
                read_zone = java_time::zone(text(row, 2))?;
                &read_zone
            }
        };
        with(pattern, zone)
    }
}

fn format(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let prepared = Prepared::new(arguments)?;
    Ok(Arc::new(move |row| {
        let ms = whole(row, 0);
        prepared.of(row, |pattern, zone| pattern.format(ms, zone)).map(Value::String)
    }))
}

fn format_date(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let prepared = Prepared::new(arguments)?;
    Ok(Arc::new(move |row| {
        let ms = whole(row, 0) * DAY_MS;
        prepared.of(row, |pattern, zone| pattern.format(ms, zone)).map(Value::String)
    }))
}

fn parse(arguments: &[Option<Value>], make: fn(i64) -> Value) -> Result<RowFunction, RowCause> {
    let prepared = Prepared::new(arguments)?;
    Ok(Arc::new(move |row| {
        prepared.of(row, |pattern, zone| pattern.parse(text(row, 0), zone)).map(make)
    }))
}

fn parse_days(
    arguments: &[Option<Value>],
    make: fn(i32) -> Value,
) -> Result<RowFunction, RowCause> {
    let prepared = Prepared::new(arguments)?;
    Ok(Arc::new(move |row| {
        let ms = prepared.of(row, |pattern, zone| pattern.parse(text(row, 0), zone))?;
        days(ms.div_euclid(DAY_MS), make)
    }))
}

fn parse_time(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let prepared = Prepared::new(arguments)?;
    Ok(Arc::new(move |row| {
        prepared.of(row, |pattern, zone| pattern.parse(text(row, 0), zone)).map(clock)
    }))
}

fn out_of_range(sql_type: SqlType) -> RowCause {
    RowCause::OutOfRange { operation: "moving a time".into(), sql_type }
}

fn days(days: i64, make: fn(i32) -> Value) -> RowResult {
    i32::try_from(days).map(make).map_err(|_| out_of_range(SqlType::Date))
}

fn clock(ms: i64) -> Value {
    // Fits: it is less than a day.
    Value::Time(ms.rem_euclid(DAY_MS) as i32)
}

/// How far `unit, count` of a row reach, in milliseconds.
fn distance(row: &[Value]) -> Result<i64, RowCause> {
    let unit = SpanUnit::of_name(&text(row, 0).to_uppercase());
    let expected = "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS";
    let unit = unit.ok_or_else(|| RowCause::argument(text(row, 0), expected))?;
    let distance = whole(row, 1).checked_mul(unit.ms());
    distance.ok_or_else(|| out_of_range(SqlType::Timestamp))
}

fn moved(row: &[Value], direction: i64) -> Result<i64, RowCause> {
    let moved = whole(row, 2).checked_add(distance(row)? * direction);
    moved.ok_or_else(|| out_of_range(SqlType::Timestamp))
}

fn moved_days(row: &[Value], direction: i64) -> RowResult {
    days(whole(row, 2) + distance(row)?.div_euclid(DAY_MS) * direction, Value::Date)
}

fn convert_tz(row: &[Value]) -> RowResult {
    let ms = whole(row, 0);
    let refused = || RowCause::argument(ms, "a moment in the years -9999 to 9999");
    let shown = jiff::Timestamp::from_millisecond(ms).map_err(|_| refused())?;
    let shown = jiff::tz::Offset::UTC.to_datetime(shown);
    let from = java_time::zone(text(row, 1))?;
    let moment = from.to_ambiguous_timestamp(shown).compatible().map_err(|_| refused())?;
    let there = java_time::zone(text(row, 2))?.to_datetime(moment);
    let there = jiff::tz::Offset::UTC.to_timestamp(there).map_err(|_| refused())?;
    Ok(Value::Timestamp(there.as_millisecond()))
}
