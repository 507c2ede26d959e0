//! What is shown to people holds: the files in `conf/` and `docker/` are read as they stand, and every `rhumb` command
//! in a fenced block of the README and of `docs/` is one that the program understands.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use rhumb::cli::World;
use rhumb::cli::args::Arguments;
use rhumb::control::document;
use rhumb::settings::{Role, Settings};
use rhumb::telemetry::metrics;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_sample_settings_are_read_as_they_stand() {
    let settings =
        Settings::read(&root().join("conf/rhumb.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(settings.table.path.ends_with("routing.toml"));
}

#[test]
fn the_sample_files_are_sound_by_the_programs_own_check() {
    let config = root().join("conf/rhumb.toml");
    let words = ["rhumb", "check", "-c", config.to_str().unwrap()].map(Into::into);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let world = World { token: None, screen: false, stdout: &mut stdout, stderr: &mut stderr };
    let code = rhumb::cli::answer(words, world);
    assert_eq!(code, 0, "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

#[test]
fn the_sample_of_a_gateway_is_sound_and_warns_of_nothing() {
    let config = root().join("conf/gateway.toml");
    let settings = Settings::read(&config).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.edge.role, Role::Gateway);
    let words = ["rhumb", "check", "-o", "json", "-c", config.to_str().unwrap()].map(Into::into);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let world = World { token: None, screen: false, stdout: &mut stdout, stderr: &mut stderr };
    let code = rhumb::cli::answer(words, world);
    assert_eq!(code, 0, "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let said: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(said["warnings"], serde_json::json!([]));
    let edges = Settings::read(&root().join("conf/rhumb.toml")).unwrap();
    let ports: BTreeSet<_> =
        [&settings, &edges].map(|one| (one.listeners[0].address, one.admin.address)).into();
    assert!(ports.len() == 2 && settings.state.dir != edges.state.dir, "both run on one machine");
}

#[test]
fn a_gateways_table_has_the_tenants_policies_and_routes_of_the_edges() {
    let table = |name: &str| {
        let text = std::fs::read_to_string(root().join("conf").join(name)).unwrap();
        toml::from_str::<toml::Table>(&text).unwrap()
    };
    let (edges, gateway) = (table("routing.toml"), table("gateway-routing.toml"));
    for key in ["tenants", "routes", "data_classes", "placements", "tenancy", "policies"] {
        assert_eq!(gateway[key], edges[key], "{key}");
    }
    let regions =
        |table: &toml::Table| table["regions"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(regions(&gateway), regions(&edges));
}

#[test]
fn the_settings_and_tables_on_the_page_of_gateways_are_read() {
    let page = std::fs::read_to_string(root().join("docs/gateway.md")).unwrap();
    let blocks: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let (mut settings, mut tables) = (0, 0);
    for block in blocks {
        if block.contains("[edge]") {
            settings += 1;
            Settings::parse(Path::new("rhumb.toml"), block, "host")
                .unwrap_or_else(|e| panic!("{e}\n{block}"));
        } else {
            tables += 1;
            // What the page names lies beside a reader's table, not beside this test.
            let text: Vec<_> = block.lines().filter(|line| !line.starts_with("tls = ")).collect();
            document::parse(&text.join("\n")).unwrap_or_else(|e| panic!("{e}\n{block}"));
        }
    }
    assert_eq!((settings, tables), (2, 2), "an edge and a gateway, each with its table");
}

#[test]
fn every_toml_file_of_the_samples_parses() {
    let files = files(&root().join("conf"), "toml");
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        toml::from_str::<toml::Table>(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

#[test]
fn the_tables_of_the_decision_cases_are_tables_that_an_edge_reads() {
    let files = files(&root().join("tests/cases/tables"), "toml");
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        document::parse(&text).unwrap_or_else(|problems| panic!("{}: {problems}", file.display()));
    }
}

#[test]
fn the_dockers_files_are_sound() {
    let settings = Settings::read(&root().join("docker/conf/rhumb.toml")).unwrap_or_else(|e| panic!("{e}"));
    let table = std::fs::read_to_string(&settings.table.path).unwrap();
    document::parse(&table).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn every_command_in_readme_and_docs_is_one_that_the_program_understands() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(files(&root().join("docs/runbooks"), "md"));
    pages.push(root().join("README.md"));
    let (mut commands, mut wrong) = (0, Vec::new());
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        for line in fenced(&text) {
            for command in rhumb_commands(&line) {
                commands += 1;
                if let Err(e) = Arguments::try_parse_from(&command)
                    && e.use_stderr()
                {
                    wrong.push(format!("{}: {}\n{e}", page.display(), command.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(commands >= 10, "only {commands} commands were found");
}

#[test]
fn commands_are_found_where_a_reader_would_type_them() {
    let page = "rhumb not --fenced\n```sh\n$ RHUMB_TOKEN=x rhumb table reload   # now\nrhumb explain --tenant acme \\\n  \
        --header 'X-Consistency: strong' | jq .\ncargo run --release -- demo && rhumb status\n# rhumb a comment\n```\n";
    let commands: Vec<_> = fenced(page).iter().flat_map(|line| rhumb_commands(line)).collect();
    let words = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        commands,
        [
            words("rhumb|table|reload"),
            words("rhumb|explain|--tenant|acme|--header|X-Consistency: strong"),
            words("rhumb|demo"),
            words("rhumb|status"),
        ]
    );
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let known: BTreeSet<String> = metrics::ALL
        .iter()
        .flat_map(|metric| ["", "_bucket", "_count", "_sum"].map(|end| format!("{}{end}", metric.name)))
        .collect();
    for name in ["prometheus-alerts.yml", "grafana-dashboard.json"] {
        let text = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
        let named = named_metrics(&text);
        assert!(named.len() >= 10, "{name}: {named:?}");
        let wrong: Vec<_> = named.difference(&known).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

/// By Grafana's JSON model, as far as it can be held without a Grafana: what a panel lacks is drawn as nothing.
#[test]
fn the_dashboard_for_grafana_is_whole_and_asks_for_labels_that_there_are() {
    let text = std::fs::read_to_string(root().join("docs/grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36),
        "data sources by type and uid"
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let mut known: BTreeSet<&str> = variables.iter().map(|one| one["name"].as_str().unwrap()).collect();
    known.insert("__rate_interval");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert!(matches!(panel["type"].as_str(), Some("timeseries" | "table" | "stat")), "{title}");
        assert!(
            panel["fieldConfig"]["defaults"].is_object() && panel["fieldConfig"]["overrides"].is_array(),
            "{title}"
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: it does not fit into 24 columns");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title}: it lies over another");
        }
        let mut letters = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert!(letters.insert(target["refId"].as_str().unwrap()), "{title}");
            let expr = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let opened = |open, close| expr.matches(open).count() == expr.matches(close).count();
            assert!(opened('(', ')') && opened('{', '}') && opened('[', ']'), "{title}: {expr}");
            let of_metrics = named_metrics(expr).into_iter().flat_map(|name| {
                let plain = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
                let found =
                    metrics::ALL.iter().find(|metric| Some(metric.name) == plain || metric.name == name);
                found.unwrap_or_else(|| panic!("{title}: {name}")).labels.iter().copied()
            });
            let labels: BTreeSet<&str> = of_metrics.chain(["instance", "le"]).collect();
            for label in labels_in(expr).chain(between(legend, "{{", "}}")) {
                assert!(labels.contains(label), "{title}: no metric of {expr} has the label {label:?}");
            }
            for name in expr.split('$').skip(1) {
                let name = name.trim_start_matches('{');
                let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let name = &name[..end.unwrap_or(name.len())];
                assert!(known.contains(name), "{title}: there is no variable {name:?}");
            }
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
}

/// The labels that an expression groups by or matches.
fn labels_in(expr: &str) -> impl Iterator<Item = &str> {
    let grouped = between(expr, "by (", ")").flat_map(|names| names.split(',').map(str::trim));
    let matched = between(expr, "{", "}").flat_map(|all| all.split("\",")).map(|one| {
        let end = one.find(['=', '!']).unwrap_or(one.len());
        one[..end].trim()
    });
    grouped.chain(matched)
}

/// What stands between `open` and the next `close`, each time.
fn between<'t>(text: &'t str, open: &'static str, close: &'static str) -> impl Iterator<Item = &'t str> {
    text.split(open).skip(1).map(move |rest| rest.split(close).next().unwrap_or(rest).trim())
}

#[test]
fn every_alert_leads_to_a_section_of_a_runbook() {
    let text = std::fs::read_to_string(root().join("docs/prometheus-alerts.yml")).unwrap();
    let links: Vec<_> =
        text.lines().filter_map(|line| line.trim_start().strip_prefix("runbook_url: ")).collect();
    let alerts = text.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
    assert!(alerts >= 15 && links.len() == alerts, "{alerts} alerts, {} links", links.len());
    for link in links {
        let (page, section) = link.split_once('#').unwrap_or_else(|| panic!("{link} names no section"));
        let page = std::fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{link}: {e}"));
        let titles = page.lines().filter_map(|line| line.strip_prefix("## "));
        let found = titles.map(|title| title.to_lowercase().replace(' ', "-")).any(|title| title == section);
        assert!(found, "{link} leads nowhere");
    }
}

/// Every word that begins as our metrics do.
fn named_metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("rhumb_")).map(str::to_owned).collect()
}

/// The lines of fenced blocks; a line that continues is one.
fn fenced(page: &str) -> Vec<String> {
    let (mut lines, mut inside, mut unfinished) = (Vec::new(), false, String::new());
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            match line.strip_suffix('\\') {
                Some(part) => unfinished.push_str(part),
                None => lines.push(std::mem::take(&mut unfinished) + line),
            }
        }
    }
    lines
}

/// The commands of one line that run this program, by its name or by cargo.
fn rhumb_commands(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut words = Vec::new();
    for word in words_of(line).into_iter().chain(["&&".to_owned()]) {
        if !matches!(word.as_str(), "|" | "&&" | "||" | ";" | "&" | ">" | ">>") {
            words.push(word);
            continue;
        }
        let command = std::mem::take(&mut words);
        let assignment = |word: &String| word.contains('=') && !word.starts_with('-');
        let command: Vec<_> =
            command.into_iter().skip_while(|word| word == "$" || assignment(word)).collect();
        let own = match command.first().map(String::as_str) {
            Some("rhumb" | "./rhumb" | "target/release/rhumb" | "./target/release/rhumb") => &command[1..],
            Some("cargo") if command.get(1).is_some_and(|word| word == "run") => {
                let Some(dashes) = command.iter().position(|word| word == "--") else { continue };
                &command[dashes + 1..]
            }
            _ => continue,
        };
        // What a reader fills in.
        let own = own.iter().map(|word| match word.as_str() {
            "HASH" => "0".repeat(64),
            "ID" => "1".to_owned(),
            _ => word.clone(),
        });
        found.push(["rhumb".to_owned()].into_iter().chain(own).collect());
    }
    found
}

/// Words as a shell would make them, as far as samples go: quotes, and comments.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if letter == open => quote = None,
            ('#', None) if word.is_none() => break,
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}
