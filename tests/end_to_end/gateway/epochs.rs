//! Epochs: what a gateway refuses for them, what it learns by them, and what an edge makes of that.

use rhumb::lab::{Fault, Then};

use super::world::{ByHand, EU, HOST, US, as_gateway, before, by_hand, gateway, own_table, with_keys};
use crate::harness::{Edge, Routing, Toy, edge, faulty, get, post, toy};

const AT_EU: &str = r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#;
const AT_US: &str = r#"home = "us-east-1", standby = ["eu-west-1"], epoch = 8"#;

fn under(owner: &str, epoch: &str) -> ByHand {
    by_hand().with("X-Owner-Region", &[owner]).with("X-Owner-Epoch", &[epoch])
}

fn mismatches(edge: &Edge, region: &str) -> f64 {
    edge.metric("rhumb_epoch_mismatch_total", &[("region", region)])
}

#[test]
fn a_write_under_an_older_ownership_is_told_what_holds() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let refused = under(EU, "6").to(&at_eu);
    assert_eq!((refused.status, refused.refusal().as_str()), (409, "stale_epoch"));
    for (name, value) in [("x-rhumb-refusal", "stale_epoch"), ("x-owner-region", EU), ("x-owner-epoch", "7")]
    {
        assert_eq!(refused.header(name), Some(value), "{name}");
    }
    assert_eq!(under(EU, "6").read().to(&at_eu).region(), EU, "a read passes");
    let strong = at_eu.ask(&under(EU, "6").read().signed().header("X-Consistency", "strong"));
    assert_eq!(strong.region(), EU, "this region is the owner, under whatever epoch");
    assert_eq!(eu.requests_seen(), 2);
    assert_eq!(mismatches(&at_eu, EU), 1.0);
}

#[test]
fn a_region_that_is_not_the_owner_takes_no_write() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_US).start();
    let agreed = under(US, "8").to(&at_eu);
    assert_eq!((agreed.status, agreed.header("x-owner-region")), (409, Some(US)));
    let strong = at_eu.ask(&under(US, "8").read().signed().header("X-Consistency", "strong"));
    assert_eq!(strong.refusal(), "stale_epoch", "nor a strong read");
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_higher_epoch_is_news_that_outlives_the_process() {
    let eu = toy(EU);
    let mut at_eu = gateway(&eu, AT_EU).start();
    assert_eq!(under(US, "9").to(&at_eu).refusal(), "stale_epoch");
    let behind = under(EU, "7").to(&at_eu);
    assert_eq!(
        (behind.status, behind.header("x-owner-region"), behind.header("x-owner-epoch")),
        (409, Some(US), Some("9"))
    );
    let at_eu = at_eu.kill_and_start_again();
    let behind = under(EU, "7").to(&at_eu);
    assert_eq!(
        (behind.status, behind.header("x-owner-region"), behind.header("x-owner-epoch")),
        (409, Some(US), Some("9"))
    );
    assert_eq!(under(EU, "10").to(&at_eu).region(), EU, "and what comes back under a higher one passes");
    assert_eq!(under(US, "9").to(&at_eu).header("x-owner-epoch"), Some("10"));
    assert_eq!(eu.requests_seen(), 1);
}

#[test]
fn a_read_tells_news_too() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    assert_eq!(under(US, "9").read().to(&at_eu).region(), EU);
    assert_eq!(under(EU, "7").to(&at_eu).header("x-owner-epoch"), Some("9"));
}

#[test]
fn two_owners_at_one_epoch_stop_writes() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    for _ in 0..2 {
        let refused = under(US, "7").to(&at_eu);
        assert_eq!((refused.status, refused.refusal().as_str()), (503, "split_brain"));
    }
    assert_eq!(under(EU, "7").to(&at_eu).refusal(), "split_brain", "for those who agree as well");
    assert_eq!(under(EU, "7").read().to(&at_eu).region(), EU);
    assert_eq!(under(EU, "8").to(&at_eu).region(), EU, "a higher epoch ends it");
    assert_eq!(eu.requests_seen(), 2);
}

/// Both regions behind their gateways, which know that acme has moved, and an edge that does not.
struct Behind {
    eu: Toy,
    us: Toy,
    at_eu: Edge,
    _at_us: Edge,
    edge: Edge,
}

