//! Numbers and foreign text as people read them.

use std::borrow::Cow;

/// A whole number with a comma between its thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 record`, `2,000 records`. For nouns that take an s.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// A number of bytes in the unit that suits it: `17 B`, `1.5 KiB`, `20.0 GiB`.
pub(crate) fn bytes_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Text from outside for a table on a terminal: control characters are shown as escapes, so that a record can
/// neither break the table nor give orders to the terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1 << 20, "1,048,576"),
        ];
        for (number, text) in cases {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn one_thing_is_no_plural() {
        let cases = [(0, "0 records"), (1, "1 record"), (2_000, "2,000 records")];
        for (number, text) in cases {
            assert_eq!(counted(number, "record"), text);
        }
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!(bytes_size(0), "0 B");
        assert_eq!(bytes_size(1023), "1023 B");
        assert_eq!(bytes_size(1536), "1.5 KiB");
        assert_eq!(bytes_size(20 << 30), "20.0 GiB");
        assert_eq!(bytes_size(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn control_characters_are_disarmed() {
        assert_eq!(printable("grün ✓"), "grün ✓");
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
