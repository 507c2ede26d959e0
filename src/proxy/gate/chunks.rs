//! The strict check of a chunked body, on the bytes as they came.
//!
//! Why: programs differ in what they take for the end of a chunk line, and a client that knows two of them can hide a
//! request between. So a line is digits, at most an extension without control bytes, and CRLF; nothing is repaired.
//!
//! Never: keeps a byte of the body, or looks at its data.

use rhumb_decision::bytes::token_len;

use super::GateCause;

/// The most digits of a chunk's size: what 64 bits hold.
const DIGITS: u8 = 16;
/// What a chunk may cost besides its data without being wasteful: its size, a short extension, two line ends.
const FAIR: u64 = 16;
/// How many wasted bytes a body may come to. Data pays for as many again as it has itself.
const WASTE: u64 = 16 * 1024;
/// The longest trailer section.
const TRAILER_BYTES: usize = 16 * 1024;

/// How far a chunked body has come. Small and plain, so that it lives inside its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    size: u64,
    /// Bytes of the line at hand.
    line: u64,
    /// Bytes wasted so far, less what data has paid for.
    waste: u64,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a chunk's size, behind so many digits.
    Size(u8),
    Extension,
    SizeLf,
    /// So many bytes of data are to come.
    Data(u64),
    DataCr,
    DataLf,
    TrailerOrEnd,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size(0), size: 0, line: 0, waste: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Reads on.
    ///
    /// - Returns how many of `bytes` belong to the body once its end is among them; `None`: it goes on.
    /// - Errors: the first cause found; the body has no end then, and neither has its connection a further request.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, GateCause> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over() {
            let (framing, data) = self.part(rest)?;
            rest = rest.get(framing + data..).unwrap_or_default();
        }
        Ok(self.is_over().then(|| bytes.len() - rest.len()))
    }

    /// What `bytes` begin with: so many bytes of framing, and behind them so many of data. Without data, they hold
    /// nothing more of the body.
    ///
    /// - Errors: as [`Self::read`].
    pub fn part(&mut self, bytes: &[u8]) -> Result<(usize, usize), GateCause> {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first()
            && !self.is_over()
        {
            if let At::Data(left) = self.at {
                let data = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - data as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                return Ok((bytes.len() - rest.len(), data));
            }
            self.at = self.step(byte)?;
            rest = behind;
        }
        Ok((bytes.len() - rest.len(), 0))
    }

    /// Whether its end has come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Whether the body had trailers.
    #[must_use]
    pub const fn has_trailers(&self) -> bool {
        self.trailers > 0
    }

    fn step(&mut self, byte: u8) -> Result<At, GateCause> {
        match (self.at, byte) {
            (At::Size(1..), b'\r') => Ok(At::SizeLf),
            (At::Size(1..), b';') => self.costs(At::Extension),
            (At::Size(digits), _) => self.digit(digits, byte),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, b'\n') => Err(GateCause::BareLf),
            (At::Extension, byte) if is_control(byte) => Err(GateCause::ControlByte),
            (At::Extension, _) => self.costs(At::Extension),
            (At::SizeLf, b'\n') => Ok(self.sized()),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataCr | At::DataLf, byte) => match (self.at, byte) {
                (At::DataLf, b'\n') => Ok(At::Size(0)),
                _ => Err(GateCause::ChunkEnd),
            },
            (At::TrailerOrEnd, b'\r') => Ok(At::EndLf),
            (At::TrailerOrEnd, b' ' | b'\t') => Err(GateCause::ObsFold),
            (At::TrailerOrEnd | At::TrailerName, b'\n') => Err(GateCause::BareLf),
            (At::TrailerName, b':') => self.trailer(At::TrailerValue),
            (At::TrailerName, b' ' | b'\t') => Err(GateCause::SpaceBeforeColon),
            (At::TrailerOrEnd | At::TrailerName, byte) if token_len(&[byte]) == 0 => {
                Err(GateCause::FieldName)
            }
            (At::TrailerOrEnd | At::TrailerName, _) => self.trailer(At::TrailerName),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, b'\n') => Err(GateCause::BareLf),
            (At::TrailerValue, byte) if is_control(byte) => Err(GateCause::ControlByte),
            (At::TrailerValue, _) => self.trailer(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerOrEnd),
            (At::EndLf, b'\n') => Ok(At::End),
            (At::SizeLf | At::TrailerLf | At::EndLf, _) => Err(GateCause::BareCr),
            (At::Data(_) | At::End, _) => Ok(self.at),
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<At, GateCause> {
        let digit = char::from(byte).to_digit(16).filter(|_| digits < DIGITS);
        let Some(digit) = digit else {
            return Err(if byte == b'\n' && digits > 0 { GateCause::BareLf } else { GateCause::ChunkSize });
        };
        self.size = if digits == 0 { 0 } else { self.size << 4 } | u64::from(digit);
        self.line += 1;
        Ok(At::Size(digits + 1))
    }

    /// One more byte of a line that carries no data.
    fn costs(&mut self, next: At) -> Result<At, GateCause> {
        self.line += 1;
        if self.waste + self.line > WASTE + FAIR { Err(GateCause::ChunkWaste) } else { Ok(next) }
    }

    /// A line has ended that said how long its chunk is.
    fn sized(&mut self) -> At {
        let paid = FAIR.saturating_add(self.size);
        self.waste = (self.waste + self.line).saturating_sub(paid);
        self.line = 0;
        match self.size {
            0 => At::TrailerOrEnd,
            size => At::Data(size),
        }
    }

    fn trailer(&mut self, next: At) -> Result<At, GateCause> {
        self.trailers += 1;
        if self.trailers > TRAILER_BYTES { Err(GateCause::HeaderBytes) } else { Ok(next) }
    }
}

