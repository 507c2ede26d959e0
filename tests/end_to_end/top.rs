//! `rhumb top` on a terminal: what it shows there, and that the terminal is as it was before, however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::{Edge, Routing, Toy, edge, eventually, lab, rhumb, signal};

const BELONGS_TO_IT: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";
const CLEARED: &str = "\u{1b}[2J";
const CURSOR: &str = "\u{1b}[?25h";

fn world() -> ((Toy, Toy, Toy), Edge) {
    let (eu, us, ap) = lab();
    let routing =
        Routing::of(&[&eu, &us, &ap]).tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    let edge = edge(&routing).start();
    ((eu, us, ap), edge)
}

/// A terminal of 80 by 24 with `rhumb top` on it.
struct Seat {
    keys: File,
    line: OwnedFd,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Seat {
    fn at(edge: &Edge) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keys, size).unwrap();
        let line =
            open(ptsname(&keys, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let end = || Stdio::from(line.try_clone().unwrap());
        let admin = format!("http://{}", edge.admin);
        let mut command = rhumb(&["--admin", &admin, "top"]);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let (keys, shown) = (File::from(keys), Arc::<Mutex<String>>::default());
        let (mut screen, into) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(many @ 1..) = screen.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..many]));
            }
        });
        Self { keys, line, shown, child }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// What was drawn since the screen was last cleared: all of it, as what stands on the screen is not drawn again.
    fn frame(&self) -> String {
        let shown = self.shown();
        shown.rsplit(CLEARED).next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn shows(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        eventually(&format!("the screen shows {what}"), || {
            let frame = self.frame();
            // The last line is the last that is drawn.
            frame.contains("quit") && holds(&frame) || {
                self.press("\u{c}");
                false
            }
        });
    }

    #[track_caller]
    fn holds(&mut self, text: &str) {
        self.shows(text, |frame| frame.contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether what is typed is shown, and taken by lines.
    fn is_as_it_was(&self) -> bool {
        tcgetattr(&self.line)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    #[track_caller]
    fn ends_with_a_terminal_as_it_was(mut self) {
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0));
        assert!(self.is_as_it_was());
        eventually("the screen is given back", || {
            let shown = self.shown();
            shown.rfind(GIVEN_BACK).is_some_and(|at| shown[at..].contains(CURSOR))
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_regions_and_what_happens_are_on_the_screen_and_q_leaves() {
    let (_regions, edge) = world();
    let why = ["--reason", "slow-disks"];
    assert_eq!(edge.rhumb(&[&["weight", "us-east-1", "40"][..], &why].concat()).code, Some(0));
    let mut seat = Seat::at(&edge);
    seat.holds("us-east-1");
    assert!(seat.shown().contains(BELONGS_TO_IT));
    seat.holds("slow-disks");
    eventually("the terminal is its own", || !seat.is_as_it_was());
    assert_eq!(edge.rhumb(&["weight", "eu-west-1", "70", "--reason", "live-and-well"]).code, Some(0));
    seat.holds("live-and-well");
    assert!(!seat.frame().contains("LOST"));
    seat.press("q");
    seat.ends_with_a_terminal_as_it_was();
}

#[test]
fn a_signal_and_ctrl_c_leave_the_terminal_as_it_was() {
    let (_regions, edge) = world();
    for how in ["TERM", "INT", "HUP", "QUIT", "\u{3}", "\u{1b}"] {
        let mut seat = Seat::at(&edge);
        seat.holds("ap-southeast-1");
        eventually("it listens to signals", || {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", seat.child.id())).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
            // SIGTERM is 15: bit 14.
            u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught & (1 << 14) != 0)
        });
        match how {
            key if key.len() == 1 => seat.press(key),
            name => signal(seat.child.id(), name),
        }
        seat.ends_with_a_terminal_as_it_was();
    }
}

#[test]
fn an_edge_that_goes_away_is_said_to_be_lost_and_may_come_back() {
    let (_regions, edge) = world();
    let mut seat = Seat::at(&edge);
    seat.holds("ap-southeast-1");
    edge.signal("STOP");
    seat.holds("LOST");
    edge.signal("CONT");
    seat.shows("no loss any more", |frame| frame.contains("ap-southeast-1") && !frame.contains("LOST"));
    drop(edge);
    seat.holds("is it running?");
    seat.press("q");
    seat.ends_with_a_terminal_as_it_was();
}

#[test]
fn what_is_no_terminal_is_told_of_status_and_an_edge_that_is_not_there_leaves_the_screen_alone() {
    let (_regions, edge) = world();
    for words in [&["top"][..], &["top", "-o", "json"]] {
        let ran = edge.rhumb(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("rhumb status --watch"), "{}", ran.stderr);
    }
    let mut gone = edge;
    gone.signal("KILL");
    gone.ended();
    let mut seat = Seat::at(&gone);
    assert_eq!(seat.child.wait().unwrap().code(), Some(1));
    eventually("it is said", || seat.shown().contains("is it running?"));
    assert!(!seat.shown().contains(BELONGS_TO_IT) && seat.is_as_it_was());
}
