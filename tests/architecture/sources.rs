//! Enough of Rust's grammar to see which paths a file names: comments, literals, `use` trees, inline paths.
//!
//! A path that begins with a name brought in by `use` is told in full.
//!
//! Never: looks into another file, or at what a glob brings in. The glob itself is what is judged.

use std::collections::HashMap;

/// One token of code: a word, `::`, or one other character.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

/// A file as tokens; comments are gone, and literals are empty.
#[derive(Default)]
pub struct Code(Vec<Token>);

/// A path as it was written, such as `crate`, `control`, `clock`.
pub struct Named {
    pub line: usize,
    pub names: Vec<String>,
    /// Whether a `use` names it, rather than code.
    pub is_use: bool,
}

/// Where a file stands.
pub struct Source(Vec<String>);

impl Source {
    /// The file of this name below `src`.
    pub fn new(name: &str) -> Self {
        let module = name.trim_end_matches(".rs").trim_end_matches("/mod");
        Self(module.split('/').map(str::to_owned).collect())
    }

    pub fn part(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether it is the module `part`, or in it.
    pub fn is_in(&self, part: &str) -> bool {
        let part: Vec<&str> = part.split('/').collect();
        self.0.len() >= part.len() && self.0.iter().zip(part).all(|(one, other)| one == other)
    }

    /// `super`, `self`, `rhumb` and `rhumb_decision` become `crate` and what follows; other paths stay.
    pub fn absolute(&self, names: &[String]) -> Vec<String> {
        let rest = |from: usize| names.iter().skip(from).cloned();
        let from_crate = |modules: &[String], from| {
            let modules = modules.iter().cloned();
            ["crate".to_owned()].into_iter().chain(modules).chain(rest(from)).collect()
        };
        let pure = self.part() == "decision";
        match names.first().map(String::as_str) {
            Some("rhumb") => from_crate(&[], 1),
            Some("rhumb_decision") => from_crate(&["decision".to_owned()], 1),
            Some("crate") if pure => from_crate(&["decision".to_owned()], 1),
            Some("self") => from_crate(&self.0, 1),
            Some("super") => {
                let ups = names.iter().take_while(|name| *name == "super").count();
                from_crate(self.0.get(..self.0.len().saturating_sub(ups)).unwrap_or_default(), ups)
            }
            _ => names.to_vec(),
        }
    }
}

impl Code {
    /// The lines on which the macro of this name is used.
    pub fn uses_of_macro(&self, name: &str) -> impl Iterator<Item = usize> {
        let pairs =
            self.0.windows(2).filter(move |pair| matches!(pair, [a, b] if a.text == name && b.text == "!"));
        pairs.filter_map(|pair| pair.first()).map(|token| token.line)
    }

    fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |token| &token.text)
    }

    fn line(&self, at: usize) -> usize {
        self.0.get(at).map_or(0, |token| token.line)
    }

    fn is_word(&self, at: usize) -> bool {
        self.text(at).starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// The tokens of a text.
pub fn code(text: &str) -> Code {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut tokens = Vec::new();
    let char_at = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let began = at;
        let here = char_at(at);
        if here == '/' && char_at(at + 1) == '/' {
            at = end_of(&chars, at, |c| c == '\n');
        } else if here == '/' && char_at(at + 1) == '*' {
            at = end_of_block(&chars, at);
        } else if let Some(end) = end_of_raw_string(&chars, at) {
            at = end;
        } else if here == '"' {
            at = end_of_quoted(&chars, at, '"');
        } else if here == '\'' && (char_at(at + 1) == '\\' || char_at(at + 2) == '\'') {
            at = end_of_quoted(&chars, at, '\'');
        } else if here.is_alphanumeric() || here == '_' {
            at = end_of(&chars, at, |c| !(c.is_alphanumeric() || c == '_'));
            tokens.push(Token { line, text: chars.get(began..at).unwrap_or_default().iter().collect() });
        } else if here == ':' && char_at(at + 1) == ':' {
            at += 2;
            tokens.push(Token { line, text: "::".to_owned() });
        } else {
            at += 1;
            if !here.is_whitespace() {
                tokens.push(Token { line, text: here.to_string() });
            }
        }
        line += chars.get(began..at).unwrap_or_default().iter().filter(|c| **c == '\n').count();
    }
    Code(tokens)
}

