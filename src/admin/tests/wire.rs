//! What arrives as bytes: requests that no library would write.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::{Side, side_with};
use crate::admin::serve;
use crate::telemetry::fixture;

struct Served {
    address: SocketAddr,
    side: Side,
    _stop: oneshot::Sender<()>,
}

#[expect(clippy::disallowed_methods, reason = "the test is where the parts are wired")]
async fn served() -> Served {
    let mut kept = None;
    let side = side_with(|state| kept = Some(state.clone()), fixture::snapshot(1), None);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, kept.unwrap(), watch::channel(false).1, async {
        let _ = stopped.await;
    }));
    Served { address, side, _stop: stop }
}

impl Served {
    /// The statuses of all that is answered to these bytes until the side closes.
    async fn statuses(&self, bytes: impl AsRef<[u8]>) -> Vec<u16> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // It may have heard enough before the end.
        let _ = stream.write_all(bytes.as_ref()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let heads = text.split("HTTP/1.").skip(1);
        heads.filter_map(|head| head.get(2..5)?.parse().ok()).collect()
    }
}

fn chunks(bytes: usize) -> String {
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    chunk.repeat(bytes / 0x1000) + "0\r\n\r\n"
}

#[tokio::test]
async fn a_request_without_one_host_of_this_edge_is_refused_in_any_version() {
    let served = served().await;
    for (bytes, status) in [
        ("GET /v1/status HTTP/1.0\r\n\r\n", 403),
        ("GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n", 403),
        ("GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        ("GET http://localhost/v1/status HTTP/1.0\r\n\r\n", 403),
        ("GET http://evil.test/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403),
        ("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
    ] {
        assert_eq!(served.statuses(bytes).await, [status], "{bytes}");
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_measured_as_it_comes() {
    let mut served = served().await;
    let head = "Host: localhost\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nConnection: close\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    for (path, bytes, status) in [
        ("/v1/explain", 0x11000, 413),
        ("/v1/table/reload", 0x11000, 413),
        ("/v1/table/accept", 0x11000, 413),
        ("/v1/explain", 0x2000, 400),
    ] {
        let request = format!("POST {path} HTTP/1.1\r\n{head}{}", chunks(bytes));
        assert_eq!(served.statuses(request).await, [status], "{path} {bytes}");
    }
    assert!(served.side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn what_could_be_read_as_two_requests_is_none() {
    let mut served = served().await;
    let inner = "POST /v1/table/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer good\r\nContent-Length: 0\r\n\r\n";
    let auth = "Host: localhost\r\nAuthorization: Bearer wrong\r\n";
    for bytes in [
        format!(
            "POST /v1/nowhere HTTP/1.1\r\n{auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "POST /v1/nowhere HTTP/1.1\r\n{auth}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        format!("POST /v1/nowhere HTTP/1.1\r\n{auth}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("POST /v1/nowhere HTTP/1.1\r\n{auth}Content-Length: {}\r\n\r\n{inner}", inner.len()),
    ] {
        let statuses = served.statuses(&bytes).await;
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{statuses:?}: {bytes}");
    }
    assert!(served.side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let served = served().await;
    let endless = format!("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // What it says may be lost to whoever goes on sending.
    assert!(served.statuses(endless).await.iter().all(|status| *status == 431));
    let many = format!("GET /v1/status HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: x\r\n".repeat(200));
    assert_eq!(served.statuses(many).await, [431]);
    assert_eq!(served.statuses("GET /healthz HTTP/1.0\r\n\r\n").await, [200]);
}
