//! `rhumb check`: is what the files say sound? Every problem of all of them, at once.

use std::path::Path;

use rhumb_decision::table::{self, Region, Table};
use serde_json::{Value, json};

use super::args::Format;
use super::failure::{Done, Failure};
use super::files::{self, Files};
use super::out::Out;
use crate::problem::Problems;
use crate::settings::{Role, Settings};

/// Reads the settings in `config` and all that they name.
pub fn check(config: &Path, out: &mut Out<'_>) -> Done {
    match files::read_all(config) {
        Ok(files) => out.answer(&sound(&files), in_words),
        Err(problems) if out.format() == Format::Json => {
            out.text(&format!("{:#}", unsound(&problems)))?;
            Err(Failure::FilesTold)
        }
        Err(problems) => Err(problems.into()),
    }
}

fn sound(files: &Files) -> Value {
    json!({
        "sound": true,
        "regions": files.table.regions().len(),
        "tenants": files.table.tenants().len(),
        "routes": files.table.routes().len(),
        "hash": files.hash,
        "warnings": warnings(&files.settings, &files.table),
    })
}

/// What is sound, and yet cannot do what it was written for.
pub(super) fn warnings(settings: &Settings, table: &Table) -> Vec<String> {
    let clients = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.clients.as_ref());
    let mut told = Vec::new();
    if table.tenancy().asks_for_certificates() && clients.count() == 0 {
        told.push(format!(
            "{}: tenancy.from asks for the certificate of the client, and no listener has tls.client_ca to verify \
             one by: it names nobody",
            settings.table.path.display()
        ));
    }
    let proves = |region: &Region| {
        let shows = region.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
        shows || settings.signature.keys_file.is_some()
    };
    for region in table.regions().iter().filter(|region| region.gateway && !proves(region)) {
        told.push(format!(
            "{}: regions.{} has gateway = true, and neither tls.certificate nor [signature] proves to a gateway who \
             asks: it refuses every request",
            settings.table.path.display(),
            region.name
        ));
    }
    told.extend(of_a_gateway(settings, table));
    told
}

/// What makes a gateway's table one of an edge.
fn of_a_gateway(settings: &Settings, table: &Table) -> Option<String> {
    let own = table.region(table.region_named(settings.edge.region.as_str())?)?;
    let (path, name) = (settings.table.path.display(), &own.name);
    match settings.edge.role {
        Role::Gateway if own.gateway => Some(format!(
            "{path}: regions.{name} has gateway = true, and this process is its gateway: list the region's own \
             endpoints here, without it"
        )),
        Role::Gateway if own.role == table::Role::Off => Some(format!(
            "{path}: regions.{name} is off, and this process is its gateway: it refuses every request"
        )),
        Role::Gateway | Role::Edge => None,
    }
}

fn unsound(problems: &Problems) -> Value {
    json!({"sound": false, "problems": problems.list(), "left_out": problems.left_out()})
}

fn in_words(sound: &Value) -> String {
    use super::wire::{at, items, text};
    let count = |key: &str, noun: &str| {
        let count = at(sound, &[key]).as_u64().unwrap_or_default();
        format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
    };
    let mut said = format!(
        "{}, {}, {}, hash {}\n",
        count("regions", "region"),
        count("tenants", "tenant"),
        count("routes", "route"),
        text(sound, &["hash"])
    );
    for warning in items(sound, &["warnings"]) {
        said.push_str(&format!("warning: {}\n", warning.as_str().unwrap_or_default()));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::draft::Draft;
    use rhumb_decision::table::{CertificateSource, Source};

    #[test]
    fn a_certificate_that_nobody_verifies_is_warned_of() {
        let settings = |more: &str| {
            let text =
                "edge.region = \"eu\"\ntable.path = \"t.toml\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n";
            Settings::parse("rhumb.toml".as_ref(), format!("{text}{more}"), "host").unwrap()
        };
        let mut draft = Draft::default();
        let plain = draft.clone().build().0.finish().unwrap();
        draft.tenancy.from = vec![Source::Certificate(CertificateSource::Uri)];
        let asking = draft.build().0.finish().unwrap();
        let verifying =
            settings("tls = { certificates = [{ chain = \"a\", key = \"b\" }], client_ca = \"c\" }\n");
        let told = warnings(&settings(""), &asking);
        assert!(told.len() == 1 && told[0].starts_with("t.toml: tenancy.from asks"), "{told:?}");
        assert!(in_words(&json!({"warnings": told})).contains("\nwarning: t.toml: tenancy.from asks"));
        assert!(warnings(&settings(""), &plain).is_empty() && warnings(&verifying, &asking).is_empty());
    }

    #[test]
    fn a_gateway_that_would_refuse_everybody_is_warned_of() {
        let settings = |more: &str| {
            let text = "table.path = \"t.toml\"\nlisteners = [{ address = \"127.0.0.1:0\" }]\nedge.region = \"eu\"\n";
            Settings::parse("rhumb.toml".as_ref(), format!("{text}{more}"), "host").unwrap()
        };
        let table = |eu: &str| {
            let text = format!(
                "tenancy.from = [{{ header = \"X-Tenant-ID\" }}]\n[regions.eu]\njurisdiction = \"eu\"\n\
                 endpoints = [\"127.0.0.1:1\"]\n{eu}"
            );
            crate::control::document::parse(&text).unwrap_or_else(|told| panic!("{told}"))
        };
        let (signing, believing) =
            ("signature.keys_file = \"k\"", "edge.role = \"gateway\"\ngateway.keys_file = \"k\"");
        let unproven = warnings(&settings(""), &table("gateway = true"));
        assert!(unproven.len() == 1 && unproven[0].contains("neither tls.certificate nor"), "{unproven:?}");
        assert!(warnings(&settings(signing), &table("gateway = true")).is_empty());
        assert!(warnings(&settings(believing), &table("")).is_empty());
        let off = warnings(&settings(believing), &table("role = \"off\""));
        assert!(off.len() == 1 && off[0].contains("regions.eu is off"), "{off:?}");
        let own = warnings(&settings(believing), &table("gateway = true"));
        assert!(own.last().is_some_and(|told| told.contains("list the region's own endpoints")), "{own:?}");
    }

    #[test]
    fn sound_files_are_one_line_and_one_for_each_warning() {
        let sound =
            json!({"regions": 3, "tenants": 1, "routes": 0, "hash": "ab12", "warnings": ["look at this"]});
        assert_eq!(in_words(&sound), "3 regions, 1 tenant, 0 routes, hash ab12\nwarning: look at this\n");
    }
}
