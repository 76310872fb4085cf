//! Texts of moments by patterns as Java's `DateTimeFormatter` reads them: `yyyy-MM-dd'T'HH:mm:ss.SSSX`.
//!
//! Letters of week-based years, quarters and eras are left out and refused. Names are English. Zones come from the
//! database in the binary, so the same text gives the same moment on every machine.

use std::sync::OnceLock;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::error::RowCause;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A pattern, ready to write and read texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    text: String,
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(String),
    /// A letter, and how many of it.
    Field(char, usize),
    /// Between brackets: may be missing in a text that is read.
    Optional(Vec<Item>),
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, RowCause> {
        let mut rest = text.chars().peekable();
        let mut open: Vec<Vec<Item>> = vec![Vec::new()];
        let refused = || RowCause::argument(text, "a pattern such as yyyy-MM-dd HH:mm:ss");
        while let Some(next) = rest.next() {
            let item = match next {
                '\'' if rest.next_if_eq(&'\'').is_some() => Item::Literal("'".into()),
                '\'' => Item::Literal(quoted(&mut rest).ok_or_else(refused)?),
                '[' => {
                    open.push(Vec::new());
                    continue;
                }
                ']' => {
                    let inside = open.pop().filter(|_| !open.is_empty()).ok_or_else(refused)?;
                    Item::Optional(inside)
                }
                _ if next.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while rest.next_if_eq(&next).is_some() {
                        count += 1;
                    }
                    if !"yuMLdDHhkKmsSnaEzVXxZO".contains(next) || count > 9 {
                        return Err(refused());
                    }
                    Item::Field(next, count)
                }
                '{' | '}' | '#' => return Err(refused()),
                _ => Item::Literal(next.into()),
            };
            open.last_mut().ok_or_else(refused)?.push(item);
        }
        match (open.pop(), open.is_empty()) {
            (Some(items), true) => Ok(Self { text: text.to_owned(), items }),
            _ => Err(refused()),
        }
    }

    /// Writes a moment as it is in a zone.
    pub(crate) fn format(&self, ms: i64, zone: &TimeZone) -> Result<String, RowCause> {
        let moment = Timestamp::from_millisecond(ms)
            .map_err(|_| RowCause::argument(ms, "a moment in the years -9999 to 9999"))?;
        let zoned = moment.to_zoned(zone.clone());
        let mut written = String::new();
        write_items(&self.items, &zoned, &mut written);
        Ok(written)
    }

    /// Reads a moment, in milliseconds since 1970. Where the text has no zone it is in `zone`; parts that the pattern
    /// does not have are those of 1970-01-01T00:00.
    pub(crate) fn parse(&self, text: &str, zone: &TimeZone) -> Result<i64, RowCause> {
        let refused = || RowCause::argument(text, format!("a time written as {}", self.text));
        let mut found = Found::default();
        let rest = read_items(&self.items, text, &mut found).ok_or_else(refused)?;
        if !rest.is_empty() {
            return Err(refused());
        }
        let civil = found.civil().ok_or_else(refused)?;
        if let Some(seconds) = found.offset_seconds {
            let offset = Offset::from_seconds(seconds).map_err(|_| refused())?;
            return offset.to_timestamp(civil).map(|t| t.as_millisecond()).map_err(|_| refused());
        }
        let zone = found.zone.as_ref().unwrap_or(zone);
        let moment = zone.to_ambiguous_timestamp(civil).compatible();
        moment.map(|moment| moment.as_millisecond()).map_err(|_| refused())
    }
}

/// What stands up to the closing quote; a doubled quote is one.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut literal = String::new();
    loop {
        match rest.next()? {
            '\'' if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
            '\'' => return Some(literal),
            other => literal.push(other),
        }
    }
}

/// The zone of that name (`Europe/London`) or offset (`+02:00`, `Z`).
pub(crate) fn zone(name: &str) -> Result<TimeZone, RowCause> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let offset = name.strip_prefix("UTC").or(name.strip_prefix("GMT")).unwrap_or(name);
    if name == "Z" || (offset.is_empty() && !name.is_empty()) {
        return Ok(TimeZone::UTC);
    }
    if let Some((seconds, "")) = read_offset(offset, false)
        && let Ok(offset) = Offset::from_seconds(seconds)
    {
        return Ok(TimeZone::fixed(offset));
    }
    let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
    zones.get(name).map_err(|_| RowCause::argument(name, "a time zone such as Europe/London"))
}

fn write_items(items: &[Item], at: &jiff::Zoned, to: &mut String) {
    for item in items {
        match item {
            Item::Literal(literal) => to.push_str(literal),
            Item::Field(letter, count) => to.push_str(&field_text(*letter, *count, at)),
            Item::Optional(items) => write_items(items, at, to),
        }
    }
}

