//! Each key, good and bad: tenancy, regions, routes, classes, placements, safety.

use rhumb_decision::spiffe::Template;
use rhumb_decision::table::{
    Address, CertificateSource, CheckKind, HostPattern, HostTemplate, Operation, PathPattern, PathTemplate,
    PlacementRule, Role, Source,
};
use rhumb_decision::units::{Millis, RegionId, Weight};

use super::*;

fn region(text: &str) -> rhumb_decision::table::Region {
    let table = with(&format!("[regions.ap]\njurisdiction = \"ap\"\n{text}"));
    table.regions()[0].clone()
}

fn endpoints(text: &str) -> Vec<Address> {
    region(&format!("endpoints = {text}")).endpoints.iter().map(|e| e.address.clone()).collect()
}

#[test]
fn tenants_are_looked_for_where_tenancy_says() {
    let text = LEAST.replace(
        "{ header = \"X-Tenant-ID\" }",
        "{ host = \"App-{tenant}.App.Example.\" }, { header = \"X-Tenant-ID\" }, { path = \"/t/{tenant}/api/\" }, \
         { certificate = \"uri\" }, { certificate = \"subject\" }, \
         { certificate = \"spiffe://prod.example/t/{tenant}/*\" }",
    );
    let template = Template::parse("spiffe://prod.example/t/{tenant}/*").unwrap();
    let table = parse(&text).unwrap();
    assert_eq!(
        *table.tenancy().sources,
        [
            Source::Host(HostTemplate { before: "app-".into(), after: ".app.example".into() }),
            Source::Header("x-tenant-id".into()),
            Source::Path(PathTemplate { before: "/t/".into(), after: "/api".into() }),
            Source::Certificate(CertificateSource::Uri),
            Source::Certificate(CertificateSource::Subject),
            Source::Certificate(CertificateSource::Template(template)),
        ]
    );
}

#[test]
fn a_place_of_the_tenant_that_cannot_be_is_told() {
    let wrong = |source: &str| {
        let found = told(&LEAST.replace("{ header = \"X-Tenant-ID\" }", source));
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        found[0].strip_prefix("line 2, tenancy.from[0]").unwrap_or(&found[0]).to_owned()
    };
    for (source, part) in [
        ("{}", ": says nothing of where"),
        ("{ header = \"a\", path = \"/{tenant}\" }", ": says more than one place"),
        ("{ host = \"app.example\" }", "write {tenant} where the tenant stands, once"),
        ("{ host = \"{tenant}.{tenant}\" }", "once"),
        ("{ host = \"{tenant}.app.example:80\" }", "leave out the port"),
        ("{ host = \"{tenant}..example\" }", "is no host template"),
        ("{ host = \"*.{tenant}\" }", "is no host template"),
        (
            "{ certificate = \"cn\" }",
            "names no part of a certificate; write \"uri\", \"subject\", or a SPIFFE id",
        ),
        ("{ certificate = \"spiffe://prod.example/tenant\" }", "names no part of a certificate"),
        ("{ certificate = \"spiffe://{tenant}/tenant\" }", "names no part of a certificate"),
        ("{ certificate = \"urn:{tenant}\" }", "names no part of a certificate"),
        ("{ certificate = true }", "must be \"uri\", \"subject\" or a SPIFFE id"),
        ("{ certificate = \"uri\", header = \"a\" }", ": says more than one place"),
        ("{ header = \"X Tenant\" }", "is no header name"),
        ("{ header = \"\" }", "is no header name"),
        ("{ path = \"/t/tenant\" }", "write {tenant} where"),
        ("{ path = \"t/{tenant}\" }", "begin with a slash"),
        ("{ path = \"/t-{tenant}\" }", "is a whole segment"),
        ("{ path = \"/t/{tenant}.json\" }", "is a whole segment"),
        ("{ path = \"/../{tenant}\" }", "no request has such a path (dot segment)"),
        ("{ path = \"/t/{tenant}?x\" }", "is a whole segment"),
        ("{ path = \"/t/{tenant}/a?x\" }", "leave out the query"),
    ] {
        let message = wrong(source);
        assert!(message.contains(part), "{source}: {message}");
    }
}

