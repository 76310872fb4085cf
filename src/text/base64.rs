//! Base64 (RFC 4648, the standard alphabet), for bytes that JSON cannot hold. Written here because forty lines are
//! less than a dependency. No line breaks, no other alphabets.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `bytes`, with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for symbol in 0..4 {
            // A chunk of n bytes takes n + 1 symbols.
            if symbol <= chunk.len() {
                text.push(char::from(ALPHABET[(group >> (18 - 6 * symbol) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// The bytes of a text, with or without its padding. `None` for anything that [`encode`] would not write, so that
/// no two texts stand for the same bytes but for the padding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols = text.trim_end_matches('=');
    let padding = text.len() - symbols.len();
    let left_over = symbols.len() % 4;
    if left_over == 1 || (padding > 0 && (left_over == 0 || left_over + padding != 4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3 + 2);
    for chunk in symbols.as_bytes().chunks(4) {
        let mut group = 0_u32;
        for index in 0..4 {
            group = group << 6 | chunk.get(index).map_or(Some(0), |symbol| value_of(*symbol))?;
        }
        let [_, decoded @ ..] = group.to_be_bytes();
        let (kept, cut) = decoded.split_at(chunk.len() * 3 / 4);
        if cut.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn value_of(symbol: u8) -> Option<u32> {
    let value = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let text = encode(&bytes);
            prop_assert_eq!(decode(&text), Some(bytes.clone()));
            prop_assert_eq!(decode(text.trim_end_matches('=')), Some(bytes));
        }

        #[test]
        fn any_text_is_refused_or_is_what_encode_writes(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Some(bytes) = decode(&text) {
                let written = encode(&bytes);
                prop_assert!(written == text || written.trim_end_matches('=') == text);
            }
        }
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        for bad in ["Z", "Zg=", "Zg===", "Zh==", "Zm9v=", "Zm 9", "Zm9-", "====", "ü"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
