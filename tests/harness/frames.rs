//! A region that speaks HTTP/2 frame by frame, as it is told, for what no HTTP library would do on purpose.
//!
//! It reads no header: each request is one, whatever it asks for. Check it by connecting (`check = "tcp"`).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::region::Place;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames that matter here.
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Codes of RFC 9113, section 7.
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const HTTP_1_1_REQUIRED: u32 = 13;
}

/// What becomes of one request, once its head has come.
#[derive(Clone, Debug)]
pub enum Does {
    /// It is read to its end, executed, and answered with 200 and the region's name.
    Answer,
    /// RST_STREAM with this code at once; it was not executed.
    Reset(u32),
    /// It is read to its end and executed; then RST_STREAM with this code.
    ExecuteThenReset(u32),
    /// GOAWAY with this code, whose last stream is the one before this; then the connection is closed in order.
    GoneBefore(u32),
    /// It is read to its end and executed; then GOAWAY with this code that includes it, and the connection is closed.
    GoneWithIt(u32),
    /// The same, but it is answered before the connection is closed.
    AnsweredThenGone,
    /// A head and part of a body, then RST_STREAM with this code.
    ResetMidBody(u32),
    /// A head and part of a body, then the connection is closed in order.
    ClosedMidBody,
    /// So many heads of status 103, then the answer.
    Interim(usize),
    /// A head with this status alone, encoded in HPACK, and END_STREAM.
    Head(Vec<u8>),
    /// Nothing, ever.
    Hang,
}

/// Such a region, as long as it is held.
pub struct Framed {
    name: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Does>>,
    begun: AtomicU64,
    executed: AtomicU64,
    connections: AtomicU64,
    resets: Mutex<Vec<u32>>,
}

/// A region on a free port, that answers what its script does not name.
pub fn framed(name: &str) -> Framed {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (shared, told) = (Arc::<Shared>::default(), name.to_owned());
    let weak = Arc::downgrade(&shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Some(shared), Ok(stream)) = (weak.upgrade(), stream) else { return };
            let name = told.clone();
            std::thread::spawn(move || drop(Connection::hold(stream, &shared, &name)));
        }
    });
    Framed { name: name.to_owned(), address, shared }
}

impl Framed {
    /// What the next requests get, one each.
    pub fn script(&self, replies: impl IntoIterator<Item = Does>) {
        self.shared.script.lock().unwrap().extend(replies);
    }

    /// Requests whose head came.
    pub fn begun(&self) -> u64 {
        self.shared.begun.load(SeqCst)
    }

    /// Requests that were carried out.
    pub fn executed(&self) -> u64 {
        self.shared.executed.load(SeqCst)
    }

    /// Connections over which HTTP/2 was spoken.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// The codes with which streams were reset by the other side.
    pub fn resets(&self) -> Vec<u32> {
        self.shared.resets.lock().unwrap().clone()
    }
}

impl Place for Framed {
    fn called(&self) -> String {
        self.name.clone()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        // Wakes the listener, which then finds nobody and goes.
        let (shared, _) = (std::mem::take(&mut self.shared), TcpStream::connect(self.address));
        drop(shared);
    }
}

struct Connection<'s> {
    stream: TcpStream,
    shared: &'s Shared,
    body: String,
    /// Requests that are being read, with what becomes of them.
    open: Vec<(u32, Does)>,
}