#[test]
fn a_session_is_a_cookie() {
    let text = |session: &str| LEAST.replace("[regions.eu]", &format!("session = {session}\n[regions.eu]"));
    let table = parse(&text("{ cookie = \"sid\" }")).unwrap();
    assert_eq!(table.tenancy().session_cookie.as_deref(), Some("sid"));
    assert!(told(&text("{}"))[0].starts_with("line 3, tenancy.session.cookie: is missing"));
    assert!(told(&text("{ cookie = \"a=b\" }"))[0].contains("is no cookie name"));
}

#[test]
fn a_region_has_every_documented_default() {
    let region = region("endpoints = [\"127.0.0.1:3\"]");
    assert_eq!((region.role, region.weight, region.near.is_none()), (Role::Active, Weight::FULL, true));
    assert_eq!(
        (region.capacity, region.max_in_flight, region.gateway, region.http2),
        (None, None, false, false)
    );
    assert_eq!(region.check.kind, CheckKind::Http { path: "/health".into() });
    assert_eq!((region.check.interval, region.check.timeout), (Millis(2_000), Millis(1_000)));
    assert_eq!((region.check.rise, region.check.fall), (2, 3));
    assert!(region.tls.is_none() && region.cells.is_empty() && region.countries.is_empty());
}

#[test]
fn a_region_that_takes_nothing_needs_no_endpoint() {
    for endpoints in ["", "endpoints = []\n"] {
        let off = region(&format!("role = \"off\"\n{endpoints}"));
        assert!(off.role == Role::Off && off.endpoints.is_empty());
        for role in ["active", "standby", "read-only"] {
            let message =
                wrong(&format!("[regions.ap]\njurisdiction = \"ap\"\nrole = \"{role}\"\n{endpoints}"));
            assert!(
                message.contains("regions.ap.endpoints: the region has no endpoint"),
                "{role}: {message}"
            );
        }
    }
}

#[test]
fn a_region_takes_every_key() {
    let region = region(
        r#"endpoints = [
  { address = "10.1.0.10:8080", zone = "ap-1a", cell = "a", weight = 3 },
  { address = "[::1]:80", cell = "b" },
]
near = ["us", "eu"]
weight = 25
role = "read-only"
countries = ["JP", "KR"]
capacity = 20000
max_in_flight = 4000
gateway = true
http = 2
health = { check = "tcp", interval = "500ms", rise = 1 }
cells = { a = { weight = 50 }, b = {} }
"#,
    );
    let first = &region.endpoints[0];
    assert_eq!((first.zone.as_deref(), first.cell.map(|c| c.0), first.weight), (Some("ap-1a"), Some(0), 3));
    assert_eq!((region.endpoints[1].cell.map(|c| c.0), region.endpoints[1].weight), (Some(1), 1));
    assert_eq!(region.near.as_deref(), Some(&[RegionId(2), RegionId(1)][..]));
    assert_eq!((region.weight, region.role, region.gateway), (Weight::percent(25), Role::ReadOnly, true));
    assert_eq!(*region.countries, [*b"JP", *b"KR"]);
    assert_eq!((region.capacity, region.max_in_flight), (Some(20_000), Some(4_000)));
    assert_eq!(region.check.kind, CheckKind::Tcp);
    assert_eq!((region.check.interval, region.check.rise, region.check.fall), (Millis(500), 1, 3));
    let cells: Vec<_> = region.cells.iter().map(|c| (c.name.as_ref(), c.weight)).collect();
    assert_eq!(cells, [("a", Weight::percent(50)), ("b", Weight::FULL)]);
}