fn behind() -> Behind {
    let (eu, us) = (toy(EU), toy(US));
    let (at_eu, at_us) = (gateway(&eu, AT_US).start(), gateway(&us, AT_US).start());
    let edge = before(&[(EU, &at_eu), (US, &at_us)], AT_EU).start();
    Behind { eu, us, at_eu, _at_us: at_us, edge }
}

#[test]
fn an_edge_that_is_behind_learns_and_sends_the_write_once_more() {
    let world = behind();
    let answer = world.edge.ask(&post(HOST, "/v1/cases").header("X-Marker", "one"));
    assert_eq!(answer.region(), US);
    assert_eq!(answer.seen("x-owner-epoch").as_deref(), Some("8"));
    assert_eq!(answer.seen("x-owner-region").as_deref(), Some(US));
    assert_eq!(answer.json()["body"].as_str().unwrap_or("hello"), "hello");
    assert_eq!(mismatches(&world.edge, EU), 1.0);
    assert_eq!(world.edge.ask(&post(HOST, "/v1/cases")).region(), US);
    assert_eq!(mismatches(&world.edge, EU), 1.0, "the next one knows where to go");
    assert_eq!((world.eu.writes_seen(), world.us.writes_seen()), (0, 2));
    assert_eq!(mismatches(&world.at_eu, EU), 1.0);
    assert_eq!(
        world.edge.metric("rhumb_retries_total", &[("region", US), ("kind", "epoch"), ("outcome", "again")]),
        1.0
    );
}

#[test]
fn what_an_edge_learnt_outlives_it() {
    let mut world = behind();
    assert_eq!(world.edge.ask(&post(HOST, "/")).region(), US);
    let edge = world.edge.kill_and_start_again();
    assert_eq!(edge.ask(&post(HOST, "/")).region(), US);
    assert_eq!(mismatches(&edge, EU), 0.0, "it was not told again");
}

/// Says what a gateway says that knows a newer owner, once it has read the whole request.
fn stale(owner: &str, epoch: &str) -> Fault {
    Fault::raw(
        format!(
            "HTTP/1.1 409 Conflict\r\nX-Rhumb-Refusal: stale_epoch\r\nX-Owner-Region: {owner}\r\n\
             X-Owner-Epoch: {epoch}\r\nContent-Length: 2\r\n\r\n{{}}"
        ),
        Then::Keep,
    )
}

/// An edge before a scripted region in `eu-west-1`, which is a gateway or is not, and a plain one.
fn scripted(is_gateway: bool, fault: Fault) -> (crate::harness::Faulty, Toy, Edge) {
    let (eu, us) = (faulty(EU), toy(US));
    eu.otherwise(fault);
    let table = Routing::of(&[&eu, &us]).region(EU, "gateway", &is_gateway.to_string()).tenant("acme", AT_EU);
    let edge = edge(&table).start();
    (eu, us, edge)
}

#[test]
fn a_body_that_was_not_kept_is_not_sent_again() {
    let (eu, us, edge) = scripted(true, stale(US, "8"));
    let large = post(HOST, "/").body(vec![b'x'; 300_000]);
    let refused = edge.ask(&large);
    assert_eq!(refused.status, 409, "{}", refused.text());
    for name in ["x-rhumb-refusal", "x-owner-region", "x-owner-epoch"] {
        assert_eq!(refused.header(name), None, "{name} is not for clients");
    }
    assert_eq!((eu.requests().len(), us.writes_seen()), (1, 0));
    assert_eq!(mismatches(&edge, EU), 1.0);
    assert_eq!(edge.ask(&large).region(), US, "but what it was told holds for the next one");
    assert_eq!(edge.metric("rhumb_refusals_total", &[("reason", "stale_epoch")]), 1.0);
}

#[test]
fn a_gateway_that_says_so_for_ever_is_asked_once_more_at_most() {
    let (eu, us, edge) = scripted(true, stale(EU, "12"));
    eu.script([stale(EU, "9"), stale(EU, "10"), stale(EU, "11")]);
    let refused = edge.ask(&post(HOST, "/"));
    assert_eq!((refused.status, eu.requests().len()), (409, 2), "though each told something new");
    assert_eq!(us.writes_seen(), 0);
    assert_eq!(mismatches(&edge, EU), 2.0);
}

