//! The W3C's rules, one by one.

use super::*;

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn entered(fields: &[(&'static str, &str)], share: Option<f64>) -> Entered {
    enter(&headers(fields), share.map(Sampling::of))
}

#[test]
fn a_sampled_trace_goes_on_with_a_span_of_its_own_whatever_the_share() {
    for share in [0.0, 1.0] {
        let here = entered(&[("traceparent", SAMPLED), ("tracestate", "a=1")], Some(share));
        assert_eq!((here.trace.trace, here.trace.sampled, here.drops_state), (TRACE, true, false));
        assert_ne!(here.trace.span, 0xb7ad_6b71_6920_3331);
        let spans = here.spans.unwrap();
        assert_eq!((spans.parent, spans.state.as_str()), (Some(0xb7ad_6b71_6920_3331), "a=1"));
    }
}

#[test]
fn who_does_not_record_passes_on_what_came() {
    for (parent, share) in
        [(UNSAMPLED, Some(0.0)), (UNSAMPLED, Some(1.0)), (SAMPLED, None), (UNSAMPLED, None)]
    {
        // Not even a malformed state is touched: it is another's, and so is the parent.
        let here = entered(&[("traceparent", parent), ("tracestate", "not a state")], share);
        assert_eq!(here.trace.to_string(), parent, "{share:?}");
        assert!(here.spans.is_none() && !here.drops_state, "{share:?}");
    }
}

#[test]
fn without_a_parent_that_holds_a_trace_begins_and_what_stood_beside_it_goes() {
    let zero = "00-00000000000000000000000000000000-0000000000000000-01";
    for parents in [&[][..], &[zero], &["garbage"], &[SAMPLED, SAMPLED], &[SAMPLED, UNSAMPLED], &[""]] {
        let mut fields: Vec<_> = parents.iter().map(|parent| ("traceparent", *parent)).collect();
        fields.push(("tracestate", "a=1"));
        for (share, recorded) in [(None, false), (Some(0.0), false), (Some(1.0), true)] {
            let here = entered(&fields, share);
            assert!(
                here.trace.trace != 0 && here.trace.trace != TRACE && here.trace.span != 0,
                "{parents:?}"
            );
            assert_eq!(
                (here.trace.sampled, here.spans.is_some()),
                (recorded, recorded),
                "{parents:?} {share:?}"
            );
            assert!(here.drops_state, "{parents:?} {share:?}");
            assert!(here.spans.is_none_or(|spans| spans.parent.is_none() && spans.state.is_empty()));
        }
    }
    assert!(!entered(&[], Some(1.0)).drops_state);
}

#[test]
fn the_share_is_of_traces_and_their_ids_decide() {
    let half = Sampling::of(0.5);
    let all: Vec<_> = (0..200).map(|_| enter(&HeaderMap::new(), Some(half))).collect();
    assert!(all.iter().all(|here| here.spans.is_some() == half.takes(here.trace.trace)));
    // Both kinds come up, but for a chance of one in 2^199.
    assert!(all.iter().any(|here| here.spans.is_some()) && all.iter().any(|here| here.spans.is_none()));
}

#[test]
fn a_state_that_does_not_hold_is_dropped_and_the_trace_goes_on() {
    let long = format!("a={}", "x".repeat(300));
    let many: Vec<_> = (0..33).map(|at| format!("k{at}=1")).collect();
    for states in [&["novalue"][..], &["A=1"], &["a=1,a=2"], &["a=1", "a=2"], &[&long], &[&many.join(",")]] {
        let fields = states.iter().map(|state| ("tracestate", *state)).chain([("traceparent", SAMPLED)]);
        let here = entered(&fields.collect::<Vec<_>>(), Some(0.0));
        assert!(here.drops_state && here.trace.trace == TRACE, "{states:?}");
        assert_eq!(here.spans.unwrap().state, "", "{states:?}");
    }
}

#[test]
fn each_attempt_has_a_span_of_its_own_and_its_own_end() {
    use rhumb_decision::Attempt;
    use rhumb_decision::units::{EndpointId, RegionId};
    let at = |region| Attempt { region: RegionId(region), endpoint: EndpointId(0) };
    let attempt = |region, began| {
        let began = Duration::from_secs(began);
        CurrentAttempt::new(at(region), ([127, 0, 0, 1], 80).into(), began, false, (None, None))
    };
    let mut spans = Spans::default();
    spans.answered(200); // nobody was asked
    spans.begin(&attempt(0, 1));
    spans.failed(Failure::Reset, Duration::from_secs(2));
    spans.begin(&attempt(1, 3));
    spans.answered(503);
    spans.failed(Failure::Status(503), Duration::from_secs(4));
    spans.begin(&attempt(2, 5));
    spans.answered(200);
    let told: Vec<_> = spans
        .attempts
        .iter()
        .map(|a| (a.region.0, a.ended.map(|ended| ended.as_secs()), a.status, a.failure))
        .collect();
    assert_eq!(
        told,
        [(0, Some(2), None, Some("reset")), (1, Some(4), Some(503), None), (2, None, Some(200), None)]
    );
    let mut ids: Vec<_> = spans.attempts.iter().map(|attempt| attempt.span).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 3 && !ids.contains(&0));
    (0..100).for_each(|began| spans.begin(&attempt(0, began)));
    assert_eq!(spans.attempts.len(), MOST_ATTEMPTS);
}
