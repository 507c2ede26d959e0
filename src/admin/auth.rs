//! Who may ask for what: the token for changes, and hosts that are this one.
//!
//! A page in an operator's browser must not reach this API by a name that somebody pointed here, so what is not asked
//! by a name of this machine is refused, and so is what another page's script asks.
//!
//! Never: a token in a query, in a log or in an answer; a comparison whose time tells how much of a token was right.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::{fs, io};

use axum::http::{HeaderMap, Method, Uri, header};
use rhumb_decision::target::normalise_host;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::admin::problem::{Refused, Why};
use crate::settings::TokenFile;

/// What whoever changes something must know. Kept as a hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// Why there is no token to go by.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error(
        "cannot read {path:?}, which admin.token_file names; write a token into it, or leave the key out"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is nothing but white space.
    #[error("{path:?} holds no token; write one line of random letters, as `openssl rand -hex 32` gives")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It could not be sent in a header.
    #[error("the token in {path:?} holds spaces, control characters or letters beyond ASCII; write one word")]
    NotAWord {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// The token that the settings' file holds; white space around it is not part of it. `None`: the settings name
    /// no file, and there is none at the usual place.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn read(file: &TokenFile) -> Result<Option<Self>, TokenError> {
        let path = || file.path.clone();
        let text = match fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !file.named => return Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                return Err(TokenError::NotAWord { path: path() });
            }
            Err(cause) => return Err(TokenError::Unreadable { path: path(), cause }),
        };
        match text.trim() {
            "" => Err(TokenError::Empty { path: path() }),
            word if word.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(Self(hash(word.as_bytes())))),
            _ => Err(TokenError::NotAWord { path: path() }),
        }
    }

    fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(&hash(given)).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Whom this edge believes.
#[derive(Clone, Debug)]
pub(super) struct Doorman {
    pub token: Option<Token>,
    pub open_reads: bool,
    pub address: SocketAddr,
}

/// Probes and scrapes come by whatever name the platform has for this machine.
const ANY_HOST: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// A process that cannot say whether it lives without being shown a token is restarted for want of one.
const NO_TOKEN: [&str; 2] = ["/healthz", "/readyz"];
/// What asks with a body and changes nothing.
const READS_BY_POST: &str = "/v1/explain";

impl Doorman {
    /// Whether this may be asked, whatever it is; an unknown path is no way to learn which are known.
    pub fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let path = uri.path();
        if !ANY_HOST.contains(&path) {
            self.check_host(uri, headers)?;
        }
        let reads = *method == Method::GET
            || *method == Method::HEAD
            || *method == Method::OPTIONS
            || (*method == Method::POST && path == READS_BY_POST);
        let open = reads && (self.open_reads || NO_TOKEN.contains(&path));
        if open { Ok(()) } else { self.check_token(headers) }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(token) = &self.token else {
            let detail =
                "this edge has no token, so nothing can be changed by HTTP; name a file in admin.token_file";
            return Err(Refused::new(Why::Unauthorized, detail));
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let is = match (given.next(), given.next()) {
            (Some(one), None) => bearer(one.as_bytes()).is_some_and(|word| token.is(word)),
            _ => false,
        };
        if is {
            return Ok(());
        }
        let detail =
            "send one header `Authorization: Bearer TOKEN`, with what the file of admin.token_file holds";
        Err(Refused::new(Why::Unauthorized, detail))
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let foreign = |what: &str| {
            let detail = format!("{what} is not of this edge; ask {} or localhost", self.address);
            Err(Refused::new(Why::ForbiddenHost, detail))
        };
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.as_bytes(),
            _ => return foreign("Host"),
        };
        let in_target = uri.authority().is_none_or(|authority| self.is_ours(authority.as_str().as_bytes()));
        if !self.is_ours(host) || !in_target {
            return foreign("Host");
        }
        // A page that this edge served has the same origin; any other page is a stranger.
        let same = |origin: &[u8]| {
            let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        if headers.get_all(header::ORIGIN).iter().any(|origin| !same(origin.as_bytes())) {
            return foreign("Origin");
        }
        Ok(())
    }

    /// Any port: the way here may lead through a tunnel, and no stranger can make a loopback name theirs.
    fn is_ours(&self, authority: &[u8]) -> bool {
        let Ok(host) = normalise_host(authority) else { return false };
        let name = host.name();
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        name == "localhost"
            || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == self.address.ip())
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, word) = value.split_at_checked(b"Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !word.is_empty()).then_some(word)
}
