//! The answer to a request, in bytes: its head, and the framing of its body.
//!
//! Never: writes more of a body than its head says, or an end that has not come.

use http::header::{self, HeaderMap};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};

/// How far an answer has come.
pub(super) struct Reply {
    /// Whether the request was HEAD: an answer to it has no body, whatever its head says.
    to_head: bool,
    at: At,
    is_flushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Head,
    /// So many bytes of the body are still to come.
    Length(u64),
    /// Chunks are still to come.
    Chunked,
    /// It is written.
    End,
}

impl Reply {
    pub const fn new(to_head: bool) -> Self {
        Self { to_head, at: At::Head, is_flushed: false }
    }

    /// Whether its head was written.
    pub fn has_begun(&self) -> bool {
        self.at != At::Head
    }

    /// Whether all of it was written.
    pub fn is_whole(&self) -> bool {
        self.at == At::End
    }

    /// Whether all of it was written and sent off.
    pub fn is_out(&self) -> bool {
        self.is_whole() && self.is_flushed
    }

    /// What was written has been sent off.
    pub fn flushed(&mut self) {
        self.is_flushed = self.is_whole();
    }

    /// Whether a reader has to have at once what was written: nothing says how much more there will be.
    pub fn is_urgent(&self) -> bool {
        !matches!(self.at, At::Length(_))
    }

    /// Writes an interim head.
    ///
    /// # Errors
    /// It agrees on another protocol, which nobody asked for.
    pub fn interim(head: &ResponseHeader, out: &mut Vec<u8>) -> Result<()> {
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "nobody asked for another protocol");
        }
        first_line(head, out);
        head.header_to_h1_wire(out);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Writes the head. `ends`: no body comes; `is_last`: the connection ends with it.
    ///
    /// # Errors
    /// It says two lengths, or one that is none; the region's.
    pub fn head(
        &mut self,
        head: &mut ResponseHeader,
        ends: bool,
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let has_body = !self.to_head && !matches!(head.status.as_u16(), 204 | 304);
        let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        if chunked {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        head.remove_header(&header::CONNECTION); // said of another connection
        let length = length(&head.headers)?;
        first_line(head, out);
        head.header_to_h1_wire(out);
        if !head.headers.contains_key(header::DATE) {
            for part in [b"Date: ", get_cached_date().as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(if is_last { b"Connection: close\r\n" } else { b"Connection: keep-alive\r\n" });
        self.at = match length {
            _ if !has_body => At::End,
            Some(0) => At::End,
            Some(length) => At::Length(length),
            None if chunked => At::Chunked,
            None if ends => {
                out.extend_from_slice(b"Content-Length: 0\r\n");
                At::End
            }
            None => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                At::Chunked
            }
        };
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// How much of a piece of the body is to be written, once this has written what stands before it; 0: nothing, and
    /// nothing behind it either.
    pub fn open(&mut self, piece: usize, out: &mut Vec<u8>) -> usize {
        match &mut self.at {
            At::Head | At::End => 0,
            At::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(piece);
                *left -= most as u64;
                most
            }
            At::Chunked if piece == 0 => 0,
            At::Chunked => {
                out.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
                piece
            }
        }
    }

    /// Writes what stands behind a piece that was written.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        match self.at {
            At::Chunked => out.extend_from_slice(b"\r\n"),
            At::Length(0) => self.at = At::End,
            _ => {}
        }
    }

    /// Writes the end of the body.
    ///
    /// # Errors
    /// It is shorter than the head said; the region's.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self.at {
            At::Length(left) => {
                let missing = format!("{left} bytes of an answer have not come");
                Err(Error::explain(ErrorType::ConnectionClosed, missing).into_up())
            }
            At::Chunked => {
                out.extend_from_slice(b"0\r\n\r\n");
                self.at = At::End;
                Ok(())
            }
            At::Head | At::End => Ok(()),
        }
    }
}

