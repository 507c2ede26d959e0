use super::*;
use crate::table::CheckKind;

const CHECK: Check =
    Check { kind: CheckKind::Tcp, interval: Millis(2_000), timeout: Millis(1_000), rise: 2, fall: 3 };

/// An endpoint asked every interval.
#[derive(Default)]
struct Asked {
    checks: EndpointChecks,
    at: Millis,
}

impl Asked {
    fn probed(&mut self, seen: &Probed) -> bool {
        self.at = self.at.after(CHECK.interval);
        self.checks.probed(seen, Millis(self.at.0 - 7), self.at, &CHECK)
    }

    fn answers(&mut self, answer: Answer, times: usize) -> &mut Self {
        for _ in 0..times {
            self.probed(&Probed::plain(answer));
        }
        self
    }

    fn says(&mut self, capabilities: &[(&str, Status)], times: usize) -> &mut Self {
        for _ in 0..times {
            self.probed(&saying(capabilities));
        }
        self
    }
}

fn saying(capabilities: &[(&str, Status)]) -> Probed {
    let capabilities = capabilities.iter().map(|(name, status)| (Box::from(*name), *status)).collect();
    Probed { capabilities, ..Probed::plain(Answer::Up) }
}

#[test]
fn nobody_asked_means_unknown() {
    let checks = EndpointChecks::new();
    assert_eq!((checks.checked(), checks.passive()), (Status::Unknown, Passive::Trusted));
    assert!(!checks.checked().takes_traffic() && checks.round_trip().is_none());
}

#[test]
fn a_change_of_view_is_told_once() {
    let mut asked = Asked::default();
    assert!(asked.probed(&Probed::plain(Answer::Up)));
    assert!(!asked.probed(&Probed::plain(Answer::Up)));
    asked.answers(Answer::Down, 2);
    assert!(asked.probed(&Probed::plain(Answer::Down)), "the third in a row");
    assert!(!asked.probed(&Probed::plain(Answer::Down)));
}

#[test]
fn a_capability_goes_down_and_up_by_rows_of_its_own() {
    let mut asked = Asked::default();
    asked.says(&[("case.read", Status::Up), ("case.write", Status::Up)], 1);
    let write_down = saying(&[("case.read", Status::Up), ("case.write", Status::Down)]);
    assert!(!asked.probed(&write_down) && !asked.probed(&write_down) && asked.probed(&write_down));
    assert_eq!(asked.checks.capability("case.write"), Some(Status::Down));
    assert_eq!(asked.checks.capability("case.read"), Some(Status::Up));
    assert_eq!(asked.checks.checked(), Status::Up, "the endpoint itself is well");
    asked.says(&[("case.write", Status::Up)], 1);
    assert_eq!(asked.checks.capability("case.write"), Some(Status::Down));
    asked.says(&[("case.write", Status::Up)], 1);
    assert_eq!(asked.checks.capability("case.write"), Some(Status::Up));
}

#[test]
fn a_capability_no_longer_reported_follows_the_endpoint_after_a_while() {
    let mut asked = Asked::default();
    asked.says(&[("case.write", Status::Down)], 1).says(&[], 1);
    assert_eq!(asked.checks.capability("case.write"), Some(Status::Down));
    assert!(asked.probed(&saying(&[])), "silent for the second time");
    assert_eq!(asked.checks.capability("case.write"), None);
}

#[test]
fn bad_answers_leave_capabilities_alone() {
    let mut asked = Asked::default();
    asked.says(&[("case.write", Status::Down)], 1).answers(Answer::Down, 9);
    assert_eq!(asked.checks.capability("case.write"), Some(Status::Down));
}

#[test]
fn an_endpoint_comes_back_with_the_capabilities_it_reports_then() {
    let mut asked = Asked::default();
    asked.says(&[("case.write", Status::Up), ("case.old", Status::Down)], 5).answers(Answer::Down, 3);
    asked.says(&[("case.write", Status::Down)], 2);
    assert_eq!(asked.checks.checked(), Status::Up);
    assert_eq!(asked.checks.reported().collect::<Vec<_>>(), [("case.write", Status::Down)]);
}

#[test]
fn what_a_capability_cannot_be_is_not_heard() {
    let mut asked = Asked::default();
    let long = "x".repeat(MAX_NAME + 1);
    asked.says(
        &[("a", Status::Unknown), (long.as_str(), Status::Up), ("b", Status::Up), ("b", Status::Down)],
        9,
    );
    assert_eq!(asked.checks.reported().collect::<Vec<_>>(), [("b", Status::Up)], "b's first word counts");
}