fn end_of(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    chars.iter().skip(from).position(|c| stop(*c)).map_or(chars.len(), |found| from + found)
}

fn end_of_block(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (at, depth) = (at + 2, depth + 1),
            (Some('*'), Some('/')) if depth == 1 => return at + 2,
            (Some('*'), Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn end_of_quoted(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from + 1;
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            c if *c == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of `r"…"`, `r#"…"#`, `br"…"`, if one begins here.
fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let before = from.checked_sub(1).and_then(|at| chars.get(at)).copied().unwrap_or(' ');
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let mut at = from + usize::from(matches!(chars.get(from), Some('b' | 'c')));
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars.iter().skip(at).take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let rest = chars.get(at + 1..)?;
    let found = rest.windows(end.len()).position(|window| window == end);
    Some(found.map_or(chars.len(), |found| at + 1 + found + end.len()))
}

/// The same without its `#[cfg(test)] mod … { … }`.
pub fn without_tests(code: Code) -> Code {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < code.0.len() {
        let marked = MARK.iter().enumerate().all(|(ahead, text)| code.text(at + ahead) == *text);
        let inline = code.text(at + MARK.len()) == "mod" && code.text(at + MARK.len() + 2) == "{";
        if !(marked && inline) {
            kept.extend(code.0.get(at).cloned());
            at += 1;
            continue;
        }
        at += MARK.len() + 2;
        let mut depth = 0_usize;
        loop {
            match code.text(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 || at >= code.0.len() {
                break;
            }
        }
    }
    Code(kept)
}

/// Every path that is named, by `use` or where it stands.
pub fn paths(code: &Code) -> Vec<Named> {
    let mut found = Vec::new();
    let mut brought: HashMap<String, Vec<String>> = HashMap::new();
    let mut at = 0;
    while at < code.0.len() {
        if code.text(at) == "use" && code.text(at + 1) != "<" {
            at = tree(code, at + 1, &[], &mut found, &mut brought);
        } else if code.is_word(at) && code.text(at + 1) == "::" && begins_a_path(code, at) {
            let (end, names) = straight(code, at);
            found.push(Named { line: code.line(at), names, is_use: false });
            at = end;
        } else {
            at += 1;
        }
    }
    for named in found.iter_mut().filter(|named| !named.is_use) {
        let first = named.names.first().and_then(|first| brought.get(first));
        if let Some(full) = first {
            named.names = full.iter().chain(named.names.iter().skip(1)).cloned().collect();
        }
    }
    found
}

fn begins_a_path(code: &Code, at: usize) -> bool {
    let before = |steps: usize| at.checked_sub(steps);
    match before(1).map(|at| code.text(at)) {
        Some("::") => before(2).is_none_or(|at| !code.is_word(at) && code.text(at) != ">"),
        Some(".") => false,
        _ => true,
    }
}

/// The words from `at` on that `::` joins, and where they end.
fn straight(code: &Code, mut at: usize) -> (usize, Vec<String>) {
    let mut names = vec![code.text(at).to_owned()];
    while code.text(at + 1) == "::" && code.is_word(at + 2) {
        at += 2;
        names.push(code.text(at).to_owned());
    }
    (at + 1, names)
}

/// One branch of a `use` tree; returns where it ends.
fn tree(
    code: &Code,
    mut at: usize,
    above: &[String],
    found: &mut Vec<Named>,
    brought: &mut HashMap<String, Vec<String>>,
) -> usize {
    let line = code.line(at);
    let mut names = above.to_vec();
    let mut renamed = None;
    loop {
        match code.text(at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while !matches!(code.text(at), "}" | "") {
                    at = tree(code, at, &names, found, brought);
                    at += usize::from(code.text(at) == ",");
                }
                return at + 1;
            }
            "as" => {
                renamed = Some(code.text(at + 1).to_owned());
                at += 2;
            }
            "*" => {
                names.push("*".to_owned());
                at += 1;
            }
            "self" if !above.is_empty() => at += 1,
            _ if code.is_word(at) => {
                names.push(code.text(at).to_owned());
                at += 1;
            }
            _ => {
                if let Some(name) = renamed.or_else(|| names.last().cloned()) {
                    brought.insert(name, names.clone());
                }
                found.push(Named { line, names, is_use: true });
                return at;
            }
        }
    }
}
