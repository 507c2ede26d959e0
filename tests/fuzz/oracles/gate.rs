//! The gate: a head that passes reads the same by the plainest reading there is, hides no second framing, keeps no
//! managed name once it is stripped, and passes again in its normal form.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use rhumb::proxy::gate::{self, Body, EncodedSlash, GateCause, GateLimits, Head, HttpVersion};
use rhumb::proxy::headers::{MANAGED, StripRules, strip_request};

use super::target::unescaped;

/// The defaults of `[limits]`.
const USUAL: GateLimits = GateLimits {
    header_bytes: 32 << 10,
    header_count: 100,
    uri_bytes: 8 << 10,
    body_bytes: 1 << 30,
    encoded_slash: EncodedSlash::Refuse,
};

/// Limits that short inputs reach.
const TIGHT: GateLimits = GateLimits {
    header_bytes: 300,
    header_count: 6,
    uri_bytes: 40,
    body_bytes: 99,
    encoded_slash: EncodedSlash::Pass,
};

pub fn check(bytes: &[u8]) -> bool {
    let tight = judge(bytes, &TIGHT);
    let usual = judge(bytes, &USUAL);
    tight || usual
}

fn judge(bytes: &[u8], limits: &GateLimits) -> bool {
    match gate::check(bytes, limits) {
        Ok(head) => {
            passed(bytes, &head, limits);
            true
        }
        Err(cause) => {
            refused(bytes, cause, limits);
            false
        }
    }
}

fn refused(bytes: &[u8], cause: GateCause, limits: &GateLimits) {
    let codes = ["bad_request", "method_not_allowed", "head_too_large", "uri_too_long", "body_too_large"];
    assert!(codes.contains(&cause.refusal().code()));
    if cause == GateCause::Truncated {
        // Whoever reads from the network waits for more then, so there must be no end yet.
        let rest = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        assert_eq!(end_of(rest), None, "a head that has its end is called cut off");
        assert!(bytes.len() <= limits.header_bytes);
    }
}

fn passed(bytes: &[u8], head: &Head<'_>, limits: &GateLimits) {
    let plain = Plain::read(bytes).expect("the plain reading refuses a head that passes");
    assert_eq!(plain.bytes, head.bytes);
    assert_eq!(plain.method, head.method);
    let version = if head.version == HttpVersion::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    assert_eq!(plain.version, version);
    assert_eq!(plain.fields.len(), head.fields);
    assert!(head.bytes <= limits.header_bytes && head.fields <= limits.header_count);
    assert!(plain.target.len() <= limits.uri_bytes);
    framing(&plain, head, limits);
    let [host] = plain.all("host")[..] else { panic!("there is not one Host") };
    let named = unbracketed(host).strip_suffix(".").unwrap_or(unbracketed(host)).to_ascii_lowercase();
    if !named.starts_with('[') {
        assert_eq!(named, head.host.name());
    }
    aim(&plain, head, limits);
    for option in plain.all("connection").iter().flat_map(|value| value.split(',')) {
        assert!(!is_managed(option.trim()), "{option} is nominated");
    }

    let mut headers = plain.headers();
    strip_request(&mut headers, &StripRules::default());
    for name in headers.keys() {
        assert!(!is_managed(name.as_str()), "{name} is left");
    }

    let alone = gate::check(&bytes[..head.bytes], limits);
    assert_eq!(alone.as_ref(), Ok(head), "what follows the head changes how it reads");
    assert!(gate::check(&bytes[..head.bytes - 1], limits).is_err(), "a head passes without its end");
    in_normal_form(&plain, head, limits);
}

fn framing(plain: &Plain<'_>, head: &Head<'_>, limits: &GateLimits) {
    let body = match (&plain.all("content-length")[..], &plain.all("transfer-encoding")[..]) {
        ([], []) => Body::None,
        ([length], []) => {
            assert!(length.bytes().all(|byte| byte.is_ascii_digit()));
            let number: u64 = length.parse().unwrap();
            assert!(number <= limits.body_bytes && number.to_string() == **length);
            Body::Length(number)
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case("chunked") && plain.version == "HTTP/1.1");
            Body::Chunked
        }
        (lengths, codings) => panic!("two framings pass: {lengths:?} {codings:?}"),
    };
    assert_eq!(body, head.body);
    for (name, _) in &plain.fields {
        let folded = folded(name);
        let framing = matches!(folded.as_str(), "content-length" | "transfer-encoding");
        assert!(!framing || name.eq_ignore_ascii_case(&folded), "{name} may be read as {folded}");
    }
}

