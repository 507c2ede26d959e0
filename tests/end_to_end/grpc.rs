//! gRPC calls: through to regions of HTTP/2, and refused in their own form.

use rhumb::lab::{Protocols, ToyRegion};

use crate::harness::{Edge, Routing, Toy, edge, eventually, post, toy_from};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;

fn world(protocols: Protocols, http: &str, keys: &str) -> (Toy, Edge) {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
    let routing = Routing::of(&[&eu]).region("eu-west-1", "http", http);
    let edge = edge(&routing.tenant("acme", r#"home = "eu-west-1""#).and(keys)).start();
    (eu, edge)
}

/// Messages as they are sent.
fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame = |message: &&[u8]| [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    messages.iter().flat_map(frame).collect()
}

#[test]
fn megabytes_in_both_directions_at_once_do_not_stall() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    for _ in 0..4 {
        let mut back = edge.wire();
        let mut stream = back.another();
        let head = format!(
            "POST /lab.Echo/Bidi HTTP/1.1\r\nHost: {ACME}\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        let message = vec![b'm'; 64 * 1024];
        let part = framed(&[&message]);
        let chunk = [format!("{:x}\r\n", part.len()).into_bytes(), part, b"\r\n".to_vec()].concat();
        let sender = std::thread::spawn(move || {
            (0..16 * MIB / (64 * 1024)).for_each(|_| std::io::Write::write_all(&mut stream, &chunk).unwrap());
            std::io::Write::write_all(&mut stream, b"0\r\n\r\n").unwrap();
        });
        let mut answer = back.head().unwrap();
        back.body(&mut answer);
        sender.join().unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 256 * (64 * 1024 + 5)));
    }
    eventually("all calls are over", || eu.in_flight() == 0);
}

#[test]
fn a_call_to_a_region_of_http_1_is_refused_as_a_call() {
    let (eu, edge) = world(Protocols::Both, "1", "");
    let call =
        post(ACME, "/lab.Echo/Unary").header("Content-Type", "application/grpc+proto").body(framed(&[b"hi"]));
    let refused = edge.ask(&call);
    assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("14")));
    assert!(refused.header("grpc-message").unwrap().starts_with("upstream_failed"));
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    for odd in ["1", "S", "123456789n", "1.5S", "-1S"] {
        let call = post(ACME, "/lab.Echo/Unary")
            .header("Content-Type", "application/grpc")
            .header("grpc-timeout", odd);
        assert_eq!(edge.ask(&call).header("grpc-status"), Some("3"), "{odd}");
    }
    let other = post(ACME, "/v1/cases").header("grpc-timeout", "odd");
    assert_eq!(
        edge.ask(&other).seen("grpc-timeout").as_deref(),
        Some("odd"),
        "only calls are gRPC's business"
    );
    assert_eq!(eu.writes_executed(), 1);
}
