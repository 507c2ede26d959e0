//! A routing table as text, with everything a test does not mention filled in.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::region::Place;

/// A routing table under construction. Tenants come by host `{tenant}.app.example` or by `X-Tenant-ID`; each region
/// lies in the jurisdiction its name begins with, near to the others in the order given, and is checked every 100 ms.
#[derive(Clone)]
pub struct Routing {
    tenancy: BTreeMap<String, String>,
    regions: Vec<(String, BTreeMap<String, String>)>,
    more: String,
    tenants: Vec<(String, String)>,
}

impl Routing {
    /// A table of these regions, without tenants.
    pub fn of(places: &[&dyn Place]) -> Routing {
        let names: Vec<_> = places.iter().map(|place| place.called()).collect();
        let region = |place: &&dyn Place| {
            let name = place.called();
            let near = names.iter().filter(|other| **other != name);
            let keys = BTreeMap::from([
                ("jurisdiction".to_owned(), quoted(&name[..2])),
                ("endpoints".to_owned(), list(place.endpoints().iter().map(ToString::to_string))),
                ("near".to_owned(), list(near.cloned())),
                ("health".to_owned(), r#"{ interval = "100ms" }"#.to_owned()),
            ]);
            (name, keys)
        };
        let from = r#"[{ host = "{tenant}.app.example" }, { header = "X-Tenant-ID" }]"#;
        Routing {
            tenancy: BTreeMap::from([("from".to_owned(), from.to_owned())]),
            regions: places.iter().map(region).collect(),
            more: String::new(),
            tenants: Vec::new(),
        }
    }

    /// Sets a key of a region; `value` is TOML.
    pub fn region(mut self, name: &str, key: &str, value: &str) -> Routing {
        let region = self.regions.iter_mut().find(|region| region.0 == name).expect("a region of this table");
        region.1.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a key of every region.
    pub fn every_region(mut self, key: &str, value: &str) -> Routing {
        for region in &mut self.regions {
            region.1.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// Sets a key of `[tenancy]`.
    pub fn tenancy(mut self, key: &str, value: &str) -> Routing {
        self.tenancy.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a tenant, or replaces it; `keys` is the inside of an inline table.
    pub fn tenant(mut self, name: &str, keys: &str) -> Routing {
        self.tenants.retain(|tenant| tenant.0 != name);
        self.tenants.push((name.to_owned(), keys.to_owned()));
        self
    }

    /// Adds a section, or several.
    pub fn and(mut self, toml: &str) -> Routing {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut section = |name: &str, keys: &mut dyn Iterator<Item = (&String, &String)>| {
            writeln!(text, "[{name}]").unwrap();
            keys.for_each(|(key, value)| writeln!(text, "{key} = {value}").unwrap());
            text.push('\n');
        };
        section("tenancy", &mut self.tenancy.iter());
        for (name, keys) in &self.regions {
            section(&format!("regions.{name}"), &mut keys.iter());
        }
        text.push_str(&self.more);
        text.push_str("\n[tenants]\n");
        for (name, keys) in &self.tenants {
            writeln!(text, "{name} = {{ {keys} }}").unwrap();
        }
        text
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}
