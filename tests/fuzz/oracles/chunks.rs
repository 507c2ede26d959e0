//! The chunked body: it ends where the plainest reading ends it, however it is cut up on its way, and what it costs besides
//! its data is bounded.

use rhumb::proxy::gate::Chunks;

pub fn check(bytes: &[u8]) -> bool {
    let Some((&cut, body)) = bytes.split_first() else { return false };
    let whole = Chunks::default().read(body);
    assert_eq!(in_pieces(body, 1), whole.ok().flatten(), "byte by byte it ends elsewhere");
    assert_eq!(in_pieces(body, usize::from(cut) + 2), whole.ok().flatten(), "in pieces it ends elsewhere");
    let Ok(Some(end)) = whole else { return false };
    let (data, chunks) = plain(&body[..end]).expect("the plain reading refuses a body that has its end");
    assert!(end <= 2 * data + 32 * chunks + (40 << 10), "{end} bytes for {data} of data");
    assert_eq!(Chunks::default().read(&body[..end]), Ok(Some(end)), "what follows changes where it ends");
    assert_eq!(Chunks::default().read(&body[..end - 1]), Ok(None), "it ends before its end");
    true
}

/// Where it ends if it comes in pieces of this size; `None`: it does not, or is refused.
fn in_pieces(body: &[u8], size: usize) -> Option<usize> {
    let mut chunks = Chunks::default();
    let mut before = 0;
    for piece in body.chunks(size) {
        assert!(!chunks.is_over());
        match chunks.read(piece) {
            Ok(None) => before += piece.len(),
            Ok(Some(end)) => {
                assert!(chunks.is_over());
                return Some(before + end);
            }
            Err(_) => return None,
        }
    }
    None
}

/// How much data a body holds in how many chunks, all of its bytes used.
fn plain(mut rest: &[u8]) -> Option<(usize, usize)> {
    let (mut data, mut chunks) = (0, 0);
    loop {
        let (line, behind) = line(rest)?;
        let digits = line.split(|&byte| byte == b';').next()?;
        let digits = str::from_utf8(digits).ok()?;
        if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        rest = behind;
        if size == 0 {
            break;
        }
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
        data += size;
        chunks += 1;
    }
    loop {
        let (line, behind) = line(rest)?;
        rest = behind;
        if line.is_empty() {
            return rest.is_empty().then_some((data, chunks));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        if colon == 0 || line[..colon].iter().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
    }
}

/// The bytes before the first CRLF and those behind it; no control byte but a tab stands in a line.
fn line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let line = &rest[..end];
    let clean = line.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    clean.then(|| (line, &rest[end + 2..]))
}
