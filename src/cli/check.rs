//! `rhumb check`: is what the files say sound? Every problem of all of them, at once.

use std::path::Path;

use serde_json::{Value, json};

use super::args::Format;
use super::failure::{Done, Failure};
use super::files::{self, Files};
use super::out::Out;
use crate::problem::Problems;

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
    let file = &files.settings.file;
    let settings = files.settings.not_yet().iter().map(|key| not_acted_upon(file, key.line, key.key));
    let table = files.not_yet.iter().map(|key| not_acted_upon(&key.file, key.line, &key.key));
    json!({
        "sound": true,
        "regions": files.table.regions().len(),
        "tenants": files.table.tenants().len(),
        "routes": files.table.routes().len(),
        "hash": files.hash,
        "not_acted_upon": settings.chain(table).collect::<Vec<_>>(),
    })
}

fn not_acted_upon(file: &Path, line: u32, key: &str) -> Value {
    json!({"file": file.display().to_string(), "line": line, "key": key})
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
    for key in items(sound, &["not_acted_upon"]) {
        said.push_str(&format!(
            "{}: line {}, {}: is not acted upon by this version\n",
            text(key, &["file"]),
            text(key, &["line"]),
            text(key, &["key"])
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_files_are_one_line_and_one_for_each_key_not_acted_upon() {
        let sound = json!({"regions": 3, "tenants": 1, "routes": 0, "hash": "ab12",
            "not_acted_upon": [{"file": "conf/rhumb.toml", "key": "tracing.otlp", "line": 42}]});
        assert_eq!(
            in_words(&sound),
            "3 regions, 1 tenant, 0 routes, hash ab12\n\
             conf/rhumb.toml: line 42, tracing.otlp: is not acted upon by this version\n"
        );
    }
}