#[test]
fn a_gateway_that_tells_nothing_new_is_not_asked_again() {
    let (eu, _us, edge) = scripted(true, stale(EU, "7"));
    assert_eq!((edge.ask(&post(HOST, "/")).status, eu.requests().len()), (409, 1));
}

#[test]
fn a_plain_region_says_nothing_of_ownership() {
    let (eu, us, edge) = scripted(false, stale(US, "8"));
    for asked in 1..=2 {
        let passed = edge.ask(&post(HOST, "/"));
        assert_eq!((passed.status, passed.text().as_str(), eu.requests().len()), (409, "{}", asked));
        for name in ["x-rhumb-refusal", "x-owner-region", "x-owner-epoch"] {
            assert_eq!(passed.header(name), None, "{name}");
        }
    }
    assert_eq!((us.writes_seen(), mismatches(&edge, EU)), (0, 0.0));
}

#[test]
fn a_gateways_word_that_makes_no_sense_changes_nothing() {
    for (owner, epoch) in [
        (US, "-1"),
        (US, "eight"),
        (US, "18446744073709551615"),
        (US, "8\r\nX-Owner-Epoch: 9"),
        ("u s", "8"),
        (US, "6"),
        ("", "8"),
    ] {
        let (eu, us, edge) = scripted(true, stale(owner, epoch));
        let refused = edge.ask(&post(HOST, "/"));
        assert_eq!((refused.status, eu.requests().len(), us.writes_seen()), (409, 1, 0), "{owner}@{epoch}");
        let again = edge.ask(&post(HOST, "/"));
        assert_eq!((again.status, us.writes_seen()), (409, 0), "{owner}@{epoch}: acme stays where it was");
    }
}

#[test]
fn a_strong_read_follows_the_newer_owner() {
    let world = behind();
    let answer = world.edge.ask(&get(HOST, "/").header("X-Consistency", "strong"));
    assert_eq!(answer.region(), US);
    assert_eq!(world.eu.requests_seen(), 0);
}

#[test]
fn over_http_2_an_edge_learns_as_well() {
    let (eu, us) = (toy(EU), toy(US));
    let h2c = |own: &Toy| gateway(own, AT_US).listener("h2c = true").start();
    let (at_eu, at_us) = (h2c(&eu), h2c(&us));
    let places = [(EU, at_eu.listener(1)), (US, at_us.listener(1))];
    let table = Routing::of(&[&places[0], &places[1]])
        .every_region("gateway", "true")
        .every_region("http", "2")
        .tenant("acme", AT_EU);
    let edge = with_keys(edge(&table).set("signature", "keys_file = \"sign.keys\""), "sign.keys").start();
    let answer = edge.ask(&post(HOST, "/v1/cases?a=b"));
    assert_eq!((answer.region().as_str(), answer.seen("x-region-hops").as_deref()), (US, Some("2")));
    assert_eq!((mismatches(&edge, EU), eu.writes_seen(), us.writes_seen()), (1.0, 0, 1));
}

#[test]
fn where_many_write_a_gateway_passes_what_its_region_may_own_and_learns_nothing_by_it() {
    let (eu, us) = (toy(EU), toy(US));
    let many = "[policies.many]\ntopology = \"active-active\"";
    let tenant = r#"home = "us-east-1", standby = ["eu-west-1"], epoch = 7, policy = "many""#;
    let at_eu = as_gateway(&eu, &own_table(&eu, tenant).and(many)).start();
    let local =
        |owner: &str, epoch: &str| under(owner, epoch).with("X-Request-Region-Policy", &["many"]).to(&at_eu);
    assert_eq!(local(EU, "7").region(), EU, "the owner that is shown is who takes it");
    assert_eq!(local(EU, "9").region(), EU);
    assert_eq!(local(EU, "6").region(), EU);
    let strong = under(US, "7").with("X-Request-Region-Policy", &["many"]).read().signed();
    let strong = at_eu.ask(&strong.header("X-Consistency", "strong"));
    assert_eq!((strong.status, strong.header("x-owner-epoch")), (409, Some("7")), "nobody learnt of 9");
    let table = own_table(&eu, r#"home = "us-east-1", epoch = 7, policy = "many""#).and(many);
    let may_not = as_gateway(&eu, &table).start();
    let refused = under(EU, "7").with("X-Request-Region-Policy", &["many"]).to(&may_not);
    assert_eq!((refused.status, refused.header("x-owner-region")), (409, Some(US)));
    drop(us);
}
