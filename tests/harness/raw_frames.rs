//! HTTP/2 frame by frame, right or wrong: it sends exactly what it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait::PATIENCE;

/// What every client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS: the last of its stream. Of SETTINGS and PING: the answer to one.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A connection in the clear.
pub struct Frames {
    stream: TcpStream,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream, or of its connection before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered with this status.
    Answered(u16),
    /// It was reset with this code.
    Reset(u32),
    /// The connection ended, and said this code if there was time.
    Gone(Option<u32>),
}

impl Verdict {
    /// Whether the stream was refused, and perhaps its connection with it.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Verdict::Answered(..400))
    }

    /// Whether the stream alone was reset or refused.
    pub fn is_of_the_stream(self) -> bool {
        matches!(self, Verdict::Reset(_) | Verdict::Answered(400..))
    }
}

impl Frames {
    /// A connection on which nothing was said.
    pub fn to(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Frames { stream }
    }

    /// A connection that is opened as it should be.
    pub fn opened(address: SocketAddr) -> Frames {
        Frames::opened_with(address, &[])
    }

    /// The same with these settings.
    pub fn opened_with(address: SocketAddr, settings: &[(u16, u32)]) -> Frames {
        let mut frames = Frames::to(address);
        frames.raw(PREFACE);
        frames.send(SETTINGS, 0, 0, &settings_payload(settings));
        frames
    }

    /// Sends these bytes; false: the connection is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a frame; false: the connection is gone.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// Sends a whole head.
    pub fn head(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> bool {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields))
    }

    /// Gives a stream room for `more` bytes; stream 0 is the connection.
    pub fn room(&mut self, stream: u32, more: u32) -> bool {
        self.send(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
    }

    /// The next frame; `None`: the connection has ended.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; length as usize];
        self.read(&mut payload)?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame that fits; answers what has to be answered meanwhile.
    pub fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            match frame.kind {
                _ if fits(&frame) => return Some(frame),
                SETTINGS if frame.flags & END_STREAM == 0 => drop(self.send(SETTINGS, END_STREAM, 0, &[])),
                PING if frame.flags & END_STREAM == 0 => drop(self.send(PING, END_STREAM, 0, &frame.payload)),
                _ => {}
            }
        }
    }

    /// Waits until the server has seen everything that was sent; false: the connection has ended.
    pub fn settled(&mut self) -> bool {
        self.send(PING, 0, 0, b"are you?")
            && self.until(|frame| frame.kind == PING && frame.payload == b"are you?").is_some()
    }

    /// Waits for the fate of a stream.
    pub fn verdict(&mut self, stream: u32) -> Verdict {
        let mut said = None;
        let fate = self.until(|frame| match frame.kind {
            HEADERS => frame.stream == stream && !matches!(status(&frame.payload), Some(100..200)),
            RST_STREAM => frame.stream == stream,
            GOAWAY => true,
            _ => false,
        });
        match fate {
            Some(Frame { kind: HEADERS, payload, .. }) => Verdict::Answered(status(&payload).unwrap_or(0)),
            Some(Frame { kind: RST_STREAM, payload, .. }) => Verdict::Reset(code(&payload)),
            Some(Frame { payload, .. }) => {
                said = payload.get(4..).map(code);
                Verdict::Gone(said)
            }
            None => Verdict::Gone(said),
        }
    }

    /// Reads to the end of the connection: with which code it was ended, if it was told.
    pub fn goodbye(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(frame) = self.until(|frame| frame.kind == GOAWAY) {
            last = frame.payload.get(4..).map(code);
        }
        last
    }

    fn read(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of SETTINGS.
pub fn settings_payload(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

/// A header block that neither compresses nor remembers.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0x00, name.as_bytes(), value.as_bytes())).collect()
}

/// One field, spelled out. `kind`: 0x00 to forget it, 0x40 to remember it.
pub fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    for text in [name, value] {
        match text.len() {
            short @ ..127 => bytes.push(short as u8),
            long => {
                bytes.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    bytes.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
        }
        bytes.extend_from_slice(text);
    }
    bytes
}

fn code(payload: &[u8]) -> u32 {
    payload.get(..4).map_or(u32::MAX, |code| u32::from_be_bytes(code.try_into().unwrap()))
}

/// The status at the front of a response's header block, in the spellings that servers use.
fn status(block: &[u8]) -> Option<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match *block {
        [index @ 0x88..=0x8e, ..] => Some(INDEXED[usize::from(index - 0x88)]),
        // A literal with the name of entry 8, remembered or not.
        [0x48 | 0x08 | 0x18, length, ref rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Decodes digits: 0 to 2 have codes of five bits, the others of six (RFC 7541, appendix B).
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u8, |number, bit| number << 1 | bit);
    let (mut at, mut digits) = (0, Vec::new());
    while let Some(five) = bits.get(at..at + 5).map(number) {
        if five <= 2 {
            digits.push(b'0' + five);
            at += 5;
        } else {
            match bits.get(at..at + 6).map(number) {
                Some(six @ 0x19..=0x1f) => digits.push(b'3' + six - 0x19),
                _ => break,
            }
            at += 6;
        }
    }
    digits
}
