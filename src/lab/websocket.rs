//! WebSockets of a toy region: an echo, frame by frame, and two tunnels that behave in a way worth testing.
//!
//! Never: joins fragments or reads text; what it echoes has the opcode and the bits that it came with.

use std::io;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::service::Entrance;

/// Longest frame that is echoed.
const MOST: u64 = 64 * 1024 * 1024;
/// What RFC 6455 adds to a client's key.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The opcodes that mean something here.
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// `/ws`: an echo of frames. `/ws/raw`: an echo of bytes. `/ws/deaf`: reads nothing, ever.
pub(super) async fn websocket(
    State(entrance): State<Entrance>,
    kind: Option<Path<String>>,
    mut request: Request,
) -> Response {
    let _seen = entrance.region.request_arrived(false);
    let Some(accept) = accept(request.version(), request.headers()) else {
        return (StatusCode::UPGRADE_REQUIRED, [(header::SEC_WEBSOCKET_VERSION, "13")]).into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let in_flight = entrance.region.request_arrived(false);
    entrance.tasks.start(async move {
        let _in_flight = in_flight;
        let Ok(upgraded) = upgrade.await else { return };
        let tunnel = TokioIo::new(upgraded);
        // How a tunnel ends is the client's to see.
        let _ = match kind.as_ref().map(|Path(kind)| kind.as_str()) {
            Some("raw") => raw(tunnel).await,
            Some("deaf") => std::future::pending().await,
            _ => echo(tunnel).await,
        };
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = [(header::UPGRADE, "websocket"), (header::CONNECTION, "Upgrade")];
    for (name, value) in fields {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    if let Ok(accept) = accept.parse() {
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The answer to a client's key; `None`: this is no handshake.
fn accept(version: Version, headers: &HeaderMap) -> Option<String> {
    let is = |name, value: &str| {
        headers.get(name).is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let fits = version == Version::HTTP_11
        && is(header::UPGRADE, "websocket")
        && is(header::CONNECTION, "upgrade")
        && is(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| fits)?;
    Some(base64(&sha1(&[key.as_bytes(), SALT].concat())))
}

async fn raw(mut tunnel: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut some = vec![0; 16 * 1024];
    loop {
        let read = tunnel.read(&mut some).await?;
        if read == 0 {
            return tunnel.shutdown().await;
        }
        tunnel.write_all(some.get(..read).unwrap_or_default()).await?;
        tunnel.flush().await?;
    }
}

async fn echo(mut tunnel: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let first = tunnel.read_u8().await?;
        let second = tunnel.read_u8().await?;
        let length = match second & 0x7f {
            126 => u64::from(tunnel.read_u16().await?),
            127 => tunnel.read_u64().await?,
            short => u64::from(short),
        };
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            tunnel.read_exact(&mut mask).await?;
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        tunnel.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let opcode = first & 0x0f;
        let said = if opcode == PING { first & 0xf0 | PONG } else { first };
        tunnel.write_all(&frame(said, &payload)).await?;
        tunnel.flush().await?;
        if opcode == CLOSE {
            return tunnel.shutdown().await;
        }
    }
}

/// A frame as servers send them: without a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// SHA-1, for the handshake alone: it proves nothing, and a crate for it would have to be looked after.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    let mut sum = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = sum;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next.wrapping_add(*word));
        }
        for (sum, part) in sum.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut bytes = [0; 20];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(sum) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            (0..3).fold(0, |number, at| number << 8 | three.get(at).map_or(0, |byte| usize::from(*byte)));
        for at in 0..4 {
            let letter = LETTERS[number >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::ToyRegion;
    use super::super::testing::PATIENCE;
    use super::*;
    use tokio::net::TcpStream;

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(accept(Version::HTTP_11, &headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept(Version::HTTP_10, &headers), None);
        headers.insert("sec-websocket-version", "1337".parse().unwrap());
        assert_eq!(accept(Version::HTTP_11, &headers), None);
    }

    #[test]
    fn the_sums_are_those_of_the_standard() {
        let hex = |text: &str| super::super::echo::hex(&sha1(text.as_bytes()));
        assert_eq!(hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&"a".repeat(1_000_000)), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[tokio::test]
    async fn frames_come_back_as_they_went_and_a_close_ends_the_tunnel() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let mut stream = TcpStream::connect(eu.address()).await.unwrap();
        let head = b"GET /ws HTTP/1.1\r\nHost: toy\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            said.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(said.starts_with(b"HTTP/1.1 101 "));
        stream.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.unwrap();
        stream.write_all(&[0x89, 0x80, 0, 0, 0, 0, 0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap().unwrap();
        assert_eq!(all, [0x81, 2, b'h', b'i', 0x8a, 0, 0x88, 0]);
    }
}