const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<usize>, GateCause> {
        let whole = Chunks::default().read(body.as_bytes());
        let mut chunks = Chunks::default();
        let mut bytewise = Ok(None);
        for (at, byte) in body.bytes().enumerate() {
            bytewise = chunks.read(&[byte]);
            match bytewise {
                Ok(None) => {}
                Ok(Some(_)) => {
                    bytewise = Ok(Some(at + 1));
                    break;
                }
                Err(_) => break,
            }
        }
        assert_eq!(whole, bytewise, "at once and byte by byte: {body:?}");
        whole
    }

    #[test]
    fn a_body_ends_behind_its_last_chunk_and_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "3;a=b;c=\"d\te\"\r\nabc\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n0a\r\n0123456789\r\n000\r\n\r\n",
            "0000000000000003\r\n\r\n\n\r\n0;last\r\n\r\n",
            "1\r\nZ\r\n0\r\nX: y\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert_eq!(read(body), Ok(Some(body.len())), "{body:?}");
            assert_eq!(read(&format!("{body}GET / HTTP/1.1\r\n")), Ok(Some(body.len())), "{body:?}");
            for cut in 0..body.len() {
                assert_eq!(read(&body[..cut]), Ok(None), "{cut} of {body:?}");
            }
        }
    }

    #[test]
    fn trailers_are_told() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.read(b"1\r\nZ\r\n0\r\n\r\n"), Ok(Some(11)));
        assert!(!chunks.has_trailers());
        let mut chunks = Chunks::default();
        assert_eq!(chunks.read(b"0\r\nX:\r\n\r\n"), Ok(Some(9)));
        assert!(chunks.has_trailers());
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for (body, cause) in [
            ("\r\n", GateCause::ChunkSize),
            (";x\r\n", GateCause::ChunkSize),
            ("-1\r\nabc", GateCause::ChunkSize),
            ("+3\r\nabc", GateCause::ChunkSize),
            ("0x3\r\nabc", GateCause::ChunkSize),
            (" 3\r\nabc", GateCause::ChunkSize),
            ("3 \r\nabc", GateCause::ChunkSize),
            ("3\t;x\r\nabc", GateCause::ChunkSize),
            ("3these\r\nabc", GateCause::ChunkSize),
            ("3_0\r\nabc", GateCause::ChunkSize),
            ("00000000000000003\r\nabc", GateCause::ChunkSize),
            ("\n", GateCause::ChunkSize),
            ("3\nabc\n0\n\n", GateCause::BareLf),
            ("2;\nxx\r\nab", GateCause::BareLf),
            ("3;a\rb\r\nabc", GateCause::BareCr),
            ("3;a\0b\r\nabc", GateCause::ControlByte),
            ("3\r3\r\nabc", GateCause::BareCr),
            ("3\r\nabcX0\r\n\r\n", GateCause::ChunkEnd),
            ("3\r\nabc\n0\r\n\r\n", GateCause::ChunkEnd),
            ("3\r\nabc\rX", GateCause::ChunkEnd),
            ("3\r\nabc0\r\n\r\n", GateCause::ChunkEnd),
            ("0\r\n\n", GateCause::BareLf),
            ("0\r\n\rX", GateCause::BareCr),
            ("0\r\n X: y\r\n\r\n", GateCause::ObsFold),
            ("0\r\nX: y\r\n z\r\n\r\n", GateCause::ObsFold),
            ("0\r\nX : y\r\n\r\n", GateCause::SpaceBeforeColon),
            ("0\r\n: y\r\n\r\n", GateCause::FieldName),
            ("0\r\nGET / HTTP/1.1\r\n", GateCause::SpaceBeforeColon),
            ("0\r\nX: y\nZ: w\r\n\r\n", GateCause::BareLf),
            ("0\r\nX: y\rZ: w\r\n\r\n", GateCause::BareCr),
            ("0\r\nX: \0\r\n\r\n", GateCause::ControlByte),
        ] {
            assert_eq!(read(body), Err(cause), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_is_mostly_framing_is_refused() {
        let extended = format!("1;{}\r\nZ\r\n", "x".repeat(1024));
        assert_eq!(read(&extended.repeat(16)), Ok(None));
        assert_eq!(read(&extended.repeat(17)), Err(GateCause::ChunkWaste));
        assert_eq!(read(&format!("1;{}", "x".repeat(64 * 1024))), Err(GateCause::ChunkWaste));
        assert_eq!(read(&"1\r\nZ\r\n".repeat(10_000)), Ok(None), "small chunks alone are nobody's fault");
        let large = format!("400;{}\r\n{}\r\n", "x".repeat(1024), "y".repeat(1024));
        assert_eq!(read(&large.repeat(100)), Ok(None), "data pays for its extensions");
    }

    #[test]
    fn trailers_have_an_end() {
        let long = format!("0\r\n{}", "X: y\r\n".repeat(10_000));
        assert_eq!(read(&long), Err(GateCause::HeaderBytes));
    }
}