fn padded(number: i64, width: usize) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{:0width$}", number.unsigned_abs())
}

fn name_text(name: &str, count: usize) -> String {
    match count {
        4 => name.to_owned(),
        5 => name[..1].to_owned(),
        _ => name[..3].to_owned(),
    }
}

fn field_text(letter: char, count: usize, at: &jiff::Zoned) -> String {
    let hour = i64::from(at.hour());
    match letter {
        'y' | 'u' if count == 2 => padded(i64::from(at.year()).rem_euclid(100), 2),
        'y' | 'u' => padded(at.year().into(), count),
        'M' | 'L' if count >= 3 => name_text(MONTHS[(at.month() - 1) as usize], count),
        'M' | 'L' => padded(at.month().into(), count),
        'd' => padded(at.day().into(), count),
        'D' => padded(at.day_of_year().into(), count),
        'H' => padded(hour, count),
        'k' => padded(if hour == 0 { 24 } else { hour }, count),
        'K' => padded(hour % 12, count),
        'h' => padded(if hour % 12 == 0 { 12 } else { hour % 12 }, count),
        'm' => padded(at.minute().into(), count),
        's' => padded(at.second().into(), count),
        'S' => format!("{:09}", at.subsec_nanosecond())[..count].to_owned(),
        'n' => padded(at.subsec_nanosecond().into(), count),
        'a' => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
        'E' => name_text(WEEKDAYS[at.weekday().to_monday_zero_offset() as usize], count),
        'V' => zone_name(at),
        'z' => at.time_zone().to_offset_info(at.timestamp()).abbreviation().to_owned(),
        'O' => format!("GMT{}", offset_text(at.offset().seconds(), 3, false)),
        'Z' if count == 4 => format!("GMT{}", offset_text(at.offset().seconds(), 3, false)),
        'Z' => offset_text(at.offset().seconds(), if count == 5 { 3 } else { 2 }, count == 5),
        'X' => offset_text(at.offset().seconds(), count, true),
        _ => offset_text(at.offset().seconds(), count, false),
    }
}

fn zone_name(at: &jiff::Zoned) -> String {
    match at.time_zone().iana_name() {
        Some(name) => name.to_owned(),
        None => offset_text(at.offset().seconds(), 3, true),
    }
}

/// `+01`, `+0100` or `+01:00` for 1, 2 or 3 letters; `Z` for zero where that is allowed.
fn offset_text(seconds: i32, letters: usize, zero_is_z: bool) -> String {
    if seconds == 0 && zero_is_z {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match letters {
        1 if minutes == 0 => format!("{sign}{hours:02}"),
        1 | 2 | 4 => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}"),
    }
}

/// What a text said.
#[derive(Clone, Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nanosecond: Option<i64>,
    offset_seconds: Option<i32>,
    zone: Option<TimeZone>,
}

impl Found {
    fn civil(&self) -> Option<DateTime> {
        let year = i16::try_from(self.year.unwrap_or(1970)).ok()?;
        let date = match self.day_of_year {
            Some(day) => {
                let days = SignedDuration::from_hours((day - 1) * 24);
                let date = Date::new(year, 1, 1).ok()?.checked_add(days).ok()?;
                (day > 0 && date.year() == year).then_some(date)?
            }
            None => {
                let month = i8::try_from(self.month.unwrap_or(1)).ok()?;
                Date::new(year, month, i8::try_from(self.day.unwrap_or(1)).ok()?).ok()?
            }
        };
        let half = self.half_hour.map(|hour| match self.afternoon {
            Some(true) => hour % 12 + 12,
            _ => hour % 12,
        });
        let small = |part: Option<i64>| i8::try_from(part.unwrap_or(0)).ok();
        let (hour, minute) = (small(self.hour.or(half))?, small(self.minute)?);
        let nanosecond = i32::try_from(self.nanosecond.unwrap_or(0)).ok()?;
        let time = Time::new(hour % 24, minute, small(self.second)?, nanosecond).ok()?;
        (hour <= 24).then(|| date.to_datetime(time))
    }
}

/// Reads the items and gives what is left of the text.
fn read_items<'t>(items: &[Item], mut text: &'t str, found: &mut Found) -> Option<&'t str> {
    for (index, item) in items.iter().enumerate() {
        text = match item {
            Item::Literal(literal) => text.strip_prefix(literal.as_str())?,
            Item::Optional(items) => {
                let mut tried = found.clone();
                match read_items(items, text, &mut tried) {
                    Some(rest) => {
                        *found = tried;
                        rest
                    }
                    None => text,
                }
            }
            Item::Field(letter, count) => {
                let touches = matches!(items.get(index + 1), Some(Item::Field(..)));
                read_field(*letter, *count, touches, text, found)?
            }
        };
    }
    Some(text)
}

