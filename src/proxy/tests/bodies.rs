//! Bodies: streamed both ways, bounded, and never cut short in silence.

use super::bench::{Act, After, Plan, ToyRegion, body, get, post, request};

/// Whether a response's bytes are one whole response.
fn is_whole(bytes: &str) -> bool {
    let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
    match super::bench::field(bytes, "content-length") {
        Some(length) => body.len() == length.parse::<usize>().unwrap(),
        None => head.to_ascii_lowercase().contains("chunked") && body.ends_with("0\r\n\r\n"),
    }
}

#[test]
fn a_response_that_breaks_off_is_seen_to_break_off() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    for act in [
        Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart", After::Close),
        Act::Reset("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"),
        Act::Say(chunked, After::Close),
        Act::Reset(chunked),
        Act::Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\npart", After::Close),
        Act::Reset("HTTP/1.1 200 OK\r\n\r\npart"),
    ] {
        let (eu, us) = (ToyRegion::start(&[act]), ToyRegion::start(&[]));
        let edge = Plan::new(&[eu.address], &[us.address]).start();
        let mut client = edge.connect();
        client.send(&get());
        let all = client.rest();
        if all.is_empty() || all.contains("part") {
            assert!(all.is_empty() || !is_whole(&all), "{all}");
            assert!(us.seen().is_empty(), "a response had begun");
        } else {
            // The reset overtook what was sent before it: no response had begun.
            assert!(all.starts_with("HTTP/1.1 200") && all.contains("fine"), "{all}");
        }
    }
}

#[test]
fn a_response_that_ends_with_its_connection_is_whole() {
    let eu = ToyRegion::start(&[Act::Say("HTTP/1.1 200 OK\r\n\r\nall of it", After::Close)]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let answer = edge.ask(&get());
    assert!(answer.contains("all of it") && is_whole(&answer), "{answer}");
}

#[test]
fn an_old_client_gets_no_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let eu = ToyRegion::start(&[Act::Say(chunked, After::Keep)]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let mut client = edge.connect();
    client.send("GET / HTTP/1.0\r\nHost: acme.app.example\r\n\r\n");
    let all = client.rest();
    assert!(body(&all) == "body" && !all.to_ascii_lowercase().contains("chunked"), "{all}");
}

#[test]
fn a_body_over_the_limit_is_refused_before_and_while_it_comes() {
    let us = ToyRegion::start(&[]);
    let edge = Plan::new(&[], &[us.address]).settings("[limits]\nbody_bytes = \"1KiB\"").start();
    let answer = edge.ask(&request("POST", "Content-Length: 1025\r\n"));
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    assert!(us.seen().is_empty());
    let mut client = edge.connect();
    client.send(&request("POST", "Transfer-Encoding: chunked\r\n"));
    client.send(&format!("400\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1024)));
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 413") && all.contains("body_too_large"), "{all}");
    assert!(us.seen().is_empty(), "no whole request reached the region");
}

#[test]
fn a_large_body_goes_through() {
    let us = ToyRegion::start(&[]);
    let edge = Plan::new(&[], &[us.address]).start();
    let large = "x".repeat(3_000_000);
    let answer = edge.ask(&format!("{}{large}", request("PUT", "Content-Length: 3000000\r\n")));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(body(&us.only()).len(), large.len());
}

#[test]
fn a_large_answer_goes_through() {
    let large: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}", "y".repeat(3_000_000)).into(),
    );
    let us = ToyRegion::start(&[Act::Say(large, After::Keep)]);
    let edge = Plan::new(&[], &[us.address]).start();
    assert_eq!(body(&edge.ask(&post(""))).len(), 3_000_000);
}
