//! The values of flags that are more than a word or a number: settings, rates, moments, places to start.

use std::str::FromStr;

use protocol::id::{IdError, Offset, Timestamp};
use protocol::verbs::Position;

/// `NAME=VALUE`. The value may be empty and may hold further `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// What stands before the first `=`, never empty.
    pub(crate) name: String,
    /// What stands behind it.
    pub(crate) value: String,
}

/// Why a value of a flag is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// No `=`, or nothing before it.
    #[error("NAME=VALUE is expected, for example retention.ms=86400000")]
    Setting,
    /// Not a number above 0, or not one of a second.
    #[error("a number of records per second above 0 is expected, for example 20 or 0.5/s")]
    Rate,
    /// Neither a word nor a number nor a moment.
    #[error(
        "earliest, latest, an offset, or @ with a moment is expected (@-10m, @2026-01-31T12:00:00Z, @1769860800000)"
    )]
    StartAt,
    /// An offset below zero.
    #[error(transparent)]
    Offset(#[from] IdError),
    /// Not a moment.
    #[error(
        "a moment is expected: epoch milliseconds (1769860800000), RFC 3339 (2026-01-31T12:00:00Z), or a time ago (-90s, -10m, -1h30m, -2d)"
    )]
    Moment,
}

impl FromStr for Setting {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (name, value) = text.split_once('=').ok_or(ValueError::Setting)?;
        if name.is_empty() {
            return Err(ValueError::Setting);
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Records per second: a number above 0, `/s` may follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(f64);

impl Rate {
    /// The highest that makes sense: a record a microsecond.
    const MAX: f64 = 1_000_000.0;

    /// Records per second, above 0 and at most a million.
    pub(crate) fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = text.strip_suffix("/s").unwrap_or(text).trim();
        number
            .parse()
            .ok()
            .filter(|rate| *rate > 0.0 && *rate <= Self::MAX)
            .map(Self)
            .ok_or(ValueError::Rate)
    }
}

/// A moment, as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Fixed.
    At(Timestamp),
    /// So many milliseconds before now.
    Ago {
        /// Never negative.
        ms: i64,
    },
}

impl Moment {
    /// The moment, seen from `now`. What lies before 1970 is 1970.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Ago { ms } => Timestamp(now.0.saturating_sub(ms).max(0)),
        }
    }
}

impl FromStr for Moment {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(ago) = text.strip_prefix('-') {
            return Ok(Self::Ago { ms: duration_ms(ago).ok_or(ValueError::Moment)? });
        }
        if let Ok(ms) = text.parse::<u64>() {
            return i64::try_from(ms)
                .map(|ms| Self::At(Timestamp(ms)))
                .map_err(|_| ValueError::Moment);
        }
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self::At(Timestamp(timestamp.as_millisecond())))
            .map_err(|_| ValueError::Moment)
    }
}

/// `10m`, `1h30m`, `250ms`: whole numbers, each with its unit.
fn duration_ms(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 6] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
    ];
    let mut rest = text;
    let mut total = 0_i64;
    loop {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|character: char| character.is_ascii_digit());
        let (unit, behind) = behind.split_at(letters.unwrap_or(behind.len()));
        let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = behind;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Where to start reading, as given with `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// The first record that is still there.
    Earliest,
    /// What comes from now on.
    Latest,
    /// This record, in every partition read.
    Offset(Offset),
    /// The first record of this moment or later.
    Moment(Moment),
}

impl StartAt {
    /// What it means, seen from `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Position {
        match self {
            Self::Earliest => Position::Earliest,
            Self::Latest => Position::Latest,
            Self::Offset(offset) => Position::Offset(offset),
            Self::Moment(moment) => Position::Time(moment.resolve(now)),
        }
    }
}

impl FromStr for StartAt {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "earliest" | "beginning" => Ok(Self::Earliest),
            "latest" | "end" => Ok(Self::Latest),
            _ => {
                if let Some(moment) = text.strip_prefix('@') {
                    return Ok(Self::Moment(moment.parse()?));
                }
                let offset = text.parse::<i64>().map_err(|_| ValueError::StartAt)?;
                Ok(Self::Offset(Offset::new(offset)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn position(text: &str) -> Result<Position, ValueError> {
        text.parse::<StartAt>().map(|start| start.resolve(NOW))
    }

    #[test]
    fn every_way_to_say_where_to_start() {
        let at = |ms| Ok(Position::Time(Timestamp(ms)));
        assert_eq!(position("earliest"), Ok(Position::Earliest));
        assert_eq!(position("end"), Ok(Position::Latest));
        assert_eq!(position("17"), Ok(Position::Offset(Offset::new(17).unwrap())));
        assert_eq!(position("@1600000000000"), at(1_600_000_000_000));
        assert_eq!(position("@2020-09-13T12:26:40Z"), at(1_600_000_000_000));
        assert_eq!(position("@2020-09-13T14:26:40+02:00"), at(1_600_000_000_000));
        assert_eq!(position("@-10m"), at(NOW.0 - 600_000));
        assert_eq!(position("@-1h30m"), at(NOW.0 - 5_400_000));
        assert_eq!(position("@-250ms"), at(NOW.0 - 250));
        assert_eq!(position("@-9999w"), at(0));
    }

    #[test]
    fn other_texts_are_refused_by_what_they_tried_to_be() {
        for (text, error) in [
            ("", ValueError::StartAt),
            ("first", ValueError::StartAt),
            ("-5", ValueError::Offset(IdError::Offset { given: -5 })),
            ("@", ValueError::Moment),
            ("@-", ValueError::Moment),
            ("@-10", ValueError::Moment),
            ("@-m", ValueError::Moment),
            ("@-10x", ValueError::Moment),
            ("@-99999999999999999999s", ValueError::Moment),
            ("@18446744073709551615", ValueError::Moment),
            ("@2020-13-01T00:00:00Z", ValueError::Moment),
            ("@2020-01-01", ValueError::Moment),
        ] {
            assert_eq!(position(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn settings_are_split_at_the_first_equals_sign() {
        let setting = |name: &str, value: &str| {
            Ok(Setting { name: name.to_owned(), value: value.to_owned() })
        };
        assert_eq!("retention.ms=5".parse(), setting("retention.ms", "5"));
        assert_eq!("a=b=c".parse(), setting("a", "b=c"));
        assert_eq!("a=".parse(), setting("a", ""));
        assert_eq!("=b".parse::<Setting>(), Err(ValueError::Setting));
        assert_eq!("a".parse::<Setting>(), Err(ValueError::Setting));
    }

    #[test]
    fn rates_are_above_zero() {
        assert_eq!("20".parse::<Rate>().unwrap().per_second(), 20.0);
        assert_eq!("0.5/s".parse::<Rate>().unwrap().per_second(), 0.5);
        for bad in ["0", "-1", "NaN", "inf", "2000000", "fast", "5/m", ""] {
            assert_eq!(bad.parse::<Rate>(), Err(ValueError::Rate), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "@?-?[0-9a-zA-Z:+.-]{0,30}") {
            let _ = position(&text);
        }

        #[test]
        fn times_ago_add_up(hours in 0_i64..1000, minutes in 0_i64..1000, seconds in 0_i64..1000) {
            let text = format!("@-{hours}h{minutes}m{seconds}s");
            let ms = ((hours * 60 + minutes) * 60 + seconds) * 1000;
            prop_assert_eq!(position(&text), Ok(Position::Time(Timestamp(NOW.0 - ms))));
        }
    }
}
