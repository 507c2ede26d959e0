//! WebSockets of a toy region: an echo, frame by frame, and two tunnels that behave in a way worth testing.
//!
//! Never: joins fragments or reads text; what it echoes has the opcode and the bits that it came with.

use std::io;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
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
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), SALT].concat());
    Some(STANDARD.encode(sum))
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
