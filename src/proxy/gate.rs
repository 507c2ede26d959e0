//! The strict check of a request head, on the bytes as they came.
//!
//! Why: a head that two programs read differently lets a client put words into another client's mouth.
//! The HTTP parser that runs before is lenient and repairs what it can, so its result no longer shows
//! such a head; the bytes do. What is ambiguous is refused, never repaired.
//!
//! Never: touches a socket, a clock or a log; allocates for a head that is already in normal form; panics.

use std::ops::Range;

mod chunks;
mod fields;
mod stream;

use rhumb_decision::bytes::{text_len, visible_len};
pub(in crate::proxy) use rhumb_decision::bytes::{token_len, trimmed};
pub use rhumb_decision::target::{EncodedSlash, GateCause};
pub use stream::check_stream;

pub use chunks::Chunks;
use fields::Fields;
use rhumb_decision::target::{self, Host, Target};

/// The longest method that is let through; the registered ones stay below 20 bytes.
const METHOD_BYTES: usize = 32;

/// What a head may cost, and one choice about its path. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// The longest head, request line and blank line included; above it [`GateCause::HeaderBytes`].
    pub header_bytes: usize,
    /// The most fields; above it [`GateCause::HeaderCount`].
    pub header_count: usize,
    /// The longest target; above it [`GateCause::UriBytes`].
    pub uri_bytes: usize,
    /// The largest Content-Length; above it [`GateCause::BodyBytes`]. Chunked bodies are counted elsewhere.
    pub body_bytes: u64,
    /// What becomes of an encoded slash in the path.
    pub encoded_slash: EncodedSlash,
}

/// A head that passed: what later steps need of it, borrowed from the bytes that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method as sent: a token of at most 32 bytes, neither TRACE nor CONNECT. Case matters.
    pub method: &'a str,
    /// The version of the request line.
    pub version: HttpVersion,
    /// Where the request goes, in origin form. Rules see it and the region gets it.
    pub target: Target<'a>,
    /// The host that was asked for, in normal form.
    pub host: Host<'a>,
    /// How the body is framed.
    pub body: Body,
    /// Whether the client asks for another protocol on this connection.
    pub upgrade: Upgrade,
    /// Whether the client waits for a go-ahead before it sends the body.
    pub expect: Expect,
    /// Whether the client ends its connection with this request.
    pub close: bool,
    /// `Max-Forwards` of an OPTIONS request; at 0 it is answered here. `None` for other methods.
    pub max_forwards: Option<u32>,
    /// The length of the head, blank line included.
    pub bytes: usize,
    /// How many fields it has.
    pub fields: usize,
}

/// The versions of HTTP that a request line may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2, which has no request line: its frames say it.
    Http2,
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Content-Length, in bytes; 0 is possible.
    Length(u64),
    /// `Transfer-Encoding: chunked`, or a stream of HTTP/2 that goes on: its end comes with it.
    Chunked,
}

/// What a client wants to turn the connection into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing: there is no `Upgrade`.
    None,
    /// A WebSocket, asked for properly: HTTP/1.1, `websocket` alone, `upgrade` in `Connection`, no body.
    WebSocket,
    /// Anything else. `Upgrade` must be taken off, and the request served as an ordinary one.
    Ignored,
}

/// What `Expect` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    None,
    /// `100-continue`, once.
    Continue,
    /// Anything else. `Expect` must be taken off.
    Ignored,
}

/// Checks a request head.
///
/// - `raw`: from the first byte of the request line; what follows the blank line is not looked at. One
///   empty line before the request line is skipped.
/// - Errors: the first cause found, reading from the front. The connection must be closed then.
/// - Allocates only where host or path are not in normal form, or name a host by IPv6 address.
///
/// The server's parser escapes illegal bytes of a request line before it hands the line over, so a
/// space or a control byte may come as `%20` or `%0D`. Therefore encoded controls are refused in the
/// whole target, and escapes that are no UTF-8 in its path.
pub fn check<'a>(raw: &'a [u8], limits: &GateLimits) -> Result<Head<'a>, GateCause> {
    check_fields(raw, limits, |_, _| {})
}

/// The same; `places` is told where in `raw` each field's name is, and its value without white space around it.
pub fn check_fields<'a>(
    raw: &'a [u8],
    limits: &GateLimits,
    places: impl FnMut(Range<usize>, Range<usize>),
) -> Result<Head<'a>, GateCause> {
    read(raw, limits, places).map_err(|cause| match cause {
        GateCause::Truncated if raw.len() > limits.header_bytes => GateCause::HeaderBytes,
        other => other,
    })
}

