//! Three regions in one process: each answers at a port of its own, with its name and what it was told.
//!
//! Why so little: they share a core with the clients, and whatever they cost makes that core, and not the contender, the
//! one that gives out first.

use std::rc::Rc;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::options::Options;
use crate::requests::{BODY, MANAGED, REGIONS};

/// Listens at `--ports A,B,C` of loopback until it is ended.
pub async fn run(options: &Options) {
    let ports: String = options.get("ports");
    for (region, port) in REGIONS.iter().zip(ports.split(',')) {
        let port: u16 = port.parse().expect("a port");
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let name: Rc<str> = Rc::from(*region);
        tokio::task::spawn_local(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let name = Rc::clone(&name);
                tokio::task::spawn_local(async move {
                    let _ = serve(stream, &name).await;
                });
            }
        });
    }
    println!("ready");
    std::future::pending::<()>().await;
}

async fn serve(mut stream: TcpStream, region: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut came, mut out) = (Vec::with_capacity(4096), Vec::with_capacity(1024));
    loop {
        if stream.read_buf(&mut came).await? == 0 {
            return Ok(());
        }
        let mut taken = 0;
        while let Some(length) = answer(&came[taken..], region, &mut out) {
            taken += length;
        }
        came.drain(..taken);
        stream.write_all(&out).await?;
        out.clear();
    }
}

/// Answers the request that `came` begins with; its length with its body, or `None` where it is not whole.
fn answer(came: &[u8], region: &str, out: &mut Vec<u8>) -> Option<usize> {
    let head = memmem::find(came, b"\r\n\r\n")? + 2;
    let mut told: [&[u8]; MANAGED.len()] = [b""; MANAGED.len()];
    let mut twice = false;
    let mut body = 0;
    let mut rest = &came[..head];
    let line = memmem::find(rest, b"\r\n")?;
    let is_head = rest.starts_with(b"HEAD ");
    rest = &rest[line + 2..];
    while let Some(end) = memmem::find(rest, b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'x') => {
                if let Some(at) =
                    MANAGED.iter().position(|managed| name.eq_ignore_ascii_case(managed.as_bytes()))
                {
                    twice |= !told[at].is_empty();
                    told[at] = value;
                }
            }
            Some(b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                body = std::str::from_utf8(value).ok()?.parse().ok()?;
            }
            _ => {}
        }
    }
    let length = head + 2 + body;
    if came.len() < length {
        return None;
    }
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\nX-Served-By: ",
    );
    out.extend_from_slice(region.as_bytes());
    out.extend_from_slice(b"\r\nX-Was-Told: ");
    for (at, value) in told.iter().enumerate() {
        if at > 0 {
            out.push(b'|');
        }
        out.extend_from_slice(value);
    }
    if twice {
        out.extend_from_slice(b"|twice");
    }
    out.extend_from_slice(b"\r\n\r\n");
    if !is_head {
        out.extend_from_slice(BODY);
    }
    Some(length)
}

const _: () = assert!(BODY.len() == 32, "the head says so");