fn first_line(head: &ResponseHeader, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The length that a head says; `None`: it says none.
fn length(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = said.next() else { return Ok(None) };
    let digits = first.as_bytes();
    let plain = digits.iter().all(u8::is_ascii_digit) && said.next().is_none();
    let length = str::from_utf8(digits).ok().filter(|_| plain).and_then(|digits| digits.parse().ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(Error::explain(ErrorType::InvalidHTTPHeader, "a length that is none").into_up()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    /// What is written for a head and the pieces of a body; `Err`: it would not be whole.
    fn written(to_head: bool, head: &mut ResponseHeader, ends: bool, pieces: &[&str]) -> Result<String> {
        let (mut reply, mut out) = (Reply::new(to_head), Vec::new());
        reply.head(head, ends, false, &mut out)?;
        for piece in pieces {
            let most = reply.open(piece.len(), &mut out);
            if most > 0 {
                out.extend_from_slice(&piece.as_bytes()[..most]);
                reply.close(&mut out);
            }
        }
        reply.end(&mut out)?;
        assert!(reply.is_whole());
        Ok(String::from_utf8(out).unwrap())
    }

    fn body(whole: &str) -> &str {
        whole.split_once("\r\n\r\n").unwrap().1
    }

    #[test]
    fn a_head_is_written_as_it_is_with_what_is_missing() {
        let mut ours =
            head(200, &[("X-Own", "1"), ("x-own", "2"), ("CONTENT-length", "2"), ("Date", "then")]);
        let text = written(false, &mut ours, false, &["ok"]).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nX-Own: 1\r\nx-own: 2\r\nCONTENT-length: 2\r\nDate: then\r\n\
             Connection: keep-alive\r\n\r\nok"
        );
        let mut odd = head(299, &[("Content-Length", "0")]);
        odd.set_reason_phrase(Some("Fine Enough")).unwrap();
        let text = written(false, &mut odd, false, &[]).unwrap();
        assert!(text.starts_with("HTTP/1.1 299 Fine Enough\r\n") && text.contains("\r\nDate: "), "{text}");
    }

    #[test]
    fn the_last_answer_says_so() {
        let mut out = Vec::new();
        Reply::new(false).head(&mut head(200, &[("Content-Length", "0")]), true, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nConnection: close\r\n") && !text.contains("keep-alive"), "{text}");
        let mut closing = head(200, &[("Content-Length", "0"), ("connection", "close, X-Hop")]);
        let text = written(false, &mut closing, true, &[]).unwrap();
        assert!(!text.contains("close") && text.contains("\r\nConnection: keep-alive\r\n"), "{text}");
    }

    #[test]
    fn a_body_of_a_length_is_neither_longer_nor_shorter() {
        let five = || head(200, &[("Content-Length", "5")]);
        assert_eq!(body(&written(false, &mut five(), false, &["he", "", "llo"]).unwrap()), "hello");
        assert_eq!(
            body(&written(false, &mut five(), false, &["hello", "HTTP/1.1 200 OK"]).unwrap()),
            "hello"
        );
        assert!(written(false, &mut five(), false, &["hell"]).is_err());
        assert!(written(false, &mut five(), true, &[]).is_err());
    }

    #[test]
    fn a_body_without_a_length_comes_in_chunks() {
        for fields in [&[][..], &[("Transfer-Encoding", "chunked")]] {
            let text =
                written(false, &mut head(200, fields), false, &["hello", "", "0123456789abcdef!"]).unwrap();
            assert_eq!(body(&text), "5\r\nhello\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n");
            assert_eq!(text.matches("Transfer-Encoding: chunked\r\n").count(), 1);
        }
        let text = written(false, &mut head(200, &[]), true, &[]).unwrap();
        assert!(text.contains("Content-Length: 0\r\n") && body(&text).is_empty());
    }

    #[test]
    fn two_framings_become_one_and_two_lengths_none() {
        let mut both = head(200, &[("Content-Length", "3"), ("Transfer-Encoding", "chunked")]);
        let text = written(false, &mut both, false, &["hello"]).unwrap();
        assert_eq!(body(&text), "5\r\nhello\r\n0\r\n\r\n");
        assert!(!text.contains("Content-Length"));
        for lengths in [["5", "5"], ["5", "6"]] {
            let fields = lengths.map(|length| ("Content-Length", length));
            assert!(written(false, &mut head(200, &fields), false, &["hello"]).is_err());
        }
        for odd in ["", "+5", "5, 5", "0x5", "99999999999999999999", "five"] {
            assert!(written(false, &mut head(200, &[("Content-Length", odd)]), false, &["hello"]).is_err());
        }
    }

    #[test]
    fn what_has_no_body_gets_none_and_keeps_its_length() {
        for (to_head, status) in [(true, 200), (false, 204), (false, 304)] {
            let mut ours = head(status, &[("Content-Length", "5")]);
            let text = written(to_head, &mut ours, false, &["hello"]).unwrap();
            assert!(text.contains("Content-Length: 5\r\n") && body(&text).is_empty(), "{text}");
            let text = written(to_head, &mut head(status, &[]), true, &[]).unwrap();
            assert!(!text.contains("Content-Length") && !text.contains("chunked"), "{text}");
        }
    }

    #[test]
    fn an_interim_head_ends_nothing_and_no_other_protocol_begins() {
        let mut out = Vec::new();
        Reply::interim(&head(103, &[("Link", "</a>")]), &mut out).unwrap();
        assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        assert!(Reply::interim(&head(101, &[("Upgrade", "x")]), &mut out).is_err());
    }
}
