//! The tokens that open the admin API: who holds each, and what it lets them do.
//!
//! ```text
//! # made by: rhumb token NAME --right read|write
//! anna   write sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5
//! grafana read sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
//! ```
//!
//! A file of one word is a token too: the word itself, of somebody called `admin` who may change things. Why hashes:
//! whoever reads the file, or a copy of it, can do nothing with it.
//!
//! Never: a token in a log, in a message or in a `Debug`; a comparison whose time tells how much of a token was right,
//! or whose; a file of which one line is bad.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::problem::Problems;
use crate::settings::TokenFile;

/// Who holds the one word of a file that is just that.
const ONLY: &str = "admin";

/// What stands before a hash.
const SHA256: &str = "sha256:";

/// The longest name of a holder.
const LONGEST_NAME: usize = 64;

/// A file of tokens has a few lines; beyond this it is the wrong file.
const LARGEST_FILE: u64 = 64 * 1024;

/// What to write where a line is wrong.
const FIX: &str = "write NAME, read or write, and sha256:HASH, as `rhumb token NAME` prints it";

/// What a token lets its holder do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Right {
    /// Ask for what is.
    Read,
    /// That, and change it.
    Write,
}

impl Right {
    /// The word that stands in the file.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl FromStr for Right {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err("a right is read or write".into()),
        }
    }
}

/// Who holds a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// 1 to 64 letters, digits, `.`, `_` and `-`.
    pub name: Arc<str>,
    /// What the token lets them do.
    pub right: Right,
}

/// The tokens of one file, kept as hashes; no two of one name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<([u8; 32], Holder)>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, holder)| holder)).finish()
    }
}

impl Tokens {
    /// The tokens in the settings' file; none where the settings name no file and there is none at the usual place.
    ///
    /// # Errors
    /// Every line that is wrong, or why the file cannot be read.
    pub fn read(file: &TokenFile) -> Result<Self, Problems> {
        match text_of(&file.path) {
            Ok(text) => Self::parse(&file.path, &text),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !file.named => Ok(Self::default()),
            Err(cause) => {
                let mut problems = Problems::of(&file.path);
                let fix = "it is named by admin.token_file in the settings";
                problems.tell(0, "", format!("cannot be read: {cause}"), fix);
                Err(problems)
            }
        }
    }

    /// The tokens in `text`, as if it stood in `file`. Empty lines, and those that begin with `#`, are nothing.
    ///
    /// # Errors
    /// Every line that is wrong. What stands in it is not repeated.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, Problems> {
        let lines = (1..).zip(text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
        let lines: Vec<(u32, &[u8])> =
            lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")).collect();
        let mut problems = Problems::of(file);
        if let [(number, word)] = lines[..]
            && !word.iter().any(u8::is_ascii_whitespace)
        {
            return match only(word) {
                Ok(only) => Ok(Self(vec![only])),
                Err((what, fix)) => {
                    problems.tell(number, "", what, fix);
                    Err(problems)
                }
            };
        }
        let mut read: Vec<(u32, ([u8; 32], Holder))> = Vec::new();
        for (number, line) in lines {
            match named(line) {
                Err(what) => problems.tell(number, "", what, FIX),
                Ok((hash, holder)) => {
                    let name = &holder.name;
                    if let Some((first, _)) = read.iter().find(|(_, (_, other))| other.name == *name) {
                        let what = format!("the name {name:?} stands in line {first} already");
                        problems.tell(number, "", what, "give each holder a name of their own");
                    } else if let Some((first, _)) = read.iter().find(|(_, (other, _))| *other == hash) {
                        let what = format!("the token of {name:?} is that of line {first}");
                        problems.tell(
                            number,
                            "",
                            what,
                            "make one token for each, so that they can be told apart",
                        );
                    }
                    read.push((number, (hash, holder)));
                }
            }
        }
        if read.is_empty() && problems.is_empty() {
            problems.tell(0, "", "no token is in it", FIX);
        }
        let tokens = read.into_iter().map(|(_, token)| token).collect();
        problems.or_value(Some(Self(tokens)))
    }

