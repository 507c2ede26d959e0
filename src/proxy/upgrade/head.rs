//! Where a head of a region's ends, and which status it has: all that has to be known of it to hold back what follows.
//!
//! Never: the last word on a head. The parser behind reads it too, and there is a tunnel only where both see one.

/// A head in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Up to and with its empty line.
    pub bytes: usize,
    /// Its status; `None`: it is none of HTTP/1.1.
    pub status: Option<u16>,
}

/// The head that `came` begins with; `None`: not all of it is there.
pub(super) fn first(came: &[u8]) -> Option<Head> {
    // Empty lines before a head mean nothing.
    let begin = came.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let head = came.get(begin..)?;
    let end = memchr::memchr_iter(b'\n', head).find_map(|at| match head.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    })?;
    Some(Head { bytes: begin + end, status: status(head) })
}

fn status(head: &[u8]) -> Option<u16> {
    let [digits @ .., b' ' | b'\r' | b'\n'] = head.strip_prefix(b"HTTP/1.1 ")?.get(..4)? else { return None };
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line_and_what_follows_is_no_part_of_it() {
        for (came, bytes, status) in [
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x01\n\n", 48, Some(101)),
            ("HTTP/1.1 101\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 16, Some(101)),
            ("HTTP/1.1 101 \n\n", 15, Some(101)),
            ("HTTP/1.1 101 \n\r\n", 16, Some(101)),
            ("\r\nHTTP/1.1 200 OK\r\n\r\nbody", 21, Some(200)),
            ("HTTP/1.0 101 Old\r\n\r\n", 20, None),
            ("HTTP/1.1 1010 Odd\r\n\r\n", 21, None),
            ("HTTP/1.1  101 Odd\r\n\r\n", 21, None),
            ("nonsense\n\n", 10, None),
        ] {
            assert_eq!(first(came.as_bytes()), Some(Head { bytes, status }), "{came:?}");
        }
    }

    #[test]
    fn half_a_head_is_none_however_much_of_it_came() {
        let whole = b"\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(first(&whole[..end]), None, "{end}");
        }
        assert_eq!(first(whole).map(|head| head.bytes), Some(whole.len()));
    }
}