#[test]
fn no_endpoint_reports_without_bound() {
    let mut asked = Asked::default();
    let names: Vec<String> = (0..10_000).map(|i| format!("case.{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), Status::Up)).collect();
    asked.says(&many, 2);
    assert_eq!(asked.checks.reported().len(), MAX_CAPABILITIES);
    let source = |i: usize| Replication { source: i.to_string().into(), lag: None, position: None };
    let replication = (0..10_000).map(source).collect();
    asked.probed(&Probed { replication, ..Probed::plain(Answer::Up) });
    assert_eq!(asked.checks.replication().len(), MAX_SOURCES);
}

#[test]
fn lag_and_position_are_as_last_reported_and_gone_with_the_endpoint() {
    let mut asked = Asked::default();
    let us =
        Replication { source: "us-east-1".into(), lag: Some(Millis(800)), position: Some("184467".into()) };
    asked.probed(&Probed {
        replication: vec![us],
        position: Some("184999".into()),
        ..Probed::plain(Answer::Degraded)
    });
    assert_eq!(asked.checks.lag_behind("us-east-1"), Some(Millis(800)));
    assert_eq!((asked.checks.position(), asked.checks.lag_behind("eu-west-1")), (Some("184999"), None));
    asked.answers(Answer::Down, 2);
    assert_eq!(asked.checks.lag_behind("us-east-1"), Some(Millis(800)), "it is not down yet");
    asked.answers(Answer::Down, 1);
    assert_eq!((asked.checks.lag_behind("us-east-1"), asked.checks.position()), (None, None));
}

#[test]
fn a_position_is_an_unsigned_decimal_and_anything_else_is_none() {
    let mut asked = Asked::default();
    let mut says = |text: &str| {
        let us = Replication { source: "us".into(), lag: None, position: Some(text.into()) };
        asked.probed(&Probed {
            replication: vec![us],
            position: Some(text.into()),
            ..Probed::plain(Answer::Up)
        });
        assert_eq!(asked.checks.position_reached(), asked.checks.reached_of("us"));
        asked.checks.position_reached()
    };
    assert_eq!((says("0"), says("007"), says("184467")), (Some(0), Some(7), Some(184_467)));
    assert_eq!(says("340282366920938463463374607431768211455"), Some(u128::MAX));
    for none in ["", "+7", "-7", " 7", "7 ", "0x7", "1e3", "0/16B3748", "٧", "7.0"] {
        assert_eq!(says(none), None, "{none:?}");
    }
    assert_eq!(says("340282366920938463463374607431768211456"), None, "one beyond what 128 bits hold");
}

#[test]
fn a_report_dates_from_when_it_was_asked_for_and_a_bad_answer_makes_it_no_newer() {
    let mut asked = Asked::default();
    assert_eq!(asked.checks.asked_at(), None);
    asked.answers(Answer::Up, 1);
    assert_eq!(asked.checks.asked_at(), Some(Millis(1_993)));
    asked.answers(Answer::Down, 2);
    assert_eq!(asked.checks.asked_at(), Some(Millis(1_993)), "what it said last is as old as before");
    asked.answers(Answer::Down, 1);
    assert_eq!(asked.checks.asked_at(), None);
}

#[test]
fn a_round_trip_moves_an_eighth_of_the_way() {
    let mut asked = Asked::default();
    let mut measured = |micros| {
        asked.probed(&Probed { round_trip: Some(Micros(micros)), ..Probed::plain(Answer::Up) });
        asked.checks.round_trip().unwrap().0
    };
    assert_eq!((measured(800), measured(1_600), measured(900)), (800, 900, 900));
    assert!((0..100).all(|_| measured(u64::MAX) <= 3_600_000_000), "an absurd sample is bounded");
    assert_eq!((0..300).map(|_| measured(5)).last(), Some(5), "small ones are reached");
}

#[test]
fn a_check_does_not_end_an_ejection_and_a_trial_does() {
    let mut asked = Asked::default();
    asked.answers(Answer::Up, 1);
    assert!(asked.checks.failed_in_a_row(asked.at, &CHECK));
    asked.answers(Answer::Up, 9);
    assert_eq!(asked.checks.passive(), Passive::Ejected);
    let wake = asked.checks.trust.next_wake().unwrap();
    assert!(asked.checks.tick(wake) && asked.checks.passive() == Passive::OnTrial(1));
    asked.answers(Answer::Down, 3);
    assert!(asked.checks.succeeded() && asked.checks.passive() == Passive::Trusted);
    assert_eq!(asked.checks.checked(), Status::Down, "that is for its checks to say");
}

#[test]
fn codes_are_read_as_written() {
    assert_eq!(Answer::of_code("DEGRADED"), Some(Answer::Degraded));
    assert!(["", "up", "UNKNOWN", "OUT_OF_SERVICE"].iter().all(|code| Answer::of_code(code).is_none()));
}
