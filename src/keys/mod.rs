//! Key files: lines of a key's name and its secret. The first key signs, all verify.
//!
//! ```text
//! # made by: openssl rand -base64 32
//! 2026-06  q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=
//! 2026-01  EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8=
//! ```
//!
//! Why a list: a key is replaced without a moment at which two sides know no common one. Why not in the settings:
//! settings are shown around.
//!
//! Never: lets a secret into a message, a log or a `Debug`; takes a file of which one line is bad.

mod store;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

pub use store::{KeyStore, Reread};

use crate::problem::Problems;

/// The length of a secret, in bytes.
const SECRET: usize = 32;

/// The longest name of a key. It travels with everything that the key signs.
pub const LONGEST_NAME: usize = 64;

/// A key file has a few lines; beyond this it is the wrong file.
const LARGEST_FILE: u64 = 64 * 1024;

/// What to write where a line is wrong.
const FIX: &str = "write a name, a space, and what `openssl rand -base64 32` gives";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One key of a file.
pub struct Key {
    name: Box<str>,
    secret: [u8; SECRET],
    hmac: hmac::Key,
}

/// The keys of one file, in its order; at least one, no two of one name.
pub struct Keys(Box<[Key]>);

impl Key {
    fn new(name: &str, secret: [u8; SECRET]) -> Self {
        Self { name: name.into(), secret, hmac: hmac::Key::new(hmac::HMAC_SHA256, &secret) }
    }

    /// Its name: 1 to [`LONGEST_NAME`] letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its secret, for HMAC-SHA256.
    #[must_use]
    pub const fn hmac(&self) -> &hmac::Key {
        &self.hmac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl PartialEq for Keys {
    /// Whether both hold the same names and secrets in the same order. Takes no care of how long that takes: both
    /// sides are ours.
    fn eq(&self, other: &Self) -> bool {
        let plain = |keys: &Self| -> Vec<_> { keys.0.iter().map(|k| (k.name.clone(), k.secret)).collect() };
        plain(self) == plain(other)
    }
}

impl Keys {
    /// Reads the key file at `path`.
    ///
    /// Errors: every line that is wrong, or why the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let text = text_of(path).map_err(|cause| {
            let mut problems = Problems::of(path);
            problems.tell(0, "", format!("cannot be read: {cause}"), format!("make the key file; {FIX}"));
            problems
        })?;
        Self::parse(path, &text)
    }

    /// The keys in `text`, as if it stood in `file`. Empty lines, and those that begin with `#`, are nothing.
    ///
    /// Errors: every line that is wrong. What stands in it is not repeated.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, Problems> {
        let mut problems = Problems::of(file);
        let mut keys: Vec<(u32, Key)> = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            match key(line) {
                Err(what) => problems.tell(number, "", what, FIX),
                Ok(key) => match keys.iter().find(|(_, other)| other.name == key.name) {
                    Some((first, _)) => {
                        let what = format!("the name {:?} stands in line {first} already", key.name());
                        problems.tell(number, "", what, "give each key a name of its own");
                    }
                    None => keys.push((number, key)),
                },
            }
        }
        if keys.is_empty() && problems.is_empty() {
            problems.tell(0, "", "no key is in it", FIX);
        }
        if problems.is_empty() {
            Ok(Self(keys.into_iter().map(|(_, key)| key).collect()))
        } else {
            Err(problems)
        }
    }

    /// The key that signs; `None` is of no file that was read.
    #[must_use]
    pub fn first(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The signature by the first key over `lines` with the time in their second place, as regions get it:
    /// `v1;kid=NAME;t=TIME;mac=BASE64URL`; `None` is of no file that was read.
    ///
    /// - `kind`: the first line; `time`: seconds since 1970, the second; `lines`: those behind.
    #[must_use]
    pub fn seal(&self, kind: &str, time: u64, lines: &[&str]) -> Option<String> {
        let key = self.first()?;
        let text = format!("{kind}\n{time}\n{}", lines.join("\n"));
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(key.hmac(), text.as_bytes()));
        Some(format!("v1;kid={};t={time};mac={mac}", key.name()))
    }

    /// The key of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Key> {
        self.0.iter().find(|key| *key.name == *name)
    }

    /// All of them, in the order of the file: each verifies.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The names of all keys, separated by commas.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.iter().map(Key::name).collect::<Vec<_>>().join(", ")
    }
}