fn read<'a>(
    raw: &'a [u8],
    limits: &GateLimits,
    mut places: impl FnMut(Range<usize>, Range<usize>),
) -> Result<Head<'a>, GateCause> {
    let mut reader = Reader { rest: raw.strip_prefix(b"\r\n").unwrap_or(raw), whole: raw.len() };
    let method = reader.method()?;
    let raw_target = reader.target(limits.uri_bytes)?;
    let version = reader.version()?;
    let (target, authority) = target::parse(raw_target, method, limits.encoded_slash)?;

    let mut fields = Fields::default();
    loop {
        let begins = reader.read();
        let Some((name, line)) = reader.field()? else { break };
        if reader.read() > limits.header_bytes {
            return Err(GateCause::HeaderBytes);
        }
        if fields.count() == limits.header_count {
            return Err(GateCause::HeaderCount);
        }
        let value = trimmed(line);
        fields.see(name, value)?;
        let behind = begins + name.len() + 1;
        let value_begins = behind + (line.len() - line.trim_ascii_start().len());
        places(begins..behind - 1, value_begins..value_begins + value.len());
    }
    if reader.read() > limits.header_bytes {
        return Err(GateCause::HeaderBytes);
    }

    let host = fields.host()?;
    if authority.is_some_and(|authority| !authority.names(&host)) {
        return Err(GateCause::HostMismatch);
    }
    let body = fields.body(version, limits.body_bytes)?;
    let upgrade = match fields.upgrade(version) {
        // Where a body ends and the other protocol begins, two programs could see differently.
        Upgrade::WebSocket if !matches!(body, Body::None | Body::Length(0)) => Upgrade::Ignored,
        upgrade => upgrade,
    };
    Ok(Head {
        method,
        version,
        target,
        host,
        body,
        upgrade,
        expect: fields.expect(),
        close: fields.close(),
        max_forwards: if method == "OPTIONS" { fields.max_forwards() } else { None },
        bytes: reader.read(),
        fields: fields.count(),
    })
}

/// Checks a method: a token of bounded length, and none that would turn the proxy into a tunnel or an echo.
fn check_method(method: &[u8]) -> Result<&str, GateCause> {
    if method.is_empty() || method.len() > METHOD_BYTES || token_len(method) != method.len() {
        return Err(GateCause::Method);
    }
    if method.eq_ignore_ascii_case(b"TRACE") || method.eq_ignore_ascii_case(b"CONNECT") {
        return Err(GateCause::MethodForbidden);
    }
    str::from_utf8(method).map_err(|_| GateCause::Method)
}

/// A field's name and value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// Takes a head apart from the front.
struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    /// How many bytes were taken so far.
    fn read(&self) -> usize {
        self.whole - self.rest.len()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn method(&mut self) -> Result<&'a str, GateCause> {
        let len = token_len(self.rest.get(..=METHOD_BYTES).unwrap_or(self.rest));
        let method = self.take(len);
        match self.rest.first() {
            Some(b' ') => self.take(1),
            None => return Err(GateCause::Truncated),
            Some(_) if len > METHOD_BYTES => return Err(GateCause::Method),
            Some(b'\n') => return Err(GateCause::BareLf),
            Some(_) => return Err(GateCause::RequestLine),
        };
        check_method(method)
    }

    fn target(&mut self, limit: usize) -> Result<&'a [u8], GateCause> {
        let len = visible_len(self.rest);
        if len > limit {
            return Err(GateCause::UriBytes);
        }
        let target = self.take(len);
        match self.rest.first() {
            Some(b' ') if len > 0 => self.take(1),
            None => return Err(GateCause::Truncated),
            Some(b' ' | b'\r' | b'\n') => return Err(GateCause::RequestLine),
            Some(0x80..) => return Err(GateCause::TargetByte),
            Some(_) => return Err(GateCause::ControlByte),
        };
        Ok(target)
    }

    fn version(&mut self) -> Result<HttpVersion, GateCause> {
        let version = match self.take(8) {
            b"HTTP/1.1" => HttpVersion::Http11,
            b"HTTP/1.0" => HttpVersion::Http10,
            // What is short and ends its line is no version, however much may follow.
            short if short.len() < 8 && !short.contains(&b'\n') => return Err(GateCause::Truncated),
            _ => return Err(GateCause::Version),
        };
        self.line_end(GateCause::Version)?;
        Ok(version)
    }

    /// The next field, its value with the white space around it; `None` past the blank line.
    fn field(&mut self) -> Result<Option<Field<'a>>, GateCause> {
        let len = token_len(self.rest);
        let name = self.take(len);
        match self.rest.first() {
            Some(b':') if len > 0 => self.take(1),
            None => return Err(GateCause::Truncated),
            Some(b' ' | b'\t') if len > 0 => return Err(GateCause::SpaceBeforeColon),
            Some(b' ' | b'\t') => return Err(GateCause::ObsFold),
            Some(b'\r' | b'\n') if len == 0 => {
                self.line_end(GateCause::FieldName)?;
                return Ok(None);
            }
            Some(_) => return Err(GateCause::FieldName),
        };
        let value = self.take(text_len(self.rest));
        self.line_end(GateCause::ControlByte)?;
        Ok(Some((name, value)))
    }

    /// Takes the line's end; `otherwise` is what a byte other than CR or LF means here.
    fn line_end(&mut self, otherwise: GateCause) -> Result<(), GateCause> {
        match self.rest {
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            [] | [b'\r'] => Err(GateCause::Truncated),
            [b'\r', ..] => Err(GateCause::BareCr),
            [b'\n', ..] => Err(GateCause::BareLf),
            [..] => Err(otherwise),
        }
    }
}

#[cfg(test)]
mod tests;
