//! A region that breaks the protocol on cue, over raw TCP, and keeps every byte it got.
//!
//! `/health` is answered by a script of its own, so that a region can look healthy while its data path
//! fails. Any other request takes the next [`Fault`] of the script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::LabError;
use super::door::{Bound, Door};
use super::ledger::{Ledger, Recorded, note};
use super::script::{Fault, Says, Then};
use super::state::lock;
use super::wire::{Head, read_body, read_head};

/// A fault region that has not been started.
pub struct FaultRegion {
    name: String,
    address: SocketAddr,
}

/// What `/health` gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthAnswer {
    /// 200 and `{"status":"UP"}`.
    Up,
    /// 503 and `{"status":"DOWN"}`.
    Down,
    /// Any status, and any text said to be JSON.
    Says(u16, String),
    /// Nothing, ever.
    Hang,
    /// A reset.
    Reset,
}

/// A fault region that runs. It stops when this is dropped. What it has seen is in its [`Ledger`].
pub struct RunningFaultRegion {
    shared: Arc<Shared>,
    door: tokio::sync::Mutex<Door>,
    address: SocketAddr,
}

struct Shared {
    name: String,
    script: Mutex<Script>,
    health: Mutex<HealthAnswer>,
    ledger: Ledger,
}

struct Script {
    next: VecDeque<Fault>,
    otherwise: Fault,
}

impl FaultRegion {
    /// A region on a free port of 127.0.0.1 that commits no fault yet.
    pub fn new(name: impl Into<String>) -> FaultRegion {
        FaultRegion { name: name.into(), address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// Listens at `address` instead.
    pub fn at(mut self, address: SocketAddr) -> FaultRegion {
        self.address = address;
        self
    }

    /// Starts it on the current runtime.
    ///
    /// - Errors: the address cannot be had.
    pub async fn start(self) -> Result<RunningFaultRegion, LabError> {
        let shared = Arc::new(Shared {
            name: self.name,
            script: Mutex::new(Script { next: VecDeque::new(), otherwise: Fault::answer() }),
            health: Mutex::new(HealthAnswer::Up),
            ledger: Ledger::default(),
        });
        let bound = Bound::take(self.address)?;
        let address = bound.address;
        let serving = Arc::clone(&shared);
        let serve = Arc::new(move |stream| Box::pin(connection(Arc::clone(&serving), stream)) as _);
        let door = tokio::sync::Mutex::new(Door::open(bound, Handle::current(), serve)?);
        Ok(RunningFaultRegion { shared, door, address })
    }
}

impl RunningFaultRegion {
    /// Its address, the same in the dark.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Adds faults for the next requests, one each, whatever connection they come on.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.script).next.extend(faults);
    }

    /// What every request gets when the script is used up; at first the ordinary answer.
    pub fn otherwise(&self, fault: Fault) {
        lock(&self.shared.script).otherwise = fault;
    }

    /// What `/health` gets from now on; at first [`HealthAnswer::Up`].
    pub fn set_health(&self, answer: HealthAnswer) {
        *lock(&self.shared.health) = answer;
    }

    /// Cuts every connection and refuses new ones; both are done when this returns.
    ///
    /// - Errors: the port could not be kept for the return; the region is dark all the same.
    pub async fn go_dark(&self) -> Result<(), LabError> {
        self.door.lock().await.go_dark().await
    }

    /// Listens again, on the same port.
    ///
    /// - Errors: the port is no longer to be had.
    pub async fn come_back(&self) -> Result<(), LabError> {
        self.door.lock().await.come_back()
    }

    /// Stops the region, and waits until all is closed.
    pub async fn stop(mut self) {
        self.door.get_mut().shut().await;
    }
}

impl Deref for RunningFaultRegion {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.shared.ledger
    }
}

impl Shared {
    fn next_fault(&self) -> Fault {
        let mut script = lock(&self.script);
        script.next.pop_front().unwrap_or_else(|| script.otherwise.clone())
    }