fn read_field<'t>(
    letter: char,
    count: usize,
    touches: bool,
    text: &'t str,
    found: &mut Found,
) -> Option<&'t str> {
    // A field that touches the next has exactly its letters; one letter alone takes what digits there are.
    let (least, most) = match (letter, count) {
        ('S', _) | (_, 2) => (count, count),
        (_, 1) if !touches => (1, 9),
        ('y' | 'u', _) if !touches => (count, 9),
        _ => (count, count),
    };
    match letter {
        'M' | 'L' if count >= 3 => {
            let (month, rest) = read_name(&MONTHS, count, text)?;
            found.month = Some(month as i64 + 1);
            return Some(rest);
        }
        'E' => return Some(read_name(&WEEKDAYS, count, text)?.1),
        'a' => {
            let (half, rest) = text.split_at_checked(2)?;
            found.afternoon = Some(half.eq_ignore_ascii_case("PM"));
            return half.to_ascii_uppercase().ends_with('M').then_some(rest);
        }
        'V' | 'z' => {
            let in_name = |c: char| c.is_ascii_alphanumeric() || "/_+-:".contains(c);
            let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
            found.zone = Some(zone(&text[..end]).ok()?);
            return Some(&text[end..]);
        }
        'X' | 'x' | 'Z' | 'O' => {
            let text = if letter == 'O' { text.strip_prefix("GMT")? } else { text };
            let (seconds, rest) = read_offset(text, letter == 'X' || letter == 'Z')?;
            found.offset_seconds = Some(seconds);
            return Some(rest);
        }
        _ => {}
    }
    let signed = matches!(letter, 'y' | 'u') && text.starts_with('-');
    let text = if signed { &text[1..] } else { text };
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = (text.get(..digits)?.parse::<i64>().ok()?, &text[digits..]);
    if digits < least {
        return None;
    }
    match letter {
        'y' | 'u' if count == 2 => found.year = Some(2000 + number),
        'y' | 'u' => found.year = Some(if signed { -number } else { number }),
        'M' | 'L' => found.month = Some(number),
        'd' => found.day = Some(number),
        'D' => found.day_of_year = Some(number),
        'H' | 'k' => found.hour = Some(number),
        'h' | 'K' => found.half_hour = Some(number),
        'm' => found.minute = Some(number),
        's' => found.second = Some(number),
        'S' => found.nanosecond = Some(number * 10_i64.pow(9 - count as u32)),
        _ => found.nanosecond = Some(number),
    }
    Some(rest)
}

fn read_name<'t>(names: &[&str], count: usize, text: &'t str) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = name_text(name, count);
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(&name).then_some((index, rest))
    })
}

/// Reads `+1`, `+01`, `+0100`, `+01:00`, and `Z` where allowed; gives seconds and what is left.
fn read_offset(text: &str, zero_is_z: bool) -> Option<(i32, &str)> {
    if zero_is_z && let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let text = text.strip_prefix(['+', '-'])?;
    let digits =
        |text: &str, most: usize| text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let hour_digits = digits(text, 2);
    let hours: i32 = text[..hour_digits].parse().ok()?;
    let rest = &text[hour_digits..];
    let behind = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = match digits(behind, 2) {
        2 => (behind[..2].parse::<i32>().ok()?, &behind[2..]),
        _ => (0, rest),
    };
    Some((sign * (hours * 3600 + minutes * 60), rest))
}

/// Reads a moment from ISO text, whole or cut short: `2024`, `2024-02-29`, `2024-02-29T12:30`,
/// `2024-02-29 12:30:15.250+01:00`; UTC where no zone is given.
pub(crate) fn read_moment(text: &str) -> Option<i64> {
    let (text, zone) = split_zone(text.trim());
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let number = |part: Option<&str>| match part {
        Some(part) if part.bytes().all(|byte| byte.is_ascii_digit()) => part.parse::<i16>().ok(),
        Some(_) => None,
        None => Some(1),
    };
    let year = number(parts.next()).filter(|_| date.len() >= 4)?;
    let [month, day] = [number(parts.next())?, number(parts.next())?];
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let ms_of_day = time.map_or(Some(0), read_time)?;
    let days = read_days(date);
    let zone = zone.map_or(Ok(TimeZone::UTC), crate::functions::java_time::zone).ok()?;
    let civil = Timestamp::from_millisecond(days * 86_400_000 + i64::from(ms_of_day)).ok()?;
    let civil = Offset::UTC.to_datetime(civil);
    zone.to_ambiguous_timestamp(civil).compatible().ok().map(|moment| moment.as_millisecond())
}

