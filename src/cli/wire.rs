//! Reading the edge's JSON by key. An edge of another version may leave a key out or add one: what is
//! missing is left out of the text, what is new is passed over.

use serde_json::Value;

use super::plan;

/// The value at `path` within `value`; [`Value::Null`] where there is none.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    const NOTHING: &Value = &Value::Null;
    path.iter().try_fold(value, |value, key| value.get(key)).unwrap_or(NOTHING)
}

/// The text at `path`; empty where there is none. Numbers as written, yes and no for truth.
pub fn text(value: &Value, path: &[&str]) -> String {
    plain(at(value, path))
}

/// The texts of the list at `path`, separated by commas.
pub fn joined(value: &Value, path: &[&str]) -> String {
    items(value, path).iter().map(plain).collect::<Vec<_>>().join(", ")
}

/// The list at `path`; empty where there is none.
pub fn items<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The object at `path` as pairs, by name.
pub fn entries<'v>(value: &'v Value, path: &[&str]) -> impl Iterator<Item = (&'v str, &'v Value)> {
    at(value, path).as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// One value as a person writes it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 => format!("{whole:.0}"),
            _ => number.to_string(),
        },
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}

/// What a problem document says to a person: its detail, or else its title; of a refused table all that is wrong
/// with it, and how to take it all the same where that may be.
pub fn said(problem: &Value) -> Option<String> {
    let (title, detail) = (text(problem, &["title"]), text(problem, &["detail"]));
    let listed = problems(problem);
    if listed.is_empty() {
        let said = [detail, title].into_iter().find(|said| !said.is_empty());
        return said.map(|said| format!("{said}{}", plan::refused(problem)).trim_end().to_owned());
    }
    let head: Vec<_> = [lower_first(&title), detail].into_iter().filter(|part| !part.is_empty()).collect();
    let take = taking(problem, &listed);
    Some(format!("{}\n{listed}{take}", head.join("; ")).trim_end().to_owned())
}

/// How to take a refused table all the same; empty where that may not be, or `listed`, its problems, say it already.
pub fn taking(refused: &Value, listed: &str) -> String {
    let hash = text(refused, &["hash"]);
    if at(refused, &["acceptable"]).as_bool() != Some(true) || listed.contains(&hash) {
        return String::new();
    }
    format!("if it is meant: rhumb table accept {hash} --reason \"…\"\n")
}

/// The same with a small first letter, to stand within a sentence.
pub fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The `problems` of a file as lines, by file; empty where there are none.
pub fn problems(value: &Value) -> String {
    let mut lines = String::new();
    let mut last = None;
    for problem in items(value, &["problems"]) {
        let file = text(problem, &["file"]);
        if last.as_ref() != Some(&file) {
            if !file.is_empty() {
                lines.push_str(&format!("{file}:\n"));
            }
            last = Some(file);
        }
        lines.push_str("  ");
        match at(problem, &["line"]).as_u64() {
            Some(line) if line > 0 => {
                lines.push_str(&format!("line {line}"));
                if let Some(column) = at(problem, &["column"]).as_u64() {
                    lines.push_str(&format!(", column {column}"));
                }
                let key = text(problem, &["at"]);
                lines.push_str(&if key.is_empty() { ": ".to_owned() } else { format!(", {key}: ") });
            }
            _ => {
                let key = text(problem, &["at"]);
                lines.push_str(&if key.is_empty() { key } else { format!("{key}: ") });
            }
        }
        lines.push_str(&text(problem, &["what"]));
        let fix = text(problem, &["fix"]);
        if !fix.is_empty() {
            lines.push_str(&format!("; {fix}"));
        }
        lines.push('\n');
    }
    if let Some(more) = at(value, &["left_out"]).as_u64().filter(|more| *more > 0) {
        lines.push_str(&format!("  and {more} more\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_key_is_nothing() {
        let value = json!({"a": {"b": 1.0, "c": 0.25}, "list": ["x", 2]});
        assert_eq!(text(&value, &["a", "b"]), "1");
        assert_eq!(text(&value, &["a", "c"]), "0.25");
        assert_eq!(text(&value, &["a", "b", "c"]), "");
        assert_eq!(joined(&value, &["list"]), "x, 2");
        assert_eq!(joined(&value, &["none"]), "");
        assert_eq!(entries(&value, &["a"]).count(), 2);
    }

    #[test]
    fn problems_read_like_those_of_the_file_readers() {
        let value = json!({"problems": [
            {"file": "routing.toml", "line": 31, "at": "tenants.acme.home", "what": "there is no region \"x\"", "fix": "did you mean \"y\"?"},
            {"file": "tenants.csv", "line": 9, "column": 2, "at": "", "what": "bad"},
            {"file": "tenants.csv", "line": 0, "at": "", "what": "the file is empty", "fix": ""},
        ]});
        assert_eq!(
            problems(&value),
            "routing.toml:\n  line 31, tenants.acme.home: there is no region \"x\"; did you mean \"y\"?\n\
             tenants.csv:\n  line 9, column 2: bad\n  the file is empty\n"
        );
        assert_eq!(problems(&json!({})), "");
        let many = json!({"problems": [{"what": "bad"}], "left_out": 7});
        assert_eq!(problems(&many), "  bad\n  and 7 more\n");
    }
}
