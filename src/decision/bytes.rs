//! Classes of bytes, and the longest run of one at the start of a slice.
//!
//! Never: decodes, copies or decides. Runs are searched sixteen bytes at a time where most of a head lies.

/// Whether `byte` may stand in a token: a method, a field name, a connection option (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token(byte as u8);
        byte += 1;
    }
    table
};

/// How many bytes at the start of `bytes` belong to a token.
#[must_use]
pub fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !TOKEN[usize::from(byte)]).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` may stand in a field value: all but controls, the tab excepted.
#[must_use]
pub fn text_len(bytes: &[u8]) -> usize {
    run_len(bytes, |byte| ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// How many bytes at the start of `bytes` are visible ASCII.
#[must_use]
pub fn visible_len(bytes: &[u8]) -> usize {
    run_len(bytes, |byte| !is_visible(byte))
}

/// Whether `byte` is visible ASCII, the space excluded.
#[must_use]
pub const fn is_visible(byte: u8) -> bool {
    byte.wrapping_sub(0x21) < 0x5e
}

/// Without the spaces and tabs at both ends.
#[must_use]
pub fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The byte that two hexadecimal digits at the start of `bytes` spell.
#[must_use]
pub fn hex_pair(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[inline]
fn run_len(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = bytes.as_chunks::<16>();
    let whole = blocks.iter().take_while(|block| !block.iter().fold(false, |seen, &byte| seen | ends(byte)));
    let clean = whole.count() * 16;
    let tail = bytes.get(clean..).unwrap_or_default();
    clean + tail.iter().position(|&byte| ends(byte)).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_same_byte_wherever_it_stands() {
        for length in 0..70 {
            let mut bytes = vec![b'a'; length];
            assert_eq!((text_len(&bytes), visible_len(&bytes), token_len(&bytes)), (length, length, length));
            for at in 0..length {
                bytes[at] = 0x7f;
                assert_eq!((text_len(&bytes), visible_len(&bytes), token_len(&bytes)), (at, at, at));
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn text_takes_tabs_spaces_and_high_bytes_and_visible_takes_none() {
        for byte in 0..=255_u8 {
            let text = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(text_len(&[byte]) == 1, text, "{byte:#x}");
            assert_eq!(visible_len(&[byte]) == 1, byte.is_ascii_graphic(), "{byte:#x}");
        }
    }

    #[test]
    fn hexadecimal_pairs_need_two_digits() {
        assert_eq!(hex_pair(b"2f"), Some(0x2f));
        assert_eq!(hex_pair(b"E9x"), Some(0xe9));
        assert_eq!(hex_pair(b"2"), None);
        assert_eq!(hex_pair(b"g0"), None);
    }
}