/// The target that the region gets is the one that was sent.
fn aim(plain: &Plain<'_>, head: &Head<'_>, limits: &GateLimits) {
    let sent = match plain.target.strip_prefix('/') {
        Some(_) => plain.target.to_owned(),
        None if plain.target == "*" => "*".to_owned(),
        None => {
            let (_, rest) = plain.target.split_once("://").expect("no form that is known");
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            match &rest[at..] {
                "" if plain.method == "OPTIONS" => "*".to_owned(),
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            }
        }
    };
    let (path, query) = sent.split_once('?').map_or((&*sent, None), |(path, query)| (path, Some(query)));
    assert_eq!(query, head.target.query);
    assert_eq!(unescaped(path.as_bytes()), unescaped(head.target.path.as_bytes()));
    if path != "*" {
        super::target::normal_path(&head.target.path, limits.encoded_slash);
    }
}

/// The head as a region would get it, nothing taken off: it passes, and says the same.
fn in_normal_form(plain: &Plain<'_>, head: &Head<'_>, limits: &GateLimits) {
    let mut text =
        format!("{} {} {}\r\n", plain.method, head.target.origin_form(), plain.version).into_bytes();
    for (name, value) in &plain.fields {
        let host = head.host.authority();
        let value = if name.eq_ignore_ascii_case("host") { host.as_bytes() } else { value };
        text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    // A space behind each colon, and an IPv6 address written out, may take more room than what came.
    let room = GateLimits { header_bytes: limits.header_bytes + 500, ..*limits };
    let again = gate::check(&text, &room).expect("its own normal form is refused");
    assert!(!again.target.rewritten && !again.host.rewritten(), "the normal form has another normal form");
    assert_eq!((again.method, again.version, again.body), (head.method, head.version, head.body));
    assert_eq!((&again.target.path, again.target.query), (&head.target.path, head.target.query));
    assert_eq!(again.host.authority(), head.host.authority());
    assert_eq!((again.upgrade, again.expect, again.fields), (head.upgrade, head.expect, head.fields));
}

/// A head as the plainest reading has it: lines that end in CRLF, three words in the first, a colon in each other.
struct Plain<'a> {
    method: &'a str,
    target: &'a str,
    version: &'a str,
    fields: Vec<(&'a str, &'a [u8])>,
    bytes: usize,
}

impl<'a> Plain<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let end = end_of(head)?;
        let skipped = bytes.len() - head.len();
        let text = &head[..end - 2];
        let mut lines = Vec::new();
        let mut from = 0;
        for at in 0..text.len() {
            if text[at..].starts_with(b"\r\n") {
                lines.push(&text[from..at]);
                from = at + 2;
            }
        }
        let (first, rest) = lines.split_first()?;
        let clean = |line: &[u8]| line.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        let words: Vec<&str> = str::from_utf8(first).ok()?.split(' ').collect();
        let [method, target, version] = words[..] else { return None };
        let mut fields = Vec::new();
        for line in rest {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = str::from_utf8(&line[..colon]).ok()?;
            let visible =
                name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte));
            if name.is_empty() || !visible || !clean(line) {
                return None;
            }
            fields.push((name, trimmed(&line[colon + 1..])));
        }
        Some(Self { method, target, version, fields, bytes: skipped + end })
    }

    /// The values of all fields of this name, which are text where it matters.
    fn all(&self, name: &str) -> Vec<&'a str> {
        let named = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| str::from_utf8(value).expect("a value that decides is no text")).collect()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name that passes is none");
            headers.append(name, HeaderValue::from_bytes(value).expect("a value that passes is none"));
        }
        headers
    }
}

/// Where the blank line ends.
fn end_of(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !blank(byte)).map_or(from, |at| at + 1);
    &value[from..to]
}

/// The host without its port; an IPv6 address stays in its brackets.
fn unbracketed(host: &str) -> &str {
    match host.find(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    }
}

/// As a service reads it that makes variables of names.
fn folded(name: &str) -> String {
    name.replace(['_', '.'], "-").to_ascii_lowercase()
}

fn is_managed(name: &str) -> bool {
    let name = folded(name);
    MANAGED.iter().map(|managed| managed.name.to_ascii_lowercase()).any(|managed| {
        match managed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == managed,
        }
    })
}
