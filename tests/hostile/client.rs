//! A client that sends bytes as they are and keeps everything it hears, to the end of the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::harness::{Answer, PATIENCE, Wire};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By the other side, in order.
    Closed,
    /// By the other side, with a reset.
    Reset,
    /// By this side, which then heard the other side's end.
    Ours,
    /// Not at all.
    Never,
}

/// What came back.
#[derive(Debug)]
pub struct Heard {
    /// The final answers, in order.
    pub answers: Vec<Answer>,
    /// What followed them that is no whole answer.
    pub rest: Vec<u8>,
    /// How the connection ended.
    pub ended: Ended,
}

/// When this side ends its half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// After the last byte sent.
    AtOnce,
    /// After so many answers.
    After(usize),
    /// Never: the other side has to.
    Never,
}

/// Sends `bytes` on a new connection and hears all that comes; `methods`: what was asked, as far as it is known.
pub fn exchange(address: SocketAddr, bytes: &[u8], methods: &[&str], leave: Leave) -> Heard {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    // A refusal may come before the last byte is taken, and so may the end.
    let _ = stream.write_all(bytes);
    let mut ours = leave == Leave::AtOnce;
    if ours {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut all = Vec::new();
    let mut some = vec![0; 16 * 1024];
    let ended = loop {
        match stream.read(&mut some) {
            Ok(0) if ours => break Ended::Ours,
            Ok(0) => break Ended::Closed,
            Ok(read) => {
                all.extend_from_slice(&some[..read]);
                if let Leave::After(count) = leave
                    && !ours
                    && all.windows(9).filter(|part| part == b"HTTP/1.1 ").count() >= count
                    && answers(&all, methods).0.len() >= count
                {
                    ours = true;
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break Ended::Never,
            Err(_) => break Ended::Reset,
        }
    };
    let (answers, rest) = answers(&all, methods);
    Heard { answers, rest, ended }
}

/// The whole answers at the front of `all`, and what is behind them.
fn answers(all: &[u8], methods: &[&str]) -> (Vec<Answer>, Vec<u8>) {
    let mut found = Vec::new();
    let mut rest = all;
    while let Some(length) = whole(rest, methods.get(found.len()).copied().unwrap_or("GET")) {
        let mut wire = Wire::over(Fixed(rest[..length].to_vec()));
        found.extend(wire.answer_to(methods.get(found.len()).copied().unwrap_or("GET")));
        rest = &rest[length..];
    }
    (found, rest.to_vec())
}

/// How long the answer is that `bytes` begin with, interim ones included; `None`: it is not whole, or none.
fn whole(bytes: &[u8], method: &str) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) && status != 101 {
        return Some(end + whole(&bytes[end..], method)?);
    }
    if method == "HEAD" || matches!(status, 101 | 204 | 304) {
        return Some(end);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse::<usize>();
    let length = end + length.ok()?;
    (bytes.len() >= length).then_some(length)
}

/// A stream that was read already.
struct Fixed(Vec<u8>);

impl Read for Fixed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let taken = into.len().min(self.0.len());
        into[..taken].copy_from_slice(&self.0[..taken]);
        self.0.drain(..taken);
        Ok(taken)
    }
}

impl Write for Fixed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
