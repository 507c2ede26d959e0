//! What `rhumb top` hears: the edge, what happens there, keys, and signals. Each has a thread of its own, which ends
//! when nobody listens to it any more, or with the process.
//!
//! Never: keeps one of them waiting for another, or lets an edge fill the memory of who watches it.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::board::Told;
use crate::cli::edge::Edge;
use crate::cli::failure::Failure;
use crate::cli::wire::text;

/// How often the edge is asked how it is.
const EVERY: Duration = Duration::from_secs(1);

/// An edge that gave no answer for so long gives none.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// So much may wait to be shown.
const WAITING: usize = 64;

/// The longest line of an event, in bytes.
const LONGEST: u64 = 256 * 1024;

/// No event of a process has this id: who names it hears all that is known.
const NONE_YET: &str = "0";

/// Something that changes what is shown.
#[derive(Debug)]
pub enum Heard {
    /// How the edge is.
    Looked(Result<Value, Failure>),
    /// Something happened there.
    Told(Told),
    /// Why nothing can be heard of what happens.
    Deaf(String),
    /// Look at another region, so many rows below.
    Step(isize),
    /// Draw again, as the screen is another.
    Redraw,
    /// End.
    End,
}

/// Listens to all of them.
pub fn listen(edge: Edge) -> io::Result<Receiver<Heard>> {
    let edge = Arc::new(edge);
    let (sender, heard) = sync_channel(WAITING);
    let (looks, tales) = (Arc::clone(&edge), edge);
    start("looks", &sender, move |to| look(&looks, &to))?;
    start("events", &sender, move |to| hear(&tales, &to))?;
    start("keys", &sender, |to| keys(&to))?;
    start("signals", &sender, |to| signals(&to))?;
    Ok(heard)
}

fn start(
    name: &str,
    sender: &SyncSender<Heard>,
    work: impl FnOnce(SyncSender<Heard>) + Send + 'static,
) -> io::Result<()> {
    let to = sender.clone();
    thread::Builder::new().name(name.into()).spawn(move || work(to)).map(drop)
}

fn look(edge: &Edge, to: &SyncSender<Heard>) {
    loop {
        thread::sleep(EVERY);
        if to.send(Heard::Looked(edge.read_within("/v1/status", PATIENCE))).is_err() {
            return;
        }
    }
}

fn hear(edge: &Edge, to: &SyncSender<Heard>) {
    let mut last = NONE_YET.to_owned();
    loop {
        let why = match edge.listen(&last) {
            Ok(stream) => match tales(stream, &mut last, to) {
                Ok(()) => "the edge sends no more events".to_owned(),
                Err(cause) => cause.to_string(),
            },
            Err(why) => why.to_string(),
        };
        if to.send(Heard::Deaf(why)).is_err() {
            return;
        }
        thread::sleep(EVERY);
    }
}

/// Passes events on until they end; `last` is then the last of them.
fn tales(stream: impl Read, last: &mut String, to: &SyncSender<Heard>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut kind, mut data, mut id) = (String::new(), String::new(), String::new());
    loop {
        let mut line = Vec::new();
        let read = stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return Err(io::Error::other("an event was cut off, or is longer than any"));
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim_end_matches(['\r', '\n']).split_once(':').unwrap_or((line.trim_end(), "")) {
            ("event", value) => kind = value.trim_start().to_owned(),
            ("data", value) => data = value.trim_start().to_owned(),
            ("id", value) => id = value.trim_start().to_owned(),
            ("", "") if !data.is_empty() => {
                if to.send(Heard::Told(told(&kind, &data))).is_err() {
                    return Ok(());
                }
                if !id.is_empty() {
                    *last = std::mem::take(&mut id);
                }
                (kind, data) = (String::new(), String::new());
            }
            _ => {}
        }
    }
}

fn told(kind: &str, data: &str) -> Told {
    let said: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let words = text(&said, &["text"]);
    let missed = text(&said, &["missed"]);
    let words = match (words.is_empty(), missed.is_empty()) {
        (false, _) => words,
        (true, false) => format!("{missed} events came too fast and are not shown"),
        (true, true) => data.to_owned(),
    };
    Told { time: text(&said, &["time"]), kind: kind.to_owned(), text: words }
}

fn keys(to: &SyncSender<Heard>) {
    loop {
        let heard = match event::read() {
            Ok(event) => meant(&event),
            Err(_) => Some(Heard::End), // nobody is there to press any
        };
        if heard.is_some_and(|heard| to.send(heard).is_err()) {
            return;
        }
    }
}

/// What a key means; `None`: nothing.
fn meant(event: &Event) -> Option<Heard> {
    const FAR: isize = isize::MAX;
    let key = match event {
        Event::Resize(..) => return Some(Heard::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    Some(match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Heard::End,
        KeyCode::Char('q') | KeyCode::Esc => Heard::End,
        KeyCode::Up | KeyCode::Char('k') => Heard::Step(-1),
        KeyCode::Down | KeyCode::Char('j') => Heard::Step(1),
        KeyCode::Home => Heard::Step(-FAR),
        KeyCode::End => Heard::Step(FAR),
        KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => Heard::Redraw,
        _ => return None,
    })
}

/// Ends on the signals that ask for it, so that the terminal is given back.
fn signals(to: &SyncSender<Heard>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        let kinds =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up), Ok(mut quit)] = kinds.map(signal) else {
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
    });
    // Whoever listened may have ended by itself.
    let _ = to.send(Heard::End);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    fn heard(stream: &str, last: &mut String) -> (Vec<Told>, io::Result<()>) {
        let (to, from) = sync_channel(WAITING);
        let ended = tales(stream.as_bytes(), last, &to);
        let told = from.try_iter().map(|heard| match heard {
            Heard::Told(told) => told,
            other => panic!("{other:?}"),
        });
        (told.collect(), ended)
    }

    #[test]
    fn events_are_read_as_they_are_sent_and_the_last_is_kept() {
        let stream = "event: drain\ndata: {\"time\":\"T\",\"kind\":\"drain\",\"text\":\"it began\"}\nid: 7-1\n\n\
            :\n\nevent: missed\ndata: {\"missed\":3}\n\nevent: new\r\ndata: what is this\r\nid: 7-9\r\n\r\nevent: half\n";
        let mut last = "0".to_owned();
        let (told, ended) = heard(stream, &mut last);
        let tell = |time: &str, kind: &str, text: &str| Told {
            time: time.into(),
            kind: kind.into(),
            text: text.into(),
        };
        assert_eq!(
            told,
            [
                tell("T", "drain", "it began"),
                tell("", "missed", "3 events came too fast and are not shown"),
                tell("", "new", "what is this")
            ]
        );
        assert_eq!((last.as_str(), ended.is_ok()), ("7-9", true));
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let endless = "data: ".to_owned() + &"x".repeat(LONGEST as usize);
        let (told, ended) = heard(&endless, &mut String::new());
        assert!(told.is_empty() && ended.is_err());
    }

    #[test]
    fn keys_mean_what_the_last_line_says() {
        let press = |code, modifiers| meant(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| press(code, KeyModifiers::NONE);
        assert!(matches!(plain(KeyCode::Char('q')), Some(Heard::End)));
        assert!(matches!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Heard::End)));
        assert!(plain(KeyCode::Char('c')).is_none());
        assert!(matches!(plain(KeyCode::Up), Some(Heard::Step(-1))));
        assert!(matches!(plain(KeyCode::Down), Some(Heard::Step(1))));
        assert!(matches!(meant(&Event::Resize(80, 24)), Some(Heard::Redraw)));
        assert!(plain(KeyCode::Left).is_none());
    }
}
