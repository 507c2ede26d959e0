//! The PROXY protocol: bytes that come one by one are read as those that come at once, no header is taken back, and
//! whom it announces is announced by the plainest header of either version too.

use std::net::SocketAddr;

use rhumb::proxy::preamble::{Announced, Preamble, PreambleCause, read};

/// No header is longer.
const MOST: usize = 2048;

pub fn check(bytes: &[u8]) -> bool {
    let whole = read(bytes);
    let mut came = Ok(None);
    for count in 0..=bytes.len().min(2 * MOST) {
        let now = read(&bytes[..count]);
        match came {
            Ok(None) => {}
            decided => assert_eq!(now, decided, "{count} bytes change what was decided"),
        }
        if let Ok(Some(Preamble { bytes: taken, .. })) = now {
            assert!(taken <= count && taken <= MOST);
            assert!(came.is_err() || came == now || taken == count, "it was whole before it was taken");
        }
        assert!(now != Ok(None) || count <= MOST, "{count} bytes, and it waits for more");
        came = now;
    }
    assert!(bytes.len() > 2 * MOST || came == whole);
    match whole {
        Ok(Some(preamble)) => {
            taken(bytes, &preamble);
            true
        }
        Ok(None) => false,
        Err(cause) => {
            assert!(PreambleCause::ALL.contains(&cause));
            false
        }
    }
}

fn taken(bytes: &[u8], preamble: &Preamble) {
    let header = &bytes[..preamble.bytes];
    let is_text = header.starts_with(b"PROXY ");
    assert!(is_text || header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    if is_text {
        assert!(header.len() <= 107 && header.ends_with(b"\r\n"));
        let line = str::from_utf8(&header[..header.len() - 2]).expect("a line that is no text");
        assert!(!line.contains(|c: char| c.is_control()));
        plain_line(line, preamble.announced);
    } else {
        let carried = usize::from(u16::from_be_bytes([header[14], header[15]]));
        assert_eq!(header.len(), 16 + carried);
        assert_eq!(header[12] >> 4, 2);
        assert_eq!(preamble.announced == Announced::Proxy, header[12] & 15 == 0);
    }
    let Announced::Client(client) = preamble.announced else { return };
    for again in [as_line(client), as_bytes(client)] {
        let read = read(&again).expect("a plain header is refused").expect("a plain header is not whole");
        assert_eq!((read.announced, read.bytes), (Announced::Client(client), again.len()));
    }
}

fn plain_line(line: &str, announced: Announced) {
    let words: Vec<&str> = line.split(' ').collect();
    match (&words[..], announced) {
        (["PROXY", "UNKNOWN", ..], Announced::Nobody) => {}
        (["PROXY", family, source, target, from, to], Announced::Client(client)) => {
            assert!(client.is_ipv4() || *family == "TCP6");
            assert_eq!(
                source.parse::<std::net::IpAddr>().unwrap().to_canonical(),
                client.ip().to_canonical()
            );
            assert_eq!(from.parse::<u16>().unwrap(), client.port());
            assert!(target.parse::<std::net::IpAddr>().is_ok() && to.parse::<u16>().is_ok());
        }
        _ => panic!("{line} announces {announced:?}"),
    }
}

fn as_line(client: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {0} {0} {1} 443\r\n", client.ip(), client.port()).into_bytes()
}

fn as_bytes(client: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let (family, address) = match client {
        SocketAddr::V4(client) => (0x11, client.ip().octets().to_vec()),
        SocketAddr::V6(client) => (0x21, client.ip().octets().to_vec()),
    };
    let carried = 2 * address.len() + 4;
    header.extend([family, 0, u8::try_from(carried).unwrap()]);
    header.extend([&address[..], &address, &client.port().to_be_bytes(), &443_u16.to_be_bytes()].concat());
    header
}