fn split_zone(text: &str) -> (&str, Option<&str>) {
    if let Some(text) = text.strip_suffix('Z') {
        return (text, None);
    }
    let time = text.find(['T', ' ']).unwrap_or(text.len());
    match text[time..].find(['+', '-']) {
        Some(at) => (&text[..time + at], Some(&text[time + at..])),
        None => (text, None),
    }
}

/// Days since 1970-01-01.
pub(crate) fn read_days(date: Date) -> i64 {
    let span = date.duration_since(Date::constant(1970, 1, 1));
    span.as_hours() / 24
}

/// Reads `2024-02-29` as days since 1970-01-01.
pub(crate) fn read_date(text: &str) -> Option<i32> {
    let date: Date = text.trim().parse().ok().filter(|_| text.trim().len() == 10)?;
    i32::try_from(read_days(date)).ok()
}

/// Reads `12:30`, `12:30:15` or `12:30:15.250` as milliseconds since midnight.
pub(crate) fn read_time(text: &str) -> Option<i32> {
    let (clock, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let mut parts = clock.split(':');
    let mut part = |bound: i32, needed: bool| match parts.next() {
        Some(part) if part.len() == 2 => {
            part.parse::<u8>().ok().map(i32::from).filter(|p| *p < bound)
        }
        Some(_) => None,
        None => (!needed).then_some(0),
    };
    let (hours, minutes, seconds) = (part(24, true)?, part(60, false)?, part(60, false)?);
    let digits =
        fraction.bytes().all(|byte| byte.is_ascii_digit()) && (1..=9).contains(&fraction.len());
    let ms: i32 = digits.then(|| format!("{fraction:0<3}")[..3].parse().ok())??;
    parts.next().is_none().then_some(((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn summer_time_is_known() {
        let pattern = Pattern::new("yyyy-MM-dd HH:mm:ss XXX").unwrap();
        let london = zone("Europe/London").unwrap();
        let summer =
            Pattern::new("yyyy-MM-dd").unwrap().parse("2020-07-01", &TimeZone::UTC).unwrap();
        assert_eq!(pattern.format(summer, &london).unwrap(), "2020-07-01 01:00:00 +01:00");
        assert_eq!(pattern.format(0, &TimeZone::UTC).unwrap(), "1970-01-01 00:00:00 Z");
    }

    #[test]
    fn patterns_read_what_they_name() {
        let utc = &TimeZone::UTC;
        let ms =
            |pattern: &str, text: &str| Pattern::new(pattern).unwrap().parse(text, utc).unwrap();
        assert_eq!(
            ms("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2020-07-06T15:30:00.250+01"),
            1_594_045_800_250
        );
        assert_eq!(ms("EEE dd MMM yyyy hh:mm a", "Mon 06 Jul 2020 03:30 PM"), 1_594_049_400_000);
        assert_eq!(ms("yyyyMMdd[ HH]", "20200706"), ms("yyyyMMdd[ HH]", "20200706 00"));
        assert_eq!(ms("d/M/yy", "6/7/20"), ms("yyyy-MM-dd", "2020-07-06"));
        assert!(Pattern::new("yyyy-ww").is_err() && Pattern::new("'open").is_err());
    }

    #[test]
    fn iso_texts_may_be_cut_short() {
        assert_eq!(read_moment("2020-07-06T15:30:00.000"), Some(1_594_049_400_000));
        assert_eq!(read_moment("2020-07-06 16:30+01:00"), Some(1_594_049_400_000));
        assert_eq!(read_moment("1970"), Some(0));
        assert_eq!(read_moment("tomorrow"), None);
        assert_eq!(read_time("24:00"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in -60_000_000_000_000_i64..250_000_000_000_000) {
            let pattern = Pattern::new("uuuu-MM-dd HH:mm:ss.SSS").unwrap();
            let text = pattern.format(ms, &TimeZone::UTC).unwrap();
            prop_assert_eq!(pattern.parse(&text, &TimeZone::UTC).unwrap(), ms);
        }

        #[test]
        fn any_text_is_read_or_refused(pattern in "[yMdHmsSXVa' \\[\\].é-]{0,12}", text in "\\PC{0,20}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.parse(&text, &TimeZone::UTC);
                let _ = pattern.format(0, &TimeZone::UTC);
            }
            let _ = (read_moment(&text), read_date(&text), read_time(&text), zone(&text).is_ok());
        }
    }
}
