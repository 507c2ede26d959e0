//! Lines that are written by a thread of their own, so that a full pipe or a slow disk is nobody's wait but the
//! thread's.
//!
//! Whoever has a line hands it over and goes on: no lock, no system call, no waking. The writer looks every
//! [`PAUSE`] and writes all that has come in one go. Where there is no room the line is dropped and counted.
//!
//! Never: blocks who hands over a line, or stops for a failed write.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use prometheus::IntCounter;

/// How long the writer rests between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// Lines that wait at most: what comes in a pause at half a million lines a second.
const ROOM: usize = 12_288;
/// Bytes that one write takes about.
const BATCH: usize = 64 * 1024;

/// Makes the target anew, as after its file was moved away.
pub(super) type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

/// Where lines are handed over. Cheap to clone.
#[derive(Clone)]
pub struct Lines {
    queue: SyncSender<Vec<u8>>,
    lost: IntCounter,
    writer: Arc<Control>,
}

struct Control {
    stop: AtomicBool,
    reopen: AtomicBool,
    thread: Thread,
    done: Mutex<Receiver<()>>,
}

impl Lines {
    /// Starts the thread `name`, which writes to what `open` gives; `lost` counts the lines that are dropped.
    ///
    /// # Errors
    /// What `open` says, or that there can be no more threads.
    pub(super) fn start(name: &str, mut open: Open, lost: IntCounter) -> io::Result<Self> {
        Self::with_room(name, open()?, open, lost, ROOM)
    }

    fn with_room(
        name: &str,
        target: Box<dyn Write + Send>,
        open: Open,
        lost: IntCounter,
        room: usize,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(room);
        let (done_sender, done) = sync_channel(1);
        let (control_sender, control_receiver) = sync_channel::<Arc<Control>>(1);
        let mut writer = Writer { target, open, lines, lost: lost.clone() };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Ok(control) = control_receiver.recv() {
                writer.run(&control);
            }
            // From here on every line is refused, so it is counted by whoever brings it.
            drop(writer);
            // Whoever waited has given up waiting otherwise.
            let _ = done_sender.send(());
        })?;
        let writer = Arc::new(Control {
            stop: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            thread: thread.thread().clone(),
            done: Mutex::new(done),
        });
        // The thread has just been started and waits for exactly this.
        let _ = control_sender.send(Arc::clone(&writer));
        Ok(Self { queue, lost, writer })
    }

    /// Hands over a line, with its line feed at the end; drops and counts it where there is no room.
    pub fn push(&self, line: Vec<u8>) {
        if self.queue.try_send(line).is_err() {
            self.lost.inc();
        }
    }

    /// Opens the target anew before the next line; lines that wait go there.
    pub fn reopen(&self) {
        self.writer.reopen.store(true, Ordering::Release);
        self.writer.thread.unpark();
    }

    /// Ends the writer once it has written what waits, and waits for that at most `bound`; true when all is written.
    pub fn close(&self, bound: Duration) -> bool {
        self.writer.stop.store(true, Ordering::Release);
        self.writer.thread.unpark();
        self.writer.done.lock().is_ok_and(|done| done.recv_timeout(bound).is_ok())
    }
}

struct Writer {
    target: Box<dyn Write + Send>,
    open: Open,
    lines: Receiver<Vec<u8>>,
    lost: IntCounter,
}

impl Writer {
    fn run(&mut self, control: &Control) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // Read before the queue is emptied, so that what came before the stop is written.
            let stopping = control.stop.load(Ordering::Acquire);
            if control.reopen.swap(false, Ordering::AcqRel) {
                // Where it cannot be opened, the old one is better than none.
                if let Ok(target) = (self.open)() {
                    self.target = target;
                }
            }
            let gone = loop {
                let (lines, gone) = self.gather(&mut batch);
                if lines == 0 {
                    break gone;
                }
                if self.write(&batch, control).is_err() {
                    self.lost.inc_by(lines);
                }
            };
            if stopping || gone {
                return;
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Fills `batch` with what waits, up to its size; returns how many lines, and whether no more will come.
    fn gather(&self, batch: &mut Vec<u8>) -> (u64, bool) {
        batch.clear();
        let mut lines = 0;
        while batch.len() < BATCH {
            match self.lines.try_recv() {
                Ok(line) => batch.extend_from_slice(&line),
                Err(error) => return (lines, error == TryRecvError::Disconnected),
            }
            lines += 1;
        }
        (lines, false)
    }

    /// Writes all of it. A target that would block is asked again until there is a stop.
    fn write(&mut self, mut rest: &[u8], control: &Control) -> io::Result<()> {
        while !rest.is_empty() {
            match self.target.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && !control.stop.load(Ordering::Acquire) =>
                {
                    thread::park_timeout(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        self.target.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Says that it was asked to write, then waits until it may.
    struct Gated {
        asked: Sender<()>,
        may: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            let _ = self.may.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    fn counter() -> IntCounter {
        IntCounter::new("lost", "lost").unwrap()
    }

    fn never_again() -> Open {
        Box::new(|| Err(ErrorKind::NotFound.into()))
    }

    #[test]
    fn a_blocked_writer_loses_what_does_not_fit_counts_it_and_keeps_nobody_waiting() {
        let ((asked, is_asked), (let_go, may), written) = (channel(), channel(), Arc::default());
        let target = Box::new(Gated { asked, may, written: Arc::clone(&written) });
        let lost = counter();
        let lines = Lines::with_room("test", target, never_again(), lost.clone(), 4).unwrap();
        lines.push(b"0\n".to_vec());
        is_asked.recv_timeout(LONG).unwrap();
        for line in 1..=7 {
            lines.push(format!("{line}\n").into_bytes());
        }
        assert_eq!(lost.get(), 3, "one is being written, four wait, three did not fit");
        assert!(!lines.close(Duration::from_millis(1)), "the bound holds while the target blocks");
        drop(let_go);
        assert!(lines.writer.done.lock().unwrap().recv_timeout(LONG).is_ok());
        assert_eq!(*written.lock().unwrap(), b"0\n1\n2\n3\n4\n");
    }

    #[test]
    fn a_failed_write_is_counted_line_by_line_and_does_not_end_the_writer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lost = counter();
        let lines = Lines::with_room("test", Box::new(Full), never_again(), lost.clone(), 4).unwrap();
        lines.push(b"a\n".to_vec());
        lines.push(b"b\n".to_vec());
        assert!(lines.close(LONG));
        assert_eq!(lost.get(), 2);
        lines.push(b"c\n".to_vec());
        assert_eq!(lost.get(), 3, "after the end nothing is written, and it is counted");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let to = path.clone();
        let open: Open =
            Box::new(move || Ok(Box::new(std::fs::File::options().create(true).append(true).open(&to)?)));
        let lines = Lines::start("test", open, counter()).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        lines.reopen();
        lines.push(b"after\n".to_vec());
        assert!(lines.close(LONG));
        // The line may have been on its way before the file was opened again; it is in exactly one of them.
        let both = [std::fs::read(&moved).unwrap(), std::fs::read(&path).unwrap()].concat();
        assert_eq!(both, b"after\n");
    }
}
