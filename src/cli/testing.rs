//! What the tests of the commands share: an edge of canned answers on loopback, and a command line run in process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;

use super::args::{Arguments, Command, ExplainArgs};
use super::{World, answer};

/// What `rhumb explain` makes of these words.
pub fn explain_args(words: &[&str]) -> ExplainArgs {
    match Arguments::try_parse_from(["rhumb", "explain"].iter().chain(words)).unwrap().command {
        Command::Explain(args) => args,
        other => panic!("{other:?}"),
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `rhumb` with these words, separated by spaces.
pub fn rhumb(words: &str) -> Ran {
    rhumb_with(words.split(' '), None)
}

/// Runs `rhumb` with these words and this token.
pub fn rhumb_with<'w>(words: impl IntoIterator<Item = &'w str>, token: Option<&str>) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let words = std::iter::once("rhumb").chain(words).map(Into::into);
    let token = token.map(Into::into);
    let code = answer(words, World { token, screen: false, stdout: &mut stdout, stderr: &mut stderr });
    Ran { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

/// An edge that gives the same answer to everything, and remembers what it was asked.
pub struct Canned {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Answers `status` with `body`, as long as the test runs.
    pub fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, body) = (Arc::clone(&asked), body.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let head_and_body = take(&stream);
                seen.lock().unwrap().push(head_and_body);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }

    /// The only request so far: head and body.
    pub fn asked(&self) -> String {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }

    /// Runs `rhumb` against it.
    pub fn rhumb(&self, words: &str) -> Ran {
        self.rhumb_with(words, None)
    }

    /// Runs `rhumb` against it with this token.
    pub fn rhumb_with(&self, words: &str, token: Option<&str>) -> Ran {
        rhumb_with(["--admin", &self.url].into_iter().chain(words.split(' ')), token)
    }
}

fn take(mut stream: &TcpStream) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length:").map(|length| length.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk).unwrap() {
            0 => return text,
            more => read.extend_from_slice(&chunk[..more]),
        }
    }
}
