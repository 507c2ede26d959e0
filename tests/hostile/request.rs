//! What a region got, taken apart by the letter of RFC 9112.
//!
//! Strict on purpose: whatever a lenient service could read in two ways is listed as a fault, so a request without
//! faults is in normal form.

/// A request as a region got it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Head and body as they came.
    pub raw: Vec<u8>,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// The fields, in order.
    pub fields: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// What is not in normal form.
    pub faults: Vec<String>,
}

/// What the bytes of a connection begin with.
pub enum Begin {
    /// A whole request of so many bytes.
    Whole(Request, usize),
    /// Not enough for one.
    Part,
    /// No request at all, and why.
    Broken(String),
}

impl Request {
    /// The values of all fields whose names fold to `name`: any case, `_` or `.` for `-`.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let wanted = fold(name);
        self.fields.iter().filter(|(name, _)| fold(name) == wanted).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that is there once.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether a region that executes requests changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") || !self.body.is_empty()
    }
}

/// A name as services fold it that turn names into variables.
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Takes the first request off `bytes`.
pub fn begin(bytes: &[u8]) -> Begin {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Begin::Part };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut faults = Vec::new();
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        faults.push("a CR, LF or NUL by itself".to_owned());
    }
    let mut lines = head.split("\r\n");
    let words: Vec<_> = lines.next().unwrap_or_default().split(' ').map(str::to_owned).collect();
    let [method, target, version] = &words[..] else {
        return Begin::Broken(format!("a request line of {} words: {words:?}", words.len()));
    };
    if version != "HTTP/1.1" {
        faults.push(format!("version {version}"));
    }
    if !(target.starts_with('/') || (target == "*" && method == "OPTIONS")) {
        faults.push(format!("target {target}"));
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.push(format!("a byte in {target:?}"));
    }
    let mut fields = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if is_token(name) => fields.push((name.to_owned(), value.trim().to_owned())),
            _ => faults.push(format!("the line {line:?}")),
        }
    }
    let mut request = Request {
        raw: Vec::new(),
        method: method.clone(),
        target: target.clone(),
        fields,
        body: Vec::new(),
        faults,
    };
    match framed(&mut request, &bytes[end + 4..]) {
        Ok(Some(length)) => {
            request.raw = bytes[..end + 4 + length].to_vec();
            Begin::Whole(request, end + 4 + length)
        }
        Ok(None) => Begin::Part,
        Err(why) => Begin::Broken(why),
    }
}

/// How many bytes the body takes, framing included; `None`: more have to come.
fn framed(request: &mut Request, rest: &[u8]) -> Result<Option<usize>, String> {
    let lengths: Vec<_> = request.all("content-length").iter().map(|text| (*text).to_owned()).collect();
    let codings = request.all("transfer-encoding").iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    if lengths.len() + codings.len() > 1 {
        request.faults.push(format!("framed by {lengths:?} and {codings:?}"));
    }
    if request.all("host").len() != 1 {
        request.faults.push(format!("hosts {:?}", request.all("host")));
    }
    if let Some(coding) = codings.first() {
        if coding != "chunked" {
            request.faults.push(format!("coding {coding:?}"));
        }
        return chunks(rest, &mut request.body);
    }
    let Some(length) = lengths.first() else { return Ok(Some(0)) };
    let length: usize = length.parse().map_err(|_| format!("length {length:?}"))?;
    Ok(rest.get(..length).map(|body| {
        request.body = body.to_vec();
        length
    }))
}

fn chunks(bytes: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let hex = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| hex).ok_or(format!("chunk {line:?}"))?;
        let data = at + end + 2;
        let Some(chunk) = bytes.get(data..data + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("{:?} ends chunk or trailers", String::from_utf8_lossy(chunk)));
        }
        body.extend_from_slice(&chunk[..size]);
        at = data + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn is_token(name: &str) -> bool {
    let marks = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(raw: &str) -> Vec<String> {
        match begin(raw.as_bytes()) {
            Begin::Whole(request, _) => request.faults,
            Begin::Part => vec!["part".to_owned()],
            Begin::Broken(why) => vec![why],
        }
    }

    #[test]
    fn what_is_in_normal_form_has_no_faults_and_is_taken_whole() {
        let one = "POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        let two = "POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        for raw in [one, two] {
            let both = format!("{raw}GET / HTTP/1.1\r\n");
            let Begin::Whole(request, length) = begin(both.as_bytes()) else { panic!("{raw}") };
            assert_eq!((request.body.as_slice(), length, request.faults.len()), (&b"hi"[..], raw.len(), 0));
            for cut in 0..raw.len() {
                assert!(matches!(begin(&raw.as_bytes()[..cut]), Begin::Part), "{cut} of {raw:?}");
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_fault() {
        for raw in [
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent_length: 1\r\n\r\nx",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        ] {
            assert!(!faults(raw).is_empty(), "{raw:?}");
        }
    }
}
