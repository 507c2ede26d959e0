//! Lines of text over a Unix socket, each with a descriptor or without.
//!
//! Never: keeps more of a line than any line of ours is long.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// No line is longer.
const LONGEST: usize = 1024;

/// How many descriptors one reading takes.
const AT_ONCE: usize = 4;

/// Sends one line, and with it `descriptor`.
///
/// # Errors
/// The other side is gone, or takes nothing now.
pub fn send(to: impl AsFd, line: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let text = format!("{line}\n");
    let descriptors = descriptor.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if descriptor.is_some() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("a descriptor does not fit into its message"));
    }
    let sent = sendmsg(to, &[IoSlice::new(text.as_bytes())], &mut with, SendFlags::NOSIGNAL)?;
    if sent < text.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// What came and was not read yet.
#[derive(Default)]
pub struct Lines {
    text: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Lines {
    /// The next line that is whole already.
    pub fn next(&mut self) -> Option<String> {
        let end = self.text.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.text.drain(..=end).collect();
        Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    /// The next descriptor; they come in the order of their lines.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Reads some more, which may take as long as the socket lets it; false: the other side has ended.
    ///
    /// # Errors
    /// The connection failed, or a line is longer than any of ours.
    pub fn read(&mut self, from: impl AsFd) -> io::Result<bool> {
        let mut bytes = [0_u8; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let read = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut with, flags)?.bytes;
        for message in with.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.text.extend_from_slice(bytes.get(..read).unwrap_or_default());
        if self.text.len() > LONGEST && !self.text.contains(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line has no end"));
        }
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_come_in_the_order_of_their_lines() {
        let (one, other) = UnixStream::pair().unwrap();
        let files: Vec<File> = (0..6)
            .map(|n| {
                let mut file = tempfile::tempfile().unwrap();
                write!(file, "{n}").unwrap();
                file
            })
            .collect();
        send(&one, "hello", None).unwrap();
        for (n, file) in files.iter().enumerate() {
            send(&one, &format!("file {n}"), Some(file.as_fd())).unwrap();
        }
        send(&one, "end", None).unwrap();
        drop(one);
        let (mut lines, mut heard) = (Lines::default(), Vec::new());
        while lines.read(&other).unwrap() {
            while let Some(line) = lines.next() {
                heard.push(line);
            }
        }
        assert_eq!(heard, ["hello", "file 0", "file 1", "file 2", "file 3", "file 4", "file 5", "end"]);
        for n in 0..6 {
            let mut file = File::from(lines.descriptor().unwrap());
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, n.to_string());
        }
        assert!(lines.descriptor().is_none());
    }

    #[test]
    fn a_line_without_an_end_is_not_gathered_for_ever() {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(&[b'x'; 3 * LONGEST]).unwrap();
        let mut lines = Lines::default();
        assert!(lines.read(&other).unwrap() && lines.next().is_none());
        assert_eq!(lines.read(&other).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn whoever_is_gone_is_an_error_and_no_signal() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        assert_eq!(send(&one, "hello", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
