use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod admin;
mod files;
mod gateway;
mod listeners;
mod versions;

/// The least that is a settings file.
const LEAST: &str =
    "edge.region = \"eu\"\ntable.path = \"routing.toml\"\nlisteners = [{ address = \"0.0.0.0:80\" }]\n";

fn parse(text: &str) -> Result<Settings, Problems> {
    Settings::parse(Path::new("conf/rhumb.toml"), text, "host.example")
}

/// The least and, below it on line 4, `text`.
fn with(text: &str) -> Settings {
    parse(&format!("{LEAST}{text}\n")).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    parse(text).map_or_else(|found| found.list().iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// What is told of `text` on line 4, which must be exactly one problem.
#[track_caller]
fn wrong(text: &str) -> String {
    let found = problems(&format!("{LEAST}{text}\n"));
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found[0].strip_prefix("line 4, ").unwrap_or(&found[0]).to_owned()
}

#[test]
fn the_least_file_takes_every_documented_default() {
    let settings = parse(LEAST).unwrap();
    let edge = &settings.edge;
    assert_eq!((edge.region.as_str(), &edge.zone, edge.id.as_str()), ("eu", &None, "host.example-9900"));
    assert_eq!((edge.threads, edge.show_region), (0, false));
    let listener =
        Listener { address: ([0, 0, 0, 0], 80).into(), tls: None, h2c: false, proxy_protocol: false };
    assert_eq!(settings.listeners, [listener]);
    let limits = Limits {
        connections: 20_000,
        connections_per_address: 1000,
        header_bytes: 32_768,
        header_count: 100,
        uri_bytes: 8192,
        body_bytes: 1_073_741_824,
        requests_per_connection: 10_000,
        handshakes_per_address: 100,
        min_progress: 4096,
        buffered_bytes: 268_435_456,
        held_writes: 2_000,
        streams: 100,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        tunnel_idle_timeout: Duration::from_secs(300),
        drain_timeout: Duration::from_secs(30),
        upgrade_timeout: Duration::from_secs(60),
        encoded_slash: EncodedSlash::Refuse,
    };
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.trust, Trust::default());
    let token_file = TokenFile { path: "conf/admin.token".into(), named: false };
    let admin = Admin { address: ([127, 0, 0, 1], 9900).into(), token_file, open_reads: true, tls: None };
    assert_eq!(settings.admin, admin);
    let table = TableSettings { path: "conf/routing.toml".into(), watch: true, max_moved: 10.0 };
    assert_eq!(settings.table, table);
    assert_eq!(settings.dns, Dns::default());
    assert_eq!(settings.state.dir, Path::new("conf/state"));
    assert_eq!(settings.log, Log { level: Level::Info, access: Access::Stdout });
    assert_eq!(settings.tracing, Tracing { otlp: None, sample: 0.01 });
    assert_eq!((&settings.pin, &settings.signature), (&Pin::default(), &Signature::default()));
    assert_eq!((&settings.gateway, &settings.alerts), (&Gateway::default(), &Alerts::default()));
}

#[test]
fn every_key_of_the_design_is_understood() {
    let text = r#"
[edge]
region = "eu-west-1"
zone = "eu-west-1a"
id = "edge-1"
role = "edge"
threads = 4
show_region = true

[[listeners]]
address = "0.0.0.0:8080"

[[listeners]]
address = "[::1]:8443"
tls.certificates = [{ chain = "../certs/edge.pem", key = "/etc/edge.key" }, { chain = "b.pem", key = "b.key" }]
tls.client_ca = "../certs/clients.pem"
tls.client_auth = "optional"
tls.client_ids = ["spiffe://prod.example/edge/*", "spiffe://prod.example/ops"]

[limits]
connections = 7
connections_per_address = 3
header_bytes = "64KiB"
header_count = 256
uri_bytes = "1KiB"
body_bytes = "2GiB"
requests_per_connection = 0
handshakes_per_address = 7
min_progress = "1KiB"
buffered_bytes = "1GiB"
held_writes = 7
header_timeout = "250ms"
idle_timeout = "2m"
tunnel_idle_timeout = "1h"
drain_timeout = "0s"
upgrade_timeout = "90s"
encoded_slash = "pass"

[trust]
proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::1/32"]
country_header = "CF-IPCountry"
country_database = "geo.mmdb"

[admin]
address = "[::1]:9901"
token_file = "secret"
open_reads = false
tls = { certificate = { chain = "admin.pem", key = "admin.key" }, client_ca = "ops.pem" }

[dns]
servers = ["10.0.0.2:53", "[2001:db8::1]:5353"]

[table]
path = "/etc/routing.toml"
watch = false
max_moved = 100

[state]
dir = "/var/lib/rhumb"

[log]
level = "debug"
access = "access.log"

[tracing]
otlp = "http://127.0.0.1:4318"
sample = 1

[pin]
keys_file = "pin.keys"

[signature]
keys_file = "sign.keys"

[alerts]
webhook = "https://pager.example/rhumb"
"#;
    let settings = parse(text).unwrap();
    let edge = &settings.edge;
    assert_eq!((edge.zone.as_ref().unwrap().as_str(), edge.id.as_str()), ("eu-west-1a", "edge-1"));
    assert_eq!((edge.threads, edge.show_region), (4, true));
    let tls = settings.listeners[1].tls.as_ref().unwrap();
    let first = Certificate { chain: "conf/../certs/edge.pem".into(), key: "/etc/edge.key".into() };
    assert_eq!((tls.certificates.len(), &tls.certificates[0]), (2, &first));
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!(
        (clients.ca.to_str(), clients.auth),
        (Some("conf/../certs/clients.pem"), ClientAuth::Optional)
    );
    let ids: Vec<&str> = clients.ids.iter().map(|id| id.as_str()).collect();
    assert_eq!(ids, ["spiffe://prod.example/edge/*", "spiffe://prod.example/ops"]);
    let limits = Limits {
        connections: 7,
        connections_per_address: 3,
        header_bytes: 65_536,
        header_count: 256,
        uri_bytes: 1024,
        body_bytes: 2_147_483_648,
        requests_per_connection: 0,
        handshakes_per_address: 7,
        min_progress: 1024,
        buffered_bytes: 1_073_741_824,
        held_writes: 7,
        streams: 100,
        header_timeout: Duration::from_millis(250),
        idle_timeout: Duration::from_secs(120),
        tunnel_idle_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::ZERO,
        upgrade_timeout: Duration::from_secs(90),
        encoded_slash: EncodedSlash::Pass,
    };
    assert_eq!(settings.limits, limits);
    let proxies: Vec<String> = settings.trust.proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(settings.trust.country_header.as_deref(), Some("cf-ipcountry"));
    assert_eq!(settings.trust.country_database, Some(PathBuf::from("conf/geo.mmdb")));
    let token_file = TokenFile { path: "conf/secret".into(), named: true };
    assert_eq!(
        settings.admin,
        Admin {
            address: "[::1]:9901".parse().unwrap(),
            token_file,
            open_reads: false,
            tls: Some(ListenerTls {
                certificates: vec![Certificate {
                    chain: "conf/admin.pem".into(),
                    key: "conf/admin.key".into()
                }],
                clients: Some(ClientCertificates {
                    ca: "conf/ops.pem".into(),
                    auth: ClientAuth::Required,
                    ids: Box::new([]),
                }),
                http2: false,
            }),
        }
    );
    let table = TableSettings { path: "/etc/routing.toml".into(), watch: false, max_moved: 100.0 };
    assert_eq!(settings.table, table);
    assert_eq!(settings.dns.servers.len(), 2);
    assert_eq!(settings.state.dir, Path::new("/var/lib/rhumb"));
    assert_eq!(settings.log, Log { level: Level::Debug, access: Access::File("conf/access.log".into()) });
    assert_eq!(settings.tracing, Tracing { otlp: "http://127.0.0.1:4318".parse().ok(), sample: 1.0 });
    assert_eq!(settings.pin.keys_file, Some("conf/pin.keys".into()));
    assert_eq!(settings.signature.keys_file, Some("conf/sign.keys".into()));
    assert_eq!((edge.role, &settings.gateway), (Role::Edge, &Gateway::default()));
    assert_eq!(settings.alerts.webhook, "https://pager.example/rhumb".parse().ok());
}

#[test]
fn a_key_with_a_value_that_does_not_fit_says_what_would() {
    for (text, told) in [
        ("edge.zone = \"a b\"", "edge.zone: a name must not hold ' '; write letters, digits, dots"),
        ("edge.id = \"\"", "edge.id: the name is empty; write letters"),
        ("edge.role = \"egde\"", "edge.role: must not be \"egde\"; did you mean \"edge\"?"),
        ("edge.threads = 5000", "edge.threads: must be a whole number from 0 to 1024, not 5000"),
        ("edge.threads = -1", "edge.threads: must be a whole number from 0 to 1024, not -1"),
        ("edge.threads = 1.5", "edge.threads: must be a whole number from 0 to 1024, not 1.5"),
        ("edge.show_region = \"yes\"", "edge.show_region: must be true or false, not \"yes\""),
        ("limits.connections = 0", "limits.connections: must be a whole number from 1 to 10000000, not 0"),
        ("limits.connections_per_address = \"9\"", "limits.connections_per_address: must be a whole number"),
        ("limits.header_bytes = \"0B\"", "limits.header_bytes: 0B is too small; write at least \"1KiB\""),
        ("limits.header_bytes = \"2MiB\"", "limits.header_bytes: 2MiB is too large; write at most \"1MiB\""),
        ("limits.header_bytes = 32", "limits.header_bytes: must be a size such as \"32KiB\", not 32"),
        ("limits.header_count = 257", "limits.header_count: must be a whole number from 1 to 256, not 257"),
        ("limits.uri_bytes = \"8KB\"", "limits.uri_bytes: \"8KB\" is no size; write \"8KiB\""),
        ("limits.body_bytes = \"0GiB\"", "limits.body_bytes: 0GiB is too small; write at least \"1B\""),
        ("limits.header_timeout = \"0s\"", "limits.header_timeout: 0s is too short; write at least \"1ms\""),
        ("limits.idle_timeout = 60", "limits.idle_timeout: must be a duration such as \"5s\", not 60"),
        ("limits.drain_timeout = \"30\"", "limits.drain_timeout: \"30\" is no duration; write a whole"),
        (
            "limits.encoded_slash = \"allow\"",
            "limits.encoded_slash: must not be \"allow\"; write \"refuse\" or",
        ),
        ("dns.servers = []", "dns.servers: there is none; name one such as \"10.0.0.2:53\", or"),
        ("dns.servers = [\"dns.example\"]", "dns.servers[0]: \"dns.example\" is no IP address and port"),
        ("trust.proxies = \"10.0.0.0/8\"", "trust.proxies: must be an array, not \"10.0.0.0/8\""),
        ("trust.proxies = [\"10.0.0.0/33\"]", "trust.proxies[0]: \"10.0.0.0/33\" is no network; write one"),
        ("trust.country_header = \"a b\"", "trust.country_header: \"a b\" is no header name; write"),
        ("trust.country_database = \"\"", "trust.country_database: the path is empty; name a file"),
        ("admin.address = \"0.0.0.0:9900\"", "admin.address: 0.0.0.0:9900 can be reached from elsewhere"),
        (
            "admin.address = \"localhost:9900\"",
            "admin.address: \"localhost:9900\" is no IP address and port; write \"127.0.0.1:9900\"",
        ),
        ("admin.token_file = true", "admin.token_file: must be a path in quotes, not true"),
        ("admin.open_reads = 1", "admin.open_reads: must be true or false, not 1"),
        ("table.watch = []", "table.watch: must be true or false, not an array"),
        ("table.max_moved = 100.1", "table.max_moved: must be a number from 0 to 100, not 100.1"),
        ("table.max_moved = -1", "table.max_moved: must be a number from 0 to 100, not -1"),
        ("table.max_moved = nan", "table.max_moved: must be a number from 0 to 100, not NaN"),
        ("state.dir = 3", "state.dir: must be a path in quotes, not 3"),
        (
            "log.level = \"verbose\"",
            "log.level: must not be \"verbose\"; write \"error\", \"warn\", \"info\"",
        ),
        ("log.access = false", "log.access: must be \"stdout\", \"off\" or a path, not false"),
        (
            "tracing.otlp = \"127.0.0.1:4318\"",
            "tracing.otlp: \"127.0.0.1:4318\" is no URL of http or https; write one",
        ),
        (
            "tracing.otlp = \"http://c:4318/v1/traces\"",
            "tracing.otlp: \"http://c:4318/v1/traces\" ends in /v1/traces",
        ),
        ("tracing.sample = 2", "tracing.sample: must be a number from 0 to 1, not 2"),
        ("pin.keys_file = \"\"", "pin.keys_file: the path is empty; name a file"),
        ("signature.keys_file = 1", "signature.keys_file: must be a path in quotes, not 1"),
        ("alerts.webhook = \"ftp://x\"", "alerts.webhook: \"ftp://x\" is no URL; write one"),
        ("log = \"info\"", "log: must be a table, not \"info\""),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(told), "{text}:\n told   {found}\n wanted {told}");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    assert_eq!(
        problems("[edge]\nzone = \"a\"\n"),
        [
            "listeners: is missing; write [[listeners]] and below it address = \"0.0.0.0:8080\"",
            "table.path: is missing; under [table], write path = \"routing.toml\"",
            "line 1, edge.region: is missing; under [edge], write region = \"eu-west-1\"",
        ]
    );
    let told = problems("edge.region = \"eu\"\ntable.path = \"t\"\nlisteners = []\n");
    assert_eq!(
        told,
        ["line 3, listeners: there is none; write [[listeners]] and below it address = \"0.0.0.0:8080\""]
    );
}

#[test]
fn a_required_key_that_is_wrong_is_not_called_missing_as_well() {
    let told = problems("listeners = 1\n[edge]\nregion = 5\n[table]\npath = []\n");
    assert_eq!(
        told,
        [
            "line 1, listeners: must be an array, not 1",
            "line 3, edge.region: must be a name in quotes, not 5",
            "line 5, table.path: must be a path in quotes, not an array",
        ]
    );
    assert_eq!(problems("edge = 1\ntable = 2\nlisteners = [3]\n").len(), 3);
}

#[test]
fn ten_mistakes_are_ten_problems_each_at_its_line() {
    let text = r#"# ten
[edge]
regoin = "eu"
threads = "many"
role = gateway

[[listeners]]
address = "0.0.0.0"
tls = { certificates = [], client_cert = "x" }

[limit]
connections = 1

[trust]
proxies = ["10.0.0.0/8", "ten"]

[table]
max_moved = 101
"#;
    let found = parse(text).unwrap_err();
    let lines: Vec<(u32, &str)> =
        found.list().iter().map(|problem| (problem.line, problem.at.as_str())).collect();
    assert_eq!(
        lines,
        [
            (2, "edge.region"),
            (3, "edge.regoin"),
            (4, "edge.threads"),
            (5, ""),
            (8, "listeners[0].address"),
            (9, "listeners[0].tls.client_cert"),
            (9, "listeners[0].tls.certificates"),
            (11, "limit"),
            (15, "trust.proxies[1]"),
            (17, "table.path"),
            (18, "table.max_moved"),
        ],
        "ten mistakes, and what the misspelt region leaves missing\n{found}"
    );
}

#[test]
fn behind_what_could_not_be_read_nothing_is_called_missing() {
    assert_eq!(problems("[edge\nregion = \"eu\"\n").len(), 1);
}

#[test]
fn the_default_id_is_a_name_whatever_the_host_is_called() {
    let id = |host: &str| {
        let text = format!("{LEAST}admin.address = \"127.0.0.1:9901\"\n");
        Settings::parse(Path::new("rhumb.toml"), text, host).unwrap().edge.id.as_str().to_owned()
    };
    assert_eq!(id("edge-7.example"), "edge-7.example-9901");
    assert_eq!(id("my host/ü"), "my-host---9901");
    assert_eq!(id(&"h".repeat(300)), format!("{}-9901", "h".repeat(100)));
    assert_eq!(with("edge.id = \"e1\"").edge.id.as_str(), "e1");
}

#[test]
fn the_sample_file_is_good_and_every_key_in_its_comments_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/rhumb.toml");
    let settings = Settings::read(&file).unwrap();
    assert_eq!(settings.edge.region.as_str(), "eu-west-1");
    let text = std::fs::read_to_string(&file).unwrap();
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
                .unwrap_or(line)
        })
        .collect();
    let all = Settings::parse(&file, uncommented.join("\n"), "h").unwrap();
    assert_eq!(all.listeners.len(), 2);
    assert_eq!(all.limits, settings.limits, "what the comments show as defaults are the defaults");
    assert_eq!((all.table, all.log, all.state), (settings.table, settings.log, settings.state));
}

#[test]
fn a_file_cut_anywhere_or_with_any_byte_spoilt_is_judged_and_never_left_without_a_reason() {
    let sample = include_bytes!("../../conf/rhumb.toml");
    let judge = |text: &[u8]| {
        if let Err(found) = Settings::parse(Path::new("rhumb.toml"), text, "h") {
            assert!(!found.to_string().contains("could not be understood"), "{found}");
        }
    };
    let keys: Vec<u8> = sample
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line[0] != b'#')
        .flatten()
        .copied()
        .collect();
    for at in 0..keys.len() {
        judge(&keys[..at]);
        let mut spoilt = keys.clone();
        for byte in *b"\"[]{}=.#\n\r\\\x00\x7f\xff0" {
            spoilt[at] = byte;
            judge(&spoilt);
        }
    }
}
