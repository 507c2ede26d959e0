//! The PROXY protocol, versions 1 and 2: what a proxy in front says of the client before the client's first byte.
//!
//! Who may say it is judged elsewhere (`arrival`); here is only what was said, from its bytes. A header that could be
//! read in two ways is refused: the address that it announces is what limits, logs and regions go by.
//!
//! Never: does I/O, allocates, reads beyond the end of the header, or believes a length without a bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, with its line end, as the protocol fixes it.
const LINE: usize = 107;
/// The longest header of version 2 with all that it carries besides addresses. The protocol asks for 536 bytes at
/// least; some proxies add names and checksums.
const MOST: usize = 2048;
/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What every header of version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// Bytes before what a header of version 2 carries.
const FIXED: usize = 16;

/// Whom a connection comes from, by the word of the proxy in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// This client.
    Client(SocketAddr),
    /// Somebody whom the proxy cannot name.
    Nobody,
    /// The proxy itself, as when it asks for the health of what is behind it.
    Proxy,
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// What it says.
    pub announced: Announced,
    /// How many bytes it is; what follows is the client's.
    pub bytes: usize,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreambleCause {
    /// The connection begins with something else.
    Missing,
    /// It is longer than one may be, or a length in it lies.
    Length,
    /// It is of a version or a command that nobody has defined.
    Version,
    /// It names a transport that no HTTP connection of ours can have, or none that is defined.
    Family,
    /// An address or a port in it is none.
    Address,
    /// It is written in another way than the protocol says.
    Malformed,
}

impl PreambleCause {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::Missing, Self::Length, Self::Version, Self::Family, Self::Address, Self::Malformed];

    /// The label of its metric.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "proxy_missing",
            Self::Length => "proxy_length",
            Self::Version => "proxy_version",
            Self::Family => "proxy_family",
            Self::Address => "proxy_address",
            Self::Malformed => "proxy_malformed",
        }
    }
}

/// Reads the header that `bytes` begin with.
///
/// - `bytes`: what came so far, from the first byte of the connection.
/// - Returns `None` while the header may still become whole; then every byte so far belongs to it.
///
/// # Errors
/// No bytes that could follow would make a header of it.
pub fn read(bytes: &[u8]) -> Result<Option<Preamble>, PreambleCause> {
    if begins(bytes, SIGNATURE) {
        if bytes.len() < SIGNATURE.len() { Ok(None) } else { binary(bytes) }
    } else if begins(bytes, WORD) {
        if bytes.len() < WORD.len() { Ok(None) } else { text(bytes) }
    } else {
        Err(PreambleCause::Missing)
    }
}

/// Whether `bytes` are the beginning of `whole`, or begin with it.
fn begins(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.iter().zip(whole).all(|(came, due)| came == due)
}

/// Version 1: a line.
fn text(bytes: &[u8]) -> Result<Option<Preamble>, PreambleCause> {
    let within = bytes.get(..LINE).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LINE { Err(PreambleCause::Length) } else { Ok(None) };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(PreambleCause::Malformed)?;
    let said = line.strip_prefix(WORD).ok_or(PreambleCause::Malformed)?;
    if !said.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(PreambleCause::Malformed);
    }
    let said = str::from_utf8(said).map_err(|_| PreambleCause::Malformed)?;
    Ok(Some(Preamble { announced: announced(said)?, bytes: end + 1 }))
}

/// What stands between `PROXY ` and the line end.
fn announced(said: &str) -> Result<Announced, PreambleCause> {
    let mut words = said.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Announced::Nobody); // what follows means nothing, by the protocol
    }
    let mut next = || words.next().filter(|word| !word.is_empty()).ok_or(PreambleCause::Malformed);
    let (source, target) = match family {
        "TCP4" => (v4(next()?)?, v4(next()?)?),
        "TCP6" => (v6(next()?)?, v6(next()?)?),
        _ => return Err(PreambleCause::Family),
    };
    let (from, to) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(PreambleCause::Malformed);
    }
    let _ = (target, to); // where the client meant to go is no matter of ours, but it has to be right
    Ok(Announced::Client(SocketAddr::new(source, from)))
}

fn v4(word: &str) -> Result<IpAddr, PreambleCause> {
    word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| PreambleCause::Address)
}

fn v6(word: &str) -> Result<IpAddr, PreambleCause> {
    word.parse::<Ipv6Addr>()
        .map(|address| IpAddr::V6(address).to_canonical())
        .map_err(|_| PreambleCause::Address)
}

/// A number without sign or leading zeros.
fn port(word: &str) -> Result<u16, PreambleCause> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain).ok_or(PreambleCause::Address)
}

