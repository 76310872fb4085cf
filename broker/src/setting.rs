//! What a setting is: one row with name, unit, default, bounds, whether it changes live, and how it is read and shown.
//!
//! The broker's settings (`config.rs`) and a topic's (`topics/settings.rs`) are tables of such rows;
//! `docs/settings.md` is rendered from them.

use std::fmt::Write as _;

/// One setting of a `T`.
pub struct Row<T: 'static> {
    /// The name in files, on the command line and over the wire.
    pub name: &'static str,
    /// The unit, or the kind of value.
    pub unit: &'static str,
    /// What is allowed, in words.
    pub bounds: &'static str,
    /// True when a change takes effect without a restart.
    pub live: bool,
    /// What it does.
    pub doc: &'static str,
    /// Reads a value; the error says what was expected.
    pub set: fn(&mut T, &str) -> Result<(), Expected>,
    /// The value in force, as [`Self::set`] would read it.
    pub get: fn(&T) -> String,
}

/// A value was not what the row allows: what was expected, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(pub String);

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no setting of this name.
    #[error("there is no setting {name:?}{}", nearest.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Unknown {
        /// As given, cut to 100 characters.
        name: String,
        /// The most similar name that there is.
        nearest: Option<&'static str>,
    },
    /// The value is not valid.
    #[error("the value {value:?} of {name} is not valid: {expected}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// As given, cut to 100 characters.
        value: String,
        /// What was expected.
        expected: String,
    },
}

/// Sets the setting `name` of `target`.
///
/// # Errors
/// When there is no such row or the value is not valid. `target` is then unchanged.
pub fn set<T>(
    rows: &'static [Row<T>],
    target: &mut T,
    name: &str,
    value: &str,
) -> Result<(), SettingError> {
    let row = find(rows, name)?;
    (row.set)(target, value.trim()).map_err(|Expected(expected)| SettingError::Value {
        name: row.name,
        value: value.chars().take(100).collect(),
        expected,
    })
}

/// The row of this name.
///
/// # Errors
/// [`SettingError::Unknown`], with the nearest name.
pub fn find<T>(rows: &'static [Row<T>], name: &str) -> Result<&'static Row<T>, SettingError> {
    rows.iter().find(|row| row.name == name).ok_or_else(|| SettingError::Unknown {
        name: name.chars().take(100).collect(),
        nearest: rows
            .iter()
            .map(|row| (distance(row.name, name), row.name))
            .filter(|(distance, _)| *distance <= 4)
            .min()
            .map(|(_, name)| name),
    })
}

/// Edits (insert, delete, replace a character) from one name to the other; names are short.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (b, above) in right.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *above;
            previous = replaced.min(*above + 1).min(previous + 1);
            *above = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The table in Markdown, as `docs/settings.md` shows it. `defaults` holds every default.
pub fn render<T>(rows: &'static [Row<T>], defaults: &T) -> String {
    let mut text = String::from(
        "| name | unit | default | bounds | live | meaning |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let live = if row.live { "yes" } else { "at start" };
        let default = (row.get)(defaults);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | `{default}` | {} | {live} | {} |",
            row.name, row.unit, row.bounds, row.doc
        );
    }
    text
}

/// Reads a whole number within bounds.
pub(crate) fn number<N>(text: &str, bounds: std::ops::RangeInclusive<N>) -> Result<N, Expected>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        Expected(format!("a whole number from {} to {} is expected", bounds.start(), bounds.end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROWS: [Row<u32>; 1] = [Row {
        name: "segment.bytes",
        unit: "bytes",
        bounds: "1 to 9",
        live: true,
        doc: "test",
        set: |target, text| number(text, 1..=9).map(|number| *target = number),
        get: |target| target.to_string(),
    }];

    #[test]
    fn unknown_names_get_a_hint_and_bad_values_a_bound() {
        let mut target = 5;
        let error = set(&ROWS, &mut target, "segment.byte", "1").unwrap_err();
        assert!(matches!(error, SettingError::Unknown { nearest: Some("segment.bytes"), .. }));
        assert!(matches!(find(&ROWS, "colour"), Err(SettingError::Unknown { nearest: None, .. })));
        for bad in ["0", "10", "x", "", "99999999999999999999"] {
            assert!(matches!(
                set(&ROWS, &mut target, "segment.bytes", bad),
                Err(SettingError::Value { .. })
            ));
        }
        assert_eq!(target, 5);
        set(&ROWS, &mut target, "segment.bytes", " 7 ").unwrap();
        assert_eq!(target, 7);
    }
}
