//! What becomes of events by what a receiver does, and when the task ends.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::control::events::Kind;

const LONG: Duration = Duration::from_secs(60);

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=s3cret", listener.local_addr().unwrap());
    (listener, url)
}

fn alerts(url: &str) -> (Alerts, Events, Recorder) {
    let (events, recorder) = (Events::new(7), Recorder::new(Duration::ZERO));
    let whose = Whose { edge: "edge-1".into(), region: "eu-west-1".into() };
    (Alerts::new(url.parse().unwrap(), whose, &events, recorder.clone()), events, recorder)
}

fn tell(events: &Events, text: &str) {
    events.tell("2026-01-01T00:00:00Z".into(), Kind::Drain, text.into(), json!({"to": 0}));
}

/// Delivered, dropped, refused, failed, unsent.
fn counted(recorder: &Recorder) -> [u64; 5] {
    let text = recorder.text();
    ["delivered", "dropped", "refused", "failed", "unsent"].map(|code| {
        let series = format!("rhumb_alerts_total{{outcome=\"{code}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    })
}

/// Takes one event and answers with this status; returns its head and what it says.
async fn answer(listener: &TcpListener, status: &str) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut came = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0, "it left early");
        let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_slice(&came[end + 4..]) {
            let said = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(said.as_bytes()).await.unwrap();
            return (String::from_utf8(came[..end].to_vec()).unwrap(), body);
        }
    }
}

#[tokio::test]
async fn an_event_says_whose_it_is_and_what_happened() {
    let (listener, url) = listener().await;
    let (alerts, events, recorder) = alerts(&url);
    tell(&events, "a drain");
    let (unsent, (head, body)) =
        tokio::join!(alerts.run(async {}, LONG), answer(&listener, "204 No Content"));
    assert!(head.starts_with("POST /hook?key=s3cret HTTP/1.1\r\n"), "{head}");
    assert!(head.lines().any(|line| line == "content-type: application/json"), "{head}");
    let want = json!({
        "id": "7-1", "edge": "edge-1", "region": "eu-west-1", "number": 1, "time": "2026-01-01T00:00:00Z",
        "kind": "drain", "text": "a drain", "data": {"to": 0},
    });
    assert_eq!((unsent, body, counted(&recorder)), (0, want, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_sent_again_and_what_comes_behind_it_waits() {
    let (listener, url) = listener().await;
    let (alerts, events, recorder) = alerts(&url);
    ["one", "two"].into_iter().for_each(|text| tell(&events, text));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let taken = async {
        let mut texts = Vec::new();
        for status in ["500 Oh", "503 Busy", "429 Slow", "200 OK", "200 OK"] {
            texts.push(answer(&listener, status).await.1["text"].clone());
        }
        drop(stop);
        texts
    };
    let stopped = async { drop(stopped.await) };
    let (unsent, texts) = tokio::join!(alerts.run(stopped, LONG), taken);
    assert_eq!((unsent, texts), (0, ["one", "one", "one", "one", "two"].map(Value::from).to_vec()));
    assert_eq!(counted(&recorder), [2, 0, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_receiver_will_not_take_is_not_sent_again() {
    for status in ["400 Bad Request", "410 Gone", "308 Permanent Redirect"] {
        let (listener, url) = listener().await;
        let (alerts, events, recorder) = alerts(&url);
        ["one", "two"].into_iter().for_each(|text| tell(&events, text));
        let taken = async { [answer(&listener, status).await.1, answer(&listener, "200 OK").await.1] };
        let (unsent, taken) = tokio::join!(alerts.run(async {}, LONG), taken);
        assert_eq!((unsent, taken.map(|event| event["number"].clone())), (0, [1.into(), 2.into()]));
        assert_eq!(counted(&recorder), [1, 0, 1, 0, 0], "{status}");
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_dropped_and_counted_oldest_first() {
    let (listener, url) = listener().await;
    let (alerts, events, recorder) = alerts(&url);
    (1..=260).for_each(|n| tell(&events, &n.to_string()));
    let taken = async {
        let first = answer(&listener, "200 OK").await.1["number"].clone();
        for _ in 1..256 {
            answer(&listener, "200 OK").await;
        }
        first
    };
    let (unsent, first) = tokio::join!(alerts.run(async {}, LONG), taken);
    assert_eq!((unsent, first, counted(&recorder)), (0, 5.into(), [256, 4, 0, 0, 0]));
}

#[tokio::test]
async fn a_receiver_that_never_answers_does_not_outlast_the_last_words() {
    let (_listener, url) = listener().await;
    let (alerts, events, recorder) = alerts(&url);
    ["one", "two"].into_iter().for_each(|text| tell(&events, text));
    assert_eq!(alerts.run(async {}, Duration::from_millis(20)).await, 2);
    assert_eq!(counted(&recorder), [0, 0, 0, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_in_time_and_the_next_one_has_its_turn() {
    let (listener, url) = listener().await;
    let (alerts, events, recorder) = alerts(&url);
    ["one", "two"].into_iter().for_each(|text| tell(&events, text));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let taken = async {
        for _ in 0..TRIES {
            assert_eq!(answer(&listener, "500 Oh").await.1["text"], "one");
        }
        assert_eq!(answer(&listener, "200 OK").await.1["text"], "two");
        drop(stop);
    };
    let stopped = async { drop(stopped.await) };
    tokio::join!(alerts.run(stopped, LONG), taken);
    assert_eq!(counted(&recorder), [1, 0, 0, 1, 0]);
}
