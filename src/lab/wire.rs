//! Reads requests off a raw connection, byte for byte, for a region that keeps what it got.
//!
//! It judges nothing: what it cannot make sense of is a request without a body.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest head, and longest line of a chunked body.
const MOST_HEAD: u64 = 1024 * 1024;

/// A request head as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) raw: Vec<u8>,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) id: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) epoch: Option<String>,
    pub(super) framing: Framing,
}

/// How the body's end is found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    NoBody,
    Length(u64),
    Chunked,
}

impl Head {
    /// Whether it has come to its empty line.
    pub(super) fn is_whole(&self) -> bool {
        self.raw.ends_with(b"\n\r\n") || self.raw.ends_with(b"\n\n")
    }

    /// The path asked for, without query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Reads a head, or what there is of it before the connection ends.
pub(super) async fn read_head(reader: &mut (impl AsyncBufRead + Unpin)) -> Head {
    let mut head = Head::default();
    let mut limited = reader.take(MOST_HEAD);
    loop {
        let from = head.raw.len();
        let ended = !matches!(limited.read_until(b'\n', &mut head.raw).await, Ok(1..));
        let line = String::from_utf8_lossy(head.raw.get(from..).unwrap_or_default()).into_owned();
        if ended || line.trim_end().is_empty() {
            return head;
        }
        if from == 0 {
            let mut words = line.split_whitespace().map(str::to_owned);
            head.method = words.next().unwrap_or_default();
            head.target = words.next().unwrap_or_default();
        } else if let Some((name, value)) = line.split_once(':') {
            head.note(&name.trim().to_ascii_lowercase(), value.trim());
        }
    }
}

/// Reads a body to its end, handing out every byte of it, framing included.
///
/// - Errors: the connection ended first, or the framing makes no sense.
pub(super) async fn read_body(
    reader: &mut (impl AsyncBufRead + Unpin),
    framing: Framing,
    mut got: impl FnMut(&[u8]),
) -> io::Result<()> {
    match framing {
        Framing::NoBody => Ok(()),
        Framing::Length(length) => read_exactly(reader, length, &mut got).await,
        Framing::Chunked => loop {
            let line = read_line(reader, &mut got).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                while !read_line(reader, &mut got).await?.trim_end().is_empty() {}
                return Ok(());
            }
            read_exactly(reader, size, &mut got).await?;
            read_line(reader, &mut got).await?;
        },
    }
}

impl Head {
    fn note(&mut self, name: &str, value: &str) {
        match name {
            "transfer-encoding" => self.framing = Framing::Chunked,
            "content-length" if self.framing == Framing::NoBody => {
                self.framing = value.parse().map_or(Framing::NoBody, Framing::Length);
            }
            "x-tenant-id" => self.tenant = Some(value.to_owned()),
            "x-owner-epoch" => self.epoch = Some(value.to_owned()),
            "idempotency-key" => self.id = Some(value.to_owned()),
            "x-write-id" if self.id.is_none() => self.id = Some(value.to_owned()),
            _ => {}
        }
    }
}

async fn read_exactly(
    reader: &mut (impl AsyncBufRead + Unpin),
    mut left: u64,
    got: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    while left > 0 {
        let there = reader.fill_buf().await?;
        if there.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        got(there.split_at(taken).0);
        reader.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    got: &mut impl FnMut(&[u8]),
) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MOST_HEAD).read_until(b'\n', &mut line).await?;
    got(&line);
    if line.ends_with(b"\n") {
        Ok(String::from_utf8_lossy(&line).into_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body_of(framing: Framing, mut wire: &[u8]) -> (io::Result<()>, Vec<u8>, usize) {
        let mut all = Vec::new();
        let outcome = read_body(&mut wire, framing, |bytes| all.extend_from_slice(bytes)).await;
        (outcome, all, wire.len())
    }

    #[tokio::test]
    async fn a_head_is_read_to_its_empty_line_and_no_further() {
        let mut wire: &[u8] =
            b"POST /kv/a?b HTTP/1.1\r\nContent-Length: 2\r\nIdempotency-Key: k\r\nX-Tenant-ID: t\r\n\r\nhiGET";
        let head = read_head(&mut wire).await;
        assert!(head.is_whole());
        assert_eq!((head.method.as_str(), head.path(), head.id.as_deref()), ("POST", "/kv/a", Some("k")));
        assert_eq!((head.tenant.as_deref(), head.epoch.as_deref()), (Some("t"), None));
        assert_eq!((head.framing, wire), (Framing::Length(2), &b"hiGET"[..]));
    }

    #[tokio::test]
    async fn a_head_that_stops_early_is_not_whole() {
        let head = read_head(&mut &b"GET / HTTP/1.1\r\nHost: a\r\n"[..]).await;
        assert!(!head.is_whole());
        assert_eq!(head.raw, b"GET / HTTP/1.1\r\nHost: a\r\n");
        assert!(!read_head(&mut &b""[..]).await.is_whole());
    }

    #[tokio::test]
    async fn both_framings_in_one_head_are_read_as_chunked() {
        for lines in
            ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: x\r\nContent-Length: 3"]
        {
            let wire = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
            assert_eq!(read_head(&mut wire.as_bytes()).await.framing, Framing::Chunked);
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_its_framing_says() {
        let chunked = b"3;x=y\r\nabc\r\n0\r\nX-Late: 1\r\n\r\nGET";
        let (outcome, all, left) = body_of(Framing::Chunked, chunked).await;
        assert!(outcome.is_ok());
        assert_eq!((all.as_slice(), left), (&chunked[..chunked.len() - 3], 3));
        let (outcome, all, left) = body_of(Framing::Length(2), b"hiGET").await;
        assert!(outcome.is_ok());
        assert_eq!((all.as_slice(), left), (&b"hi"[..], 3));
    }

    #[tokio::test]
    async fn a_body_that_stops_early_is_an_error() {
        for (framing, wire) in [
            (Framing::Length(3), &b"hi"[..]),
            (Framing::Chunked, b"3\r\nab"),
            (Framing::Chunked, b"0\r\n"),
            (Framing::Chunked, b"zz\r\n"),
        ] {
            assert!(body_of(framing, wire).await.0.is_err(), "{}", String::from_utf8_lossy(wire));
        }
    }
}