    fn answer(&self, head: &Head) -> Bytes {
        let body =
            json!({ "region": self.name, "method": head.method, "target": head.target, "id": head.id });
        response(200, &body.to_string())
    }
}

/// Follows the script on one connection, to its end.
async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    shared.ledger.connection_arrived();
    let mut stream = BufReader::new(stream);
    let mut record: Option<Arc<Mutex<Recorded>>> = None;
    if stream.get_ref().set_nodelay(true).is_err() {
        return;
    }
    loop {
        let head = read_head(&mut stream).await;
        if head.is_whole() && head.path() == "/health" {
            shared.ledger.health_check_arrived();
            let (says, then) = match lock(&shared.health).clone() {
                HealthAnswer::Up => (response(200, r#"{"status":"UP"}"#), Then::Keep),
                HealthAnswer::Down => (response(503, r#"{"status":"DOWN"}"#), Then::Keep),
                HealthAnswer::Says(status, text) => (response(status, &text), Then::Keep),
                HealthAnswer::Hang => (Bytes::new(), Then::Hang),
                HealthAnswer::Reset => (Bytes::new(), Then::Reset),
            };
            if stream.write_all(&says).await.is_err() || !settle(&mut stream, then).await {
                return;
            }
            continue;
        }
        if head.raw.is_empty() {
            return;
        }
        let record = record.get_or_insert_with(|| shared.ledger.open_record());
        note(record, &head.raw);
        if !head.is_whole() {
            return;
        }
        let (seen, fault) = (shared.ledger.request_arrived(&head), shared.next_fault());
        if fault.reads_body {
            if read_body(&mut stream, head.framing, |bytes| note(record, bytes)).await.is_err() {
                return;
            }
            shared.ledger.request_is_whole(&seen);
        }
        tokio::time::sleep(fault.delay).await;
        let (said, later) = match &fault.says {
            Says::Answer { before, later: None, after } => {
                ([before, &shared.answer(&head), after].map(Bytes::as_ref).concat(), None)
            }
            Says::Answer { before, later: Some(later), after } => {
                ([before, &shared.answer(&head)].map(Bytes::as_ref).concat(), Some((*later, after)))
            }
            Says::Raw(bytes) => (bytes.to_vec(), None),
        };
        let spoken = async {
            say(&mut stream, &said, &fault).await?;
            let Some((later, after)) = later else { return Ok(()) };
            tokio::time::sleep(later).await;
            let spoken = say(&mut stream, after, &fault).await;
            shared.ledger.spoke_unasked();
            spoken
        };
        if spoken.await.is_err() || !settle(&mut stream, fault.then).await {
            return;
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, said: &[u8], fault: &Fault) -> std::io::Result<()> {
    if fault.every_byte.is_zero() {
        return stream.write_all(said).await;
    }
    for byte in said {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(fault.every_byte).await;
    }
    Ok(())
}

/// Does to the connection what comes after the answer; says whether a further request may come.
async fn settle(stream: &mut BufReader<TcpStream>, then: Then) -> bool {
    match then {
        Then::Keep => true,
        Then::Close => {
            let _ = stream.shutdown().await;
            false
        }
        Then::HalfClose => {
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
            false
        }
        Then::Reset => {
            let _ = stream.get_ref().set_zero_linger();
            false
        }
        Then::Hang => std::future::pending().await,
    }
}

fn response(status: u16, body: &str) -> Bytes {
    let head = format!("HTTP/1.1 {status} Toy\r\nContent-Type: application/json\r\nConnection: keep-alive");
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

#[cfg(test)]
mod tests {
    use super::super::ledger::MOST_BYTES;
    use super::super::script::WrongFraming;
    use super::super::testing::{PATIENCE, ask, eventually};
    use super::*;
    use std::io::ErrorKind::ConnectionReset;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;

    const WRITE: &[u8] =
        b"POST /w HTTP/1.1\r\nHost: toy\r\nIdempotency-Key: w-1\r\nContent-Length: 2\r\n\r\nhi";

    async fn region() -> RunningFaultRegion {
        FaultRegion::new("eu-west-1").start().await.unwrap()
    }

    /// Sends `WRITE` to a region that commits `fault`: all that came back, and how it ended.
    async fn exchange(region: &RunningFaultRegion, fault: Fault) -> (String, std::io::Result<()>) {
        region.script([fault]);
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        stream.write_all(WRITE).await.unwrap();
        read(&mut stream).await
    }

    async fn read(stream: &mut TcpStream) -> (String, std::io::Result<()>) {
        let mut all = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end");
        (String::from_utf8_lossy(&all).into_owned(), end.map(|_| ()))
    }

    /// Reads until `enough` has come.
    async fn read_past(stream: &mut TcpStream, enough: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(enough) {
            all.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn without_a_script_requests_are_answered_on_one_connection_and_recorded_raw() {
        let region = region().await;
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        for _ in 0..2 {
            stream.write_all(WRITE).await.unwrap();
            let answer = read_past(&mut stream, "}").await;
            assert!(answer.starts_with("HTTP/1.1 200 "));
            assert!(answer.contains(r#""id":"w-1""#));
        }
        assert_eq!(region.recorded(), [Recorded { bytes: [WRITE, WRITE].concat(), cut: false }]);
        assert_eq!((region.connections_seen(), region.whole_requests()), (1, 2));
        assert_eq!(region.executions_of("w-1"), 2);
    }

    #[tokio::test]
    async fn the_script_is_followed_request_by_request_and_then_otherwise() {
        let region = region().await;
        region.otherwise(Fault::garbage());
        assert!(exchange(&region, Fault::answer_then_close()).await.0.starts_with("HTTP/1.1 200 "));
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        stream.write_all(WRITE).await.unwrap();
        assert!(!read(&mut stream).await.0.starts_with("HTTP/"));
    }

    #[tokio::test]
    async fn a_reset_is_a_reset_and_says_whether_the_request_was_executed() {
        let region = region().await;
        let (said, end) = exchange(&region, Fault::reset_before_body()).await;
        assert_eq!((said.as_str(), end.unwrap_err().kind()), ("", ConnectionReset));
        assert_eq!((region.requests_begun(), region.executions_of("w-1")), (1, 0));
        let (said, end) = exchange(&region, Fault::reset_after_request()).await;
        assert_eq!((said.as_str(), end.unwrap_err().kind()), ("", ConnectionReset));
        assert_eq!((region.requests_begun(), region.executions_of("w-1")), (2, 1));
        let (_, end) = exchange(&region, Fault::reset_mid_body(3, 10)).await;
        assert_eq!(end.unwrap_err().kind(), ConnectionReset);
    }

    #[tokio::test]
    async fn an_answer_cut_short_in_order_ends_with_a_fin() {
        let region = region().await;
        let (said, end) = exchange(&region, Fault::truncated(3, 10)).await;
        assert!(end.is_ok() && said.contains("Content-Length: 10\r\n") && said.ends_with("\r\n\r\nxxx"));
        let (said, end) = exchange(&region, Fault::truncated_chunked()).await;
        assert!(end.is_ok() && said.ends_with("5\r\nhello\r\n"));
        let (said, end) = exchange(&region, Fault::close_after_request()).await;
        assert!(end.is_ok() && said.is_empty());
    }

    #[tokio::test]
    async fn a_half_closed_connection_is_still_read() {
        let region = region().await;
        region.script([Fault::half_close()]);
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        stream.write_all(WRITE).await.unwrap();
        assert_eq!(read(&mut stream).await.0, "");
        let large = vec![b'x'; 4 * 1024 * 1024]; // more than socket buffers hold
        tokio::time::timeout(PATIENCE, stream.write_all(&large)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_hanging_region_says_what_it_was_told_to_and_falls_silent_until_it_is_dark() {
        let region = region().await;
        for (fault, enough) in [
            (Fault::hang(), ""),
            (Fault::hang_after_request(), ""),
            (Fault::hang_mid_body(3, 10), "\r\n\r\nxxx"),
        ] {
            let seen = region.requests_begun();
            region.script([fault]);
            let mut stream = TcpStream::connect(region.address()).await.unwrap();
            stream.write_all(WRITE).await.unwrap();
            read_past(&mut stream, enough).await;
            eventually(async || region.requests_begun() == seen + 1).await;
            assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
            region.go_dark().await.unwrap();
            assert_eq!(read(&mut stream).await.0, "");
            region.come_back().await.unwrap();
        }
        assert_eq!(region.whole_requests(), 2);
    }

    #[tokio::test]
    async fn floods_slow_bytes_and_extra_bytes_surround_an_ordinary_answer() {
        let region = region().await;
        for (fault, enough, hints) in [
            (Fault::interim(100), "}", 100),
            (Fault::slow_bytes(Duration::from_micros(1)), "}", 0),
            (Fault::extra("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), "evil", 0),
            (Fault::extra_later(Duration::from_millis(1), "HTTP/1.1 200 OK\r\n\r\nevil"), "evil", 0),
            (Fault::delayed(Duration::from_millis(1)), "}", 0),
            (Fault::early_answer(), "}", 0),
        ] {
            region.script([fault]);
            let mut stream = TcpStream::connect(region.address()).await.unwrap();
            stream.write_all(WRITE).await.unwrap();
            let said = read_past(&mut stream, enough).await;
            assert!(said.contains(r#""region":"eu-west-1""#), "{said}");
            assert_eq!(said.matches("HTTP/1.1 103 ").count(), hints);
        }
        assert_eq!((region.requests_begun(), region.whole_requests()), (6, 5));
    }

    #[tokio::test]
    async fn every_wrong_framing_says_hello_in_its_own_way() {
        let region = region().await;
        let mut all = Vec::new();
        for how in [
            WrongFraming::Both,
            WrongFraming::TwoLengths,
            WrongFraming::NegativeLength,
            WrongFraming::BadChunkSize,
            WrongFraming::TooLong,
            WrongFraming::UnknownCoding,
        ] {
            region.script([Fault::wrong_framing(how)]);
            let mut stream = TcpStream::connect(region.address()).await.unwrap();
            stream.write_all(WRITE).await.unwrap();
            all.push(read_past(&mut stream, "hello").await);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[tokio::test]
    async fn health_takes_nothing_from_the_script_and_is_not_recorded() {
        let region = region().await;
        region.otherwise(Fault::garbage());
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        for (answer, expected) in [
            (HealthAnswer::Up, "HTTP/1.1 200 "),
            (HealthAnswer::Down, "HTTP/1.1 503 "),
            (HealthAnswer::Says(200, r#"{"status":"DEGRADED"}"#.to_owned()), "HTTP/1.1 200 "),
        ] {
            region.set_health(answer);
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: toy\r\n\r\n").await.unwrap();
            assert!(read_past(&mut stream, "}").await.starts_with(expected));
        }
        region.set_health(HealthAnswer::Reset);
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: toy\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut stream).await.1.unwrap_err().kind(), ConnectionReset);
        assert_eq!((region.health_checks_seen(), region.requests_begun()), (4, 0));
        assert!(region.recorded().is_empty());
    }

    #[tokio::test]
    async fn a_request_that_never_comes_whole_is_recorded_and_not_executed() {
        let region = region().await;
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        stream.write_all(&WRITE[..WRITE.len() - 1]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read(&mut stream).await.0, "");
        assert_eq!((region.requests_begun(), region.whole_requests()), (1, 0));
        assert_eq!(region.recorded()[0].bytes, &WRITE[..WRITE.len() - 1]);
        assert!(!region.requests()[0].whole);
    }

    #[tokio::test]
    async fn what_is_kept_of_a_connection_is_bounded() {
        let region = region().await;
        region.script([Fault::answer_then_close()]);
        ask(region.address(), "POST", "/", &[], &vec![b'x'; 2 * MOST_BYTES]).await;
        let kept = &region.recorded()[0];
        assert_eq!((kept.bytes.len(), kept.cut), (MOST_BYTES, true));
    }
}