/// The key that a line holds, or what is wrong with it.
fn key(line: &[u8]) -> Result<Key, String> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(name), Some(secret), None) = (words.next(), words.next(), words.next()) else {
        return Err("a line holds two words: a name and a secret".to_owned());
    };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let name = str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| fits(&byte)));
    let Some(name) = name.filter(|name| name.len() <= LONGEST_NAME) else {
        return Err(format!(
            "a key's name has 1 to {LONGEST_NAME} letters, digits, dots, dashes and underscores"
        ));
    };
    let decoded = BASE64.decode(secret).map_err(|_| format!("the secret of {name} is not base64"))?;
    let long = decoded.len();
    let secret = decoded
        .try_into()
        .map_err(|_| format!("the secret of {name} is {long} bytes long, and has to be {SECRET}"))?;
    Ok(Key::new(name, secret))
}

fn text_of(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a FIFO waits for its writer.
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not an ordinary file"));
    }
    if is_open_to_all(&found) {
        tracing::warn!("{}: every user of this machine can read or write it; chmod 600 it", path.display());
    }
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(text)
}

fn is_open_to_all(file: &Metadata) -> bool {
    file.permissions().mode() & 0o006 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
    const TWO: &str = "EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8=";

    fn parse(text: &str) -> Result<Keys, Vec<String>> {
        let told = |problems: Problems| problems.list().iter().map(ToString::to_string).collect();
        Keys::parse("sign.keys".as_ref(), text.as_bytes()).map_err(told)
    }

    #[test]
    fn the_first_line_is_the_first_key() {
        let keys = parse(&format!("# old and new\n\nnew-2 {ONE}\r\n  old.1\t{TWO}  ")).unwrap();
        assert_eq!(keys.names(), "new-2, old.1");
        assert_eq!(keys.first().map(Key::name), Some("new-2"));
        assert_eq!(keys.named("old.1").map(Key::name), Some("old.1"));
        assert!(keys.named("old").is_none() && keys.named("").is_none());
        assert_eq!(parse(&format!("a {}", ONE.trim_end_matches('='))).unwrap().names(), "a", "no padding");
    }

    #[test]
    fn every_line_that_is_wrong_is_told_and_no_secret_with_it() {
        let long = "n".repeat(65);
        let short = "c2hvcnQ=";
        let text = format!(
            "{ONE}\na;b {ONE}\n{long} {ONE}\nshort {short}\nodd {ONE}!\ntwo {TWO}\ntwo {TWO}\na b c\n"
        );
        let told = parse(&text).unwrap_err();
        assert_eq!(
            told,
            [
                format!("line 1: a line holds two words: a name and a secret; {FIX}"),
                format!(
                    "line 2: a key's name has 1 to 64 letters, digits, dots, dashes and underscores; {FIX}"
                ),
                format!(
                    "line 3: a key's name has 1 to 64 letters, digits, dots, dashes and underscores; {FIX}"
                ),
                format!("line 4: the secret of short is 5 bytes long, and has to be 32; {FIX}"),
                format!("line 5: the secret of odd is not base64; {FIX}"),
                "line 7: the name \"two\" stands in line 6 already; give each key a name of its own"
                    .to_owned(),
                format!("line 8: a line holds two words: a name and a secret; {FIX}"),
            ]
        );
        assert!(!told.concat().contains(ONE) && !told.concat().contains(short));
        let keys = parse(&format!("two {TWO}")).unwrap();
        assert!(!format!("{keys:?}").contains(TWO), "{keys:?}");
    }

    #[test]
    fn a_file_without_a_key_is_no_key_file() {
        for text in ["", "\n\n", "# nothing yet\n"] {
            assert_eq!(parse(text).unwrap_err(), [format!("no key is in it; {FIX}")]);
        }
        let folder = tempfile::tempdir().unwrap();
        for (path, why) in [(folder.path().join("none"), "No such file"), (folder.path().into(), "ordinary")]
        {
            let told = Keys::read(&path).unwrap_err().to_string();
            assert!(told.contains("cannot be read") && told.contains(why), "{told}");
        }
        let large = folder.path().join("large");
        std::fs::write(&large, "#".repeat(70_000)).unwrap();
        assert!(Keys::read(&large).unwrap_err().to_string().contains("larger than 64 KiB"));
        assert!(Keys::parse(&large, b"\xff\xfe \xff\0").is_err());
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sign.keys");
        std::fs::write(&path, "").unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_all(&std::fs::metadata(&path).unwrap()), open, "{mode:o}");
        }
    }
}