impl Connection<'_> {
    fn hold(stream: TcpStream, shared: &Shared, name: &str) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let body = format!(r#"{{"region":"{name}"}}"#);
        let mut connection = Connection { stream, shared, body, open: Vec::new() };
        let mut preface = [0; PREFACE.len()];
        connection.stream.read_exact(&mut preface)?;
        if preface != PREFACE {
            return Ok(());
        }
        shared.connections.fetch_add(1, SeqCst);
        connection.say(kind::SETTINGS, 0, 0, &[])?;
        while connection.next()? {}
        connection.stream.shutdown(std::net::Shutdown::Write)?;
        io::copy(&mut connection.stream, &mut io::sink())?;
        Ok(())
    }

    /// Takes the next frame; false: this side has said all.
    fn next(&mut self) -> io::Result<bool> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        match kind {
            kind::SETTINGS if flags & ACK == 0 => self.say(kind::SETTINGS, ACK, 0, &[])?,
            kind::PING if flags & ACK == 0 => self.say(kind::PING, ACK, 0, &payload)?,
            kind::RST_STREAM => {
                let code = u32::from_be_bytes(payload.try_into().unwrap());
                self.shared.resets.lock().unwrap().push(code);
                self.open.retain(|(open, _)| *open != stream);
            }
            kind::HEADERS => {
                assert!(flags & END_HEADERS != 0, "heads of these tests are short");
                if !self.begin(stream)? {
                    return Ok(false);
                }
            }
            kind::DATA if !payload.is_empty() => {
                let credit = (payload.len() as u32).to_be_bytes();
                self.say(kind::WINDOW_UPDATE, 0, 0, &credit)?;
                self.say(kind::WINDOW_UPDATE, 0, stream, &credit)?;
            }
            _ => {}
        }
        if matches!(kind, kind::HEADERS | kind::DATA)
            && flags & END_STREAM != 0
            && let Some(at) = self.open.iter().position(|(open, _)| *open == stream)
        {
            let (_, does) = self.open.remove(at);
            return self.finish(stream, &does);
        }
        Ok(true)
    }

    /// A head has come; false: this side has said all.
    fn begin(&mut self, stream: u32) -> io::Result<bool> {
        self.shared.begun.fetch_add(1, SeqCst);
        match self.shared.script.lock().unwrap().pop_front().unwrap_or(Does::Answer) {
            Does::Reset(code) => self.reset(stream, code)?,
            Does::GoneBefore(code) => {
                self.go_away(stream.saturating_sub(2), code)?;
                return Ok(false);
            }
            does => self.open.push((stream, does)),
        }
        Ok(true)
    }

    /// A request has come whole; false: this side has said all.
    fn finish(&mut self, stream: u32, does: &Does) -> io::Result<bool> {
        let hangs = matches!(does, Does::Hang);
        self.shared.executed.fetch_add(u64::from(!hangs), SeqCst);
        match does {
            Does::ExecuteThenReset(code) => self.reset(stream, *code)?,
            Does::GoneWithIt(code) => {
                self.go_away(stream, *code)?;
                return Ok(false);
            }
            Does::AnsweredThenGone => {
                self.go_away(stream, code::NO_ERROR)?;
                self.answer(stream)?;
                return Ok(false);
            }
            Does::ResetMidBody(code) => {
                self.part(stream)?;
                self.reset(stream, *code)?;
            }
            Does::ClosedMidBody => {
                self.part(stream)?;
                return Ok(false);
            }
            Does::Interim(count) => {
                for _ in 0..*count {
                    // A literal whose name is the eighth of the static table: `:status: 103`.
                    self.say(kind::HEADERS, END_HEADERS, stream, b"\x08\x03103")?;
                }
                self.answer(stream)?;
            }
            Does::Head(block) => self.say(kind::HEADERS, END_HEADERS | END_STREAM, stream, block)?,
            Does::Hang => {}
            Does::Answer | Does::Reset(_) | Does::GoneBefore(_) => self.answer(stream)?,
        }
        Ok(true)
    }

    fn answer(&mut self, stream: u32) -> io::Result<()> {
        let body = self.body.clone();
        // `:status: 200` is the eighth entry of the static table.
        self.say(kind::HEADERS, END_HEADERS, stream, &[0x88])?;
        self.say(kind::DATA, END_STREAM, stream, body.as_bytes())
    }

    fn part(&mut self, stream: u32) -> io::Result<()> {
        self.say(kind::HEADERS, END_HEADERS, stream, &[0x88])?;
        self.say(kind::DATA, 0, stream, b"part")
    }

    fn reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.say(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    fn go_away(&mut self, last: u32, code: u32) -> io::Result<()> {
        self.say(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }
}