/// Version 2: sixteen bytes, and as many as they say.
fn binary(bytes: &[u8]) -> Result<Option<Preamble>, PreambleCause> {
    let Some(&version) = bytes.get(12) else { return Ok(None) };
    if !matches!(version, 0x20 | 0x21) {
        return Err(PreambleCause::Version);
    }
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    let (Some(&high), Some(&low)) = (bytes.get(14), bytes.get(15)) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED + length;
    if whole > MOST {
        return Err(PreambleCause::Length);
    }
    // What is wrong already is told at once; the rest waits until it is all there.
    let addresses = match (version, family) {
        (0x20, _) | (_, 0x00) => 0,
        (_, 0x11) => 12,
        (_, 0x21) => 36,
        (_, 0x31) => 216,
        _ => return Err(PreambleCause::Family),
    };
    if length < addresses {
        return Err(PreambleCause::Length);
    }
    let Some(carried) = bytes.get(FIXED..whole) else { return Ok(None) };
    let announced = match (version, family) {
        (0x20, _) => Announced::Proxy,
        (_, 0x11) => v4_of(carried)?,
        (_, 0x21) => v6_of(carried)?,
        _ => Announced::Nobody, // unspecified, or a socket of the proxy's own machine
    };
    // Without addresses, what is carried has no form that could be checked.
    if addresses > 0 {
        check_additions(carried.get(addresses..).unwrap_or_default())?;
    }
    Ok(Some(Preamble { announced, bytes: whole }))
}

fn v4_of(carried: &[u8]) -> Result<Announced, PreambleCause> {
    let [a, b, c, d, _, _, _, _, high, low, ..] = *carried else { return Err(PreambleCause::Length) };
    let port = u16::from_be_bytes([high, low]);
    Ok(Announced::Client(SocketAddr::new(IpAddr::from([a, b, c, d]), port)))
}

fn v6_of(carried: &[u8]) -> Result<Announced, PreambleCause> {
    let (Some(source), Some(&[high, low])) = (carried.first_chunk::<16>(), carried.get(32..34)) else {
        return Err(PreambleCause::Length);
    };
    let address = IpAddr::from(*source).to_canonical();
    Ok(Announced::Client(SocketAddr::new(address, u16::from_be_bytes([high, low]))))
}