#[test]
fn endpoints_are_addresses_names_and_services() {
    let name = |host: &str, port| Address::Name { host: host.into(), port };
    assert_eq!(
        endpoints(
            r#"["10.1.0.10:8080", "[2001:db8::1]:80", "EU.internal:8080", "db_1.eu.internal.:1", "localhost:65535"]"#
        ),
        [
            Address::Socket("10.1.0.10:8080".parse().unwrap()),
            Address::Socket("[2001:db8::1]:80".parse().unwrap()),
            name("eu.internal", 8080),
            name("db_1.eu.internal.", 1),
            name("localhost", 65535),
        ]
    );
    assert_eq!(
        endpoints(r#"["srv:_http._tcp.eu.internal", "_http._tcp.us.internal", "srv:plain.internal"]"#),
        [
            Address::Service("_http._tcp.eu.internal".into()),
            Address::Service("_http._tcp.us.internal".into()),
            Address::Service("plain.internal".into()),
        ]
    );
}

#[test]
fn an_endpoint_that_cannot_be_is_told_with_what_to_write() {
    for (endpoint, part) in [
        (r#""10.1.0.10""#, "write the port too, such as \"10.1.0.10:8080\""),
        (r#""::1""#, "write the port too, such as \"[::1]:8080\""),
        (r#""eu.internal""#, "write the port too, such as \"eu.internal:8080\""),
        (r#""eu.internal:""#, "a port is a number from 1 to 65535"),
        (r#""eu.internal:0""#, "a port is a number from 1 to 65535"),
        (r#""10.1.0.10:0""#, "a port is a number from 1 to 65535"),
        (r#""eu.internal:+80""#, "a port is a number from 1 to 65535"),
        (r#""10.1.0.999:80""#, "is no endpoint; write one such as"),
        (r#""eu internal:80""#, "is no endpoint; write one such as"),
        (r#""http://eu.internal:80/x""#, "write \"eu.internal:80\" without http://"),
        (r#""srv:_http._tcp.eu:80""#, "without a port"),
        (r#""""#, "is no endpoint"),
        ("{}", "address: is missing"),
        (r#"{ address = "x:1", weight = 0 }"#, "weight: must be a whole number from 1 to 1000, not 0"),
        (r#"{ address = "x:1", weight = 1001 }"#, "weight: must be a whole number from 1 to 1000, not 1001"),
        (r#"{ address = "x:1", zone = "a b" }"#, "a name must not hold ' '"),
        (r#"{ address = "x:1", cell = "a" }"#, "there is no cell \"a\""),
        (r#""x:1", "x:1""#, "x:1 is named twice"),
        ("3", "must be a text in quotes or a table, not 3"),
    ] {
        let message = wrong_region(&format!("endpoints = [{endpoint}]"));
        assert!(message.starts_with("endpoints[") && message.contains(part), "{endpoint}: {message}");
    }
}

#[test]
fn a_region_key_that_cannot_be_is_told() {
    for (key, message) in [
        (
            "jurisdiction = \"a b\"",
            "jurisdiction: a name must not hold ' '; write letters, digits, dots, underscores and dashes",
        ),
        ("weight = 101", "weight: must be a whole number from 0 to 100, not 101"),
        ("weight = -1", "weight: must be a whole number from 0 to 100, not -1"),
        ("role = \"readonly\"", "role: must not be \"readonly\"; did you mean \"read-only\"?"),
        ("countries = [\"de\"]", "countries[0]: \"de\" is not in capitals; write \"DE\""),
        ("countries = [\"DEU\"]", "countries[0]: \"DEU\" is no country; write two letters such as \"DE\""),
        ("capacity = 0", "capacity: must be a whole number from 1 to 4294967295, not 0"),
        ("max_in_flight = \"9\"", "max_in_flight: must be a whole number from 1 to 4294967295, not \"9\""),
        ("near = [\"ap\"]", "near[0]: a region is not near itself; leave it out"),
        ("near = [\"eu\", \"eu\"]", "near[1]: \"eu\" is named twice; name each region once"),
        ("http = 3", "http: must be a whole number from 1 to 2, not 3"),
        (
            "health = { check = \"tcp\", path = \"/x\" }",
            "health.path: check = \"tcp\" connects only and asks for no path; leave it out",
        ),
        ("health = { check = \"icmp\" }", "health.check: must not be \"icmp\"; write \"http\" or \"tcp\""),
        (
            "health = { path = \"health\" }",
            "health.path: \"health\" is no path; write one such as \"/health\"",
        ),
        ("health = { interval = \"1ms\" }", "health.interval: 1ms is too short; write at least \"10ms\""),
        ("health = { timeout = \"0s\" }", "health.timeout: 0s is too short; write at least \"1ms\""),
        ("health = { rise = 0 }", "health.rise: must be a whole number from 1 to 1000, not 0"),
        ("health = { fall = 0 }", "health.fall: must be a whole number from 1 to 1000, not 0"),
    ] {
        assert_eq!(wrong_region(key), message, "{key}");
    }
}

#[test]
fn cells_and_endpoints_belong_together() {
    let told = |cells: &str, endpoint: &str| {
        told(&format!(
            "{LEAST}[regions.ap]\njurisdiction = \"ap\"\ncells = {cells}\nendpoints = [{endpoint}]\n"
        ))
    };
    let of_a = "{ address = \"x:1\", cell = \"a\" }";
    assert_eq!(
        told("{ a = { weight = 101 } }", of_a),
        ["line 10, regions.ap.cells.a.weight: must be a whole number from 0 to 100, not 101"]
    );
    assert_eq!(
        told("{ a = {}, b = {} }", of_a),
        ["line 10, regions.ap.cells.b: no endpoint belongs to cell \"b\"; give an endpoint cell = \"b\""]
    );
    assert_eq!(
        told("{ a = {} }", &format!("{of_a}, \"x:2\"")),
        [
            "line 11, regions.ap.endpoints[1]: the region has cells, and x:2 names none; write { address = \"…\", cell = \"…\" }"
        ]
    );
    assert_eq!(told("{ a = 1 }", "\"x:1\""), ["line 10, regions.ap.cells.a: must be a table, not 1"]);
}

#[test]
fn names_that_could_not_stand_in_a_header_are_told() {
    for section in ["policies", "data_classes", "placements"] {
        let value = match section {
            "data_classes" => "{ jurisdictions = [\"eu\"] }",
            "placements" => "{ by = \"geo\" }",
            _ => "{}",
        };
        let message = wrong(&format!("[{section}]\n\"a b\" = {value}"));
        assert!(
            message.starts_with(&format!("line 9, {section}.\"a b\": a name must not hold ' '")),
            "{message}"
        );
    }
}

#[test]
fn a_route_takes_every_key() {
    let table = with(
        r#"[data_classes.evidence]
jurisdictions = ["eu"]
[policies.fast]
[[routes]]
name = "case-search"
host = "*.App.Example"
path = "/v1/c%61ses/search/"
methods = ["POST", "PURGE"]
operation = "read"
service = "case-service"
capability = "case.search"
data_class = "evidence"
consistency = "strong"
policy = "fast"
[[routes]]
host = "api.app.example"
path = "=/v1/"
consistency = "local"
[[routes]]
path = "/"
"#,
    );
    let route = &table.routes()[0];
    assert_eq!(route.name.as_ref(), "case-search");
    assert_eq!(route.host, Some(HostPattern::Under(".app.example".into())));
    assert_eq!(route.path, Some(PathPattern::Under("/v1/cases/search".into())));
    assert_eq!(route.methods.as_deref(), Some(&["POST".into(), "PURGE".into()][..]));
    assert_eq!(route.operation, Some(Operation::Read));
    assert_eq!(table.service_name(route.service), "case-service");
    assert_eq!(route.capability.map(|id| table.capability_name(id)), Some("case.search"));
    assert_eq!(route.class.and_then(|id| table.class(id)).map(|class| class.name.as_ref()), Some("evidence"));
    assert_eq!(route.policy.and_then(|id| table.policy(id)).map(|policy| policy.name.as_ref()), Some("fast"));
    assert!(route.strong && !table.routes()[1].strong);
    assert_eq!(table.routes()[1].host, Some(HostPattern::Exact("api.app.example".into())));
    assert_eq!(table.routes()[1].path, Some(PathPattern::Exact("/v1/".into())));
    assert_eq!(table.routes()[2].path, Some(PathPattern::Under("".into())));
    assert_eq!(table.routes()[2].name.as_ref(), "route-2");
}

#[test]
fn a_route_key_that_cannot_be_is_told() {
    for (key, part) in [
        ("host = \"app.*\"", "a star stands in front only"),
        ("host = \"*\"", "a star stands in front only"),
        ("host = \"app.example:80\"", "leave out the port"),
        ("host = \"a b\"", "is no host pattern"),
        ("path = \"v1\"", "begin with a slash"),
        ("path = \"=v1\"", "begin with a slash"),
        ("path = \"/v1/*\"", "covers all below it already"),
        ("path = \"/v1?x=1\"", "leave out the query"),
        ("path = \"/v1/../x\"", "(dot segment)"),
        ("path = \"/v1/%2e%2e/x\"", "(dot segment)"),
        ("path = \"/v1#x\"", "(fragment)"),
        ("path = \"/v 1\"", "(target byte)"),
        ("methods = [\"post\"]", "\"post\" is not the method POST; write \"POST\""),
        ("methods = [\"TRACE\"]", "TRACE is refused from everyone"),
        ("methods = [\"A B\"]", "is no method"),
        ("methods = []", "the list is empty"),
        ("operation = \"delete\"", "must not be \"delete\"; write \"read\" or \"write\""),
        ("consistency = \"session\"", "a route cannot ask for \"session\""),
        ("consistency = \"weak\"", "must not be \"weak\"; write \"strong\" or \"local\""),
        ("data_class = \"evidence\"", "there is no data class \"evidence\""),
        ("policy = \"defualt\"", "did you mean \"default\"?"),
        ("name = \"\"", "the name is empty"),
        ("service = \"a b\"", "a name must not hold ' '"),
        ("capability = 3", "must be a name in quotes, not 3"),
    ] {
        let message = wrong(&format!("[[routes]]\n{key}"));
        assert!(message.starts_with("line 9, routes[0].") && message.contains(part), "{key}: {message}");
    }
    let message = wrong("[[routes]]\noperation = \"write\"\nconsistency = \"strong\"");
    assert!(message.starts_with("line 10, routes[0].consistency: consistency is for reads"), "{message}");
    let message = wrong("[[routes]]\nname = \"a\"\n[[routes]]\nname = \"a\"");
    assert!(message.starts_with("line 11, routes[1].name: there is another route \"a\" above"), "{message}");
}

#[test]
fn the_number_of_a_route_counts_bad_ones_too() {
    let found = told(&format!("{LEAST}[[routes]]\npath = 1\n[[routes]]\npolicy = \"x\"\n"));
    assert!(found[0].starts_with("line 9, routes[0].path"), "{found:?}");
    assert!(found[1].starts_with("line 11, routes[1].policy"), "{found:?}");
}

#[test]
fn every_placement_is_read() {
    let table = with(
        r#"[placements]
a = { by = "nearest" }
b = { by = "latency" }
c = { by = "geo" }
d = { by = "weighted", shares = { us = 70, eu = 30 } }
e = { by = "primary", order = ["us", "eu"] }
f = { by = "schedule", hours = { "00-08" = "us", "08-24" = "eu" } }
"#,
    );
    let rules: Vec<_> = table.placements().iter().map(|placement| placement.by.clone()).collect();
    let (eu, us) = (RegionId(0), RegionId(1));
    let mut hours = [eu; 24];
    hours[..8].fill(us);
    assert_eq!(
        rules,
        [
            PlacementRule::Nearest,
            PlacementRule::Latency,
            PlacementRule::Geo,
            PlacementRule::Weighted([(eu, 30), (us, 70)].into()),
            PlacementRule::Primary([us, eu].into()),
            PlacementRule::Schedule(Box::new(hours)),
        ]
    );
}

#[test]
fn a_placement_that_cannot_be_is_told() {
    for (placement, part) in [
        ("{}", "by: is missing; write by ="),
        ("{ by = \"near\" }", "by: must not be \"near\""),
        ("{ by = \"geo\", order = [\"eu\"] }", "order: goes with by = \"primary\" only"),
        ("{ by = \"weighted\" }", "shares: the shares add up to 0"),
        ("{ by = \"weighted\", shares = { eu = 0 } }", "shares: the shares add up to 0"),
        ("{ by = \"weighted\", shares = { eu = -1 } }", "shares.eu: must be a whole number"),
        ("{ by = \"weighted\", shares = { eu = 1, uk = 1 } }", "shares.uk: there is no region \"uk\""),
        ("{ by = \"primary\", order = [] }", "order: the order is empty"),
        ("{ by = \"primary\", order = [\"uk\"] }", "order[0]: there is no region \"uk\""),
        ("{ by = \"schedule\", hours = { \"00-08\" = \"eu\" } }", "hours: no span covers the hour 08"),
        ("{ by = \"schedule\", hours = { \"0-24\" = \"eu\" } }", "hours.0-24: \"0-24\" is no span of hours"),
        ("{ by = \"schedule\", hours = { \"20-06\" = \"eu\" } }", "ends before it begins; write two spans"),
        ("{ by = \"schedule\", hours = { \"00-25\" = \"eu\" } }", "is no span of hours"),
        ("{ by = \"schedule\", hours = { \"00-24\" = \"uk\" } }", "hours.00-24: there is no region \"uk\""),
        (
            "{ by = \"schedule\", hours = { \"00-24\" = \"eu\", \"10-11\" = \"us\" } }",
            "covers an hour that another",
        ),
    ] {
        let found = told(&format!("{LEAST}[placements]\np = {placement}\n"));
        assert!(
            found[0].starts_with("line 9, placements.p.") && found[0].contains(part),
            "{placement}: {found:?}"
        );
        // An unknown region leaves its hours uncovered; all else is one problem.
        assert!(found.len() == 1 || placement.contains("00-24\" = \"uk"), "{placement}: {found:?}");
    }
    assert!(wrong("[placements.reject]\nby = \"geo\"").contains("cannot be named reject"));
}

#[test]
fn classes_and_safety_are_held_against_the_regions() {
    let table = with(
        "[data_classes.e]\njurisdictions = [\"us\"]\n[safety]\nmin_regions_serving = 2\nmax_drained_share = 1\nmax_moved_share = 0.25\nrequire_residency = true",
    );
    assert_eq!((table.safety().min_regions_serving, table.safety().max_drained_share), (2, 1.0));
    assert!(table.safety().require_residency);
    assert!((table.safety().max_moved_share - 0.25).abs() < 1e-9);
    assert!((with("").safety().max_moved_share - 1.0).abs() < 1e-9, "one command may move everybody");
    for (text, message) in [
        ("[data_classes.e]", "data_classes.e.jurisdictions: is missing; write jurisdictions = [\"eu\"]"),
        (
            "[data_classes]\ne.jurisdictions = []",
            "line 9, data_classes.e.jurisdictions: the class allows no jurisdiction; name one, or leave the class out",
        ),
        (
            "[data_classes]\ne.jurisdictions = [\"asia\"]",
            "line 9, data_classes.e.jurisdictions[0]: there is no jurisdiction \"asia\"; there are \"eu\", \"us\"",
        ),
        (
            "[safety]\nmin_regions_serving = 3",
            "line 9, safety.min_regions_serving: 3 regions must serve, and there are 2; write 2 or less",
        ),
        (
            "[safety]\nmax_drained_share = 1.5",
            "line 9, safety.max_drained_share: must be a number from 0 to 1, not 1.5",
        ),
        (
            "[safety]\nmax_moved_share = -0.1",
            "line 9, safety.max_moved_share: must be a number from 0 to 1, not -0.1",
        ),
        ("[safety]\nrequire_residency = 1", "line 9, safety.require_residency: must be true or false, not 1"),
    ] {
        assert_eq!(wrong(text), message, "{text}");
    }
}