    /// Whether there is none, so that nobody can change anything by HTTP.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who may do what, as a log may say it.
    #[must_use]
    pub fn holders(&self) -> String {
        let each = self.0.iter().map(|(_, holder)| format!("{} ({})", holder.name, holder.right.code()));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Who holds this token. Every token is compared, whichever fits.
    pub(super) fn holder(&self, given: &[u8]) -> Option<&Holder> {
        let given = hash(given);
        let mut found = u32::MAX;
        for (place, (known, _)) in (0..).zip(&self.0) {
            found.conditional_assign(&place, known.ct_eq(&given));
        }
        self.0.get(usize::try_from(found).ok()?).map(|(_, holder)| holder)
    }
}

/// A file that is one word.
fn only(word: &[u8]) -> Result<([u8; 32], Holder), (&'static str, &'static str)> {
    if word.starts_with(SHA256.as_bytes()) {
        return Err(("a hash stands alone: nobody is named", FIX));
    }
    if !word.iter().all(u8::is_ascii_graphic) {
        let what = "the token holds control characters or letters beyond ASCII";
        return Err((what, "write one word of random letters, or lines as `rhumb token NAME` prints them"));
    }
    Ok((hash(word), Holder { name: ONLY.into(), right: Right::Write }))
}

/// A line of name, right and hash, or what is wrong with it.
fn named(line: &[u8]) -> Result<([u8; 32], Holder), String> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(name), Some(right), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("a line holds three words: a name, a right and a hash".into());
    };
    let name = str::from_utf8(name).ok().filter(|name| is_name(name)).ok_or_else(name_wanted)?;
    let right = str::from_utf8(right).ok().and_then(|right| right.parse().ok());
    let right = right.ok_or_else(|| format!("the right of {name} is neither read nor write"))?;
    let hash = str::from_utf8(hash).ok().and_then(|hash| from_hex(hash.strip_prefix(SHA256)?));
    let hash = hash.ok_or_else(|| format!("the hash of {name} is not sha256: and 64 hexadecimal digits"))?;
    Ok((hash, Holder { name: name.into(), right }))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

fn name_wanted() -> String {
    format!("a name has 1 to {LONGEST_NAME} letters, digits, dots, dashes and underscores")
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn text_of(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a FIFO waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not an ordinary file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(text)
}

/// A token that was just made, and the line that lets its holder in.
pub struct Made {
    /// What the holder keeps; it is shown once.
    pub token: String,
    /// What the file of `admin.token_file` takes.
    pub line: String,
}

/// Makes a token of 256 random bits for `name`.
///
/// # Errors
/// The name is none, or the system gives no random bytes.
pub fn make(name: &str, right: Right) -> Result<Made, String> {
    if !is_name(name) {
        return Err(name_wanted());
    }
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system gives no random bytes".to_owned())?;
    let token = format!("rhumb_{}", hex(&secret));
    let line = format!("{name} {} {SHA256}{}", right.code(), hex(&hash(token.as_bytes())));
    Ok(Made { token, line })
}

/// The tokens of the settings' file, as it was when it was last sound. Many read, one reloads.
#[derive(Debug)]
pub struct TokenStore {
    file: TokenFile,
    current: ArcSwap<Tokens>,
}

/// What reading the file again came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reread {
    /// It holds other tokens now, and they are in force.
    Taken,
    /// It holds what it held.
    Unchanged,
}

impl TokenStore {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`Tokens::read`].
    pub fn open(file: &TokenFile) -> Result<Self, Problems> {
        let current = ArcSwap::from_pointee(Tokens::read(file)?);
        Ok(Self { file: file.clone(), current })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The tokens in force.
    pub fn tokens(&self) -> arc_swap::Guard<Arc<Tokens>> {
        self.current.load()
    }

    /// Reads the file again. One that is gone is no way to take tokens back: it may be on its way.
    ///
    /// # Errors
    /// Everything that is wrong with it; the tokens that were in force stay.
    pub fn reload(&self) -> Result<Reread, Problems> {
        let named = self.file.named || !self.tokens().is_empty();
        let tokens = Tokens::read(&TokenFile { path: self.file.path.clone(), named })?;
        if tokens == **self.tokens() {
            return Ok(Reread::Unchanged);
        }
        self.current.store(Arc::new(tokens));
        Ok(Reread::Taken)
    }
}

#[cfg(test)]
mod tests;
