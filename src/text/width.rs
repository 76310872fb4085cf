//! How many columns of a terminal a text takes: most characters one, those of East Asia and emoji two, accents none.

use unicode_width::UnicodeWidthChar;

/// Columns of a text without control characters.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Columns of a character; a control character counts as the blank it is shown as.
pub(crate) fn character_width(character: char) -> usize {
    character.width().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_as_wide_as_terminals_draw_them() {
        for (text, columns) in [("", 0), ("grün", 4), ("日本", 4), ("🎉", 2), ("e\u{301}", 1)]
        {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(character_width('\t'), 1);
    }
}
