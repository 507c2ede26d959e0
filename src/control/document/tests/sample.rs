//! The sample that is shipped.

use super::*;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/routing.toml")
}

#[test]
fn it_reads_as_it_stands() {
    let document = read(&Reading { path: &sample(), edge_region: "eu-west-1", copy_to: None });
    let document = document.unwrap_or_else(|unreadable| panic!("{}", unreadable.problems));
    let regions: Vec<&str> = document.table.regions().iter().map(|region| region.name.as_ref()).collect();
    assert_eq!(regions, ["eu-central-1", "eu-west-1", "us-east-1"]);
    for tenant in ["acme", "globex", "initech", "umbrella"] {
        assert!(document.table.tenants().find(tenant).is_some(), "{tenant}");
    }
    assert_eq!(document.files, [sample(), sample().with_file_name("tenants.csv")]);
}

#[test]
fn every_key_that_is_commented_out_can_be_taken_in_and_shows_the_default() {
    let text = std::fs::read_to_string(sample()).unwrap();
    let key = |line: &str| {
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        let plain = key.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
        (plain && !matches!(key, "a" | "b" | "tls")).then(|| key.to_owned())
    };
    let optional =
        ["session", "countries", "capacity", "max_in_flight", "host", "data_class", "consistency", "policy"];
    let taken_in = |wanted: &dyn Fn(&str) -> bool| {
        let lines = text.lines().map(|line| match key(line).is_some_and(|key| wanted(&key)) {
            true => line.strip_prefix("# ").unwrap_or(line),
            false => line,
        });
        lines.map(|line| format!("{line}\n")).collect::<String>().replace("files = [\"tenants.csv\"]", "")
    };
    let as_it_stands = parse(&taken_in(&|_| false)).unwrap();
    let with_defaults = parse(&taken_in(&|key| !optional.contains(&key))).unwrap();
    assert_eq!(as_it_stands.regions(), with_defaults.regions());
    assert_eq!(as_it_stands.policies(), with_defaults.policies());
    assert_eq!(as_it_stands.tenancy(), with_defaults.tenancy());
    assert_eq!(as_it_stands.safety(), with_defaults.safety());
    let all = parse(&taken_in(&|_| true)).unwrap();
    let region = &all.regions()[1];
    assert_eq!(
        (region.capacity, region.max_in_flight, region.countries.len()),
        (Some(20_000), Some(4_000), 3)
    );
    assert_eq!(all.tenancy().session_cookie.as_deref(), Some("sid"));
    let route = &all.routes()[0];
    assert!(route.host.is_some() && route.class.is_some() && route.policy.is_some() && route.strong);
    assert_eq!(text.lines().filter_map(key).count(), 36);
}