/// Each addition is a kind, a length and so many bytes; the last ends where the header does. None is looked into.
fn check_additions(mut rest: &[u8]) -> Result<(), PreambleCause> {
    while let [_, more @ ..] = rest {
        let (length, more) = more.split_first_chunk::<2>().ok_or(PreambleCause::Length)?;
        let length = usize::from(u16::from_be_bytes(*length));
        rest = more.get(length..).ok_or(PreambleCause::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use PreambleCause::{Address, Family, Length, Malformed, Missing, Version};

    /// A header of version 2: version and command, family, what it carries.
    fn v2(version: u8, family: u8, carried: &[u8]) -> Vec<u8> {
        let length = u16::try_from(carried.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[version, family], &length, carried].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

    fn v6_addresses(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        let target: Ipv6Addr = "2001:db8::2".parse().unwrap();
        [&source.octets()[..], &target.octets(), &[0x30, 0x39, 0x01, 0xbb]].concat()
    }

    fn client(address: &str) -> Announced {
        Announced::Client(address.parse().unwrap())
    }

    fn whole(bytes: &[u8]) -> Announced {
        let preamble = read(bytes).unwrap().unwrap_or_else(|| panic!("not whole: {}", bytes.escape_ascii()));
        assert_eq!(preamble.bytes, bytes.len());
        preamble.announced
    }

    fn good() -> Vec<(Vec<u8>, Announced)> {
        let with = |more: &[u8]| [&V4[..], more].concat();
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n"), client("192.0.2.7:12345")),
            (
                line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
                client("255.255.255.255:65535"),
            ),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n"), client("192.0.2.7:0")),
            (line("PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n"), client("[2001:db8::7]:12345")),
            (line("PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 443\r\n"), client("192.0.2.7:12345")),
            (line("PROXY UNKNOWN\r\n"), Announced::Nobody),
            (line("PROXY UNKNOWN ffff::1 ffff::2 1 2 and more\r\n"), Announced::Nobody),
            (v2(0x21, 0x11, &V4), client("192.0.2.7:12345")),
            (v2(0x21, 0x21, &v6_addresses("2001:db8::7")), client("[2001:db8::7]:12345")),
            (v2(0x21, 0x21, &v6_addresses("::ffff:192.0.2.7")), client("192.0.2.7:12345")),
            (v2(0x21, 0x11, &with(&[0x04, 0, 3, 0, 0, 0, 0xea, 0, 0])), client("192.0.2.7:12345")),
            (
                v2(0x21, 0x11, &with(&[&[0x20, 0x07, 0xa1][..], &[7; 0x7a1]].concat())),
                client("192.0.2.7:12345"),
            ),
            (v2(0x21, 0x31, &[0; 216]), Announced::Nobody),
            (v2(0x21, 0x00, b""), Announced::Nobody),
            (v2(0x21, 0x00, b"anything"), Announced::Nobody),
            (v2(0x20, 0x00, b""), Announced::Proxy),
            (v2(0x20, 0x11, &V4), Announced::Proxy),
            (v2(0x20, 0xff, b"x"), Announced::Proxy),
        ]
    }

    #[test]
    fn every_form_of_the_protocol_is_read_and_nothing_beyond_it() {
        for (bytes, announced) in good() {
            assert_eq!(whole(&bytes), announced, "{}", bytes.escape_ascii());
            let followed = [&bytes[..], b"GET / HTTP/1.1\r\n\r\nPROXY "].concat();
            assert_eq!(read(&followed), Ok(Some(Preamble { announced, bytes: bytes.len() })));
        }
    }

    #[test]
    fn a_header_in_pieces_is_waited_for() {
        for (bytes, _) in good() {
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_cause() {
        let with = |more: &[u8]| [&V4[..], more].concat();
        let long = |family: &str| format!("PROXY {family} {}\r\n", "x".repeat(200)).into_bytes();
        let line = |text: &str| text.as_bytes().to_vec();
        for (bytes, cause) in [
            (line("GET / HTTP/1.1\r\n"), Missing),
            (line("\r\n\r\nGET / HTTP/1.1\r\n"), Missing),
            (line("proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n"), Missing),
            (line(" PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"), Missing),
            (line("PROXY\tTCP4 192.0.2.7 198.51.100.1 1 2\r\n"), Missing),
            (b"\x16\x03\x01\x02\x00".to_vec(), Missing),
            (long("TCP4"), Length),
            (long("UNKNOWN"), Length),
            (line(&format!("PROXY {}", "\r".repeat(101))), Length),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\r\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7\r 198.51.100.1 1 2\r\n"), Malformed),
            (line("PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n"), Malformed),
            (line("PROXY TCP4 192.0.2.7\0 198.51.100.1 1 2\r\n"), Malformed),
            (line("PROXY UNKNOWN \0\r\n"), Malformed),
            (line("PROXY UNKNOWN \u{e9}\r\n"), Malformed),
            (line("PROXY \r\n"), Family),
            (line("PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n"), Family),
            (line("PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n"), Family),
            (line("PROXY UNKNOWNS\r\n"), Family),
            (line("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n"), Address),
            (line("PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n"), Address),
            (line("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.007 198.51.100.1 1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 nowhere 1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 198.51.100.1 1 http\r\n"), Address),
            (v2(0x11, 0x11, &V4), Version),
            (v2(0x31, 0x11, &V4), Version),
            (v2(0x22, 0x11, &V4), Version),
            (v2(0x2f, 0x00, b""), Version),
            (v2(0x21, 0x12, &V4), Family),
            (v2(0x21, 0x22, &v6_addresses("::1")), Family),
            (v2(0x21, 0x10, &V4), Family),
            (v2(0x21, 0x41, &V4), Family),
            (v2(0x21, 0x11, &V4[..11]), Length),
            (v2(0x21, 0x11, b""), Length),
            (v2(0x21, 0x21, &V4), Length),
            (v2(0x21, 0x31, &[0; 215]), Length),
            (v2(0x21, 0x11, &with(&[0x01])), Length),
            (v2(0x21, 0x11, &with(&[0x01, 0])), Length),
            (v2(0x21, 0x11, &with(&[0x01, 0, 2, b'h'])), Length),
            (v2(0x21, 0x11, &with(&[0x01, 0xff, 0xff, b'h'])), Length),
            (v2(0x21, 0x00, &[0; MOST - FIXED + 1]), Length),
            (v2(0x20, 0x00, &[0; MOST - FIXED + 1]), Length),
        ] {
            assert_eq!(read(&bytes), Err(cause), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_can_become_no_header_is_refused_before_it_is_whole() {
        assert_eq!(read(&v2(0x21, 0x12, &V4)[..16]), Err(Family));
        assert_eq!(read(&v2(0x31, 0x11, &V4)[..13]), Err(Version));
        assert_eq!(read(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat()), Err(Length));
        assert_eq!(read(b"PX"), Err(Missing));
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIX"), Err(Missing));
    }

    #[test]
    fn nothing_that_begins_like_a_header_breaks_the_reading() {
        // Every byte of every good header set to every value: no panic, and never more bytes than there are.
        for (bytes, _) in good().into_iter().filter(|(bytes, _)| bytes.len() < 300) {
            for at in 0..bytes.len() {
                for value in 0..=u8::MAX {
                    let mut bent = bytes.clone();
                    bent[at] = value;
                    if let Ok(Some(preamble)) = read(&bent) {
                        assert!(preamble.bytes <= bent.len() && preamble.bytes <= MOST);
                    }
                }
            }
        }
    }

    #[test]
    fn every_cause_has_a_code_of_its_own() {
        let codes: std::collections::HashSet<_> =
            PreambleCause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(codes.len(), PreambleCause::ALL.len());
    }
}
