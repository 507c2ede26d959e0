//! Who may ask for what: tokens, and hosts that are this one.
//!
//! A page in an operator's browser must not reach this API by a name that somebody pointed here, so what is not asked
//! by a name of this machine is refused, and so is what another page's script asks.
//!
//! Never: a token in a query, in a log or in an answer; a comparison whose time tells how much of a token was right.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, Method, Uri, header};
use rhumb_decision::target::normalise_host;

use crate::admin::guesses::Guesses;
use crate::admin::pages;
use crate::admin::problem::{Refused, Why};
use crate::admin::tokens::{Holder, Right, TokenStore};
use crate::certificates::listener::CertificateStore;
use crate::control::clock::Clock;
use crate::telemetry::Recorder;

/// Whom this edge believes.
pub(super) struct Doorman {
    pub tokens: Arc<TokenStore>,
    pub open_reads: bool,
    pub address: SocketAddr,
    /// What the side shows by TLS: its names are those of this edge.
    pub tls: Option<Arc<CertificateStore>>,
    /// What asks with a body and changes nothing.
    pub reads_by_post: Vec<&'static str>,
    pub guesses: Guesses,
    pub clock: Clock,
    pub recorder: Recorder,
}

/// Whose connection a request came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer(pub IpAddr);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    /// `None`: nobody had to show a token.
    pub holder: Option<Holder>,
    pub source: IpAddr,
}

/// Probes and scrapes come by whatever name the platform has for this machine.
const ANY_HOST: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// A process that cannot say whether it lives without being shown a token is restarted for want of one.
const NO_TOKEN: [&str; 2] = ["/healthz", "/readyz"];
impl Doorman {
    /// Whether this may be asked by `peer`, whatever it is, and who asks; an unknown path is no way to learn which are
    /// known.
    pub fn admit(
        &self,
        peer: IpAddr,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Caller, Refused> {
        let path = uri.path();
        if !ANY_HOST.contains(&path) {
            self.check_host(uri, headers)?;
        }
        let reads = *method == Method::GET
            || *method == Method::HEAD
            || *method == Method::OPTIONS
            || (*method == Method::POST && self.reads_by_post.contains(&path));
        let open = reads && (self.open_reads || NO_TOKEN.contains(&path) || pages::is_page(path));
        let needed = if reads { Right::Read } else { Right::Write };
        let holder = if open { None } else { Some(self.check_token(peer, needed, headers)?) };
        Ok(Caller { holder, source: peer.to_canonical() })
    }

    fn check_token(&self, peer: IpAddr, needed: Right, headers: &HeaderMap) -> Result<Holder, Refused> {
        let refuse = |cause: &'static str, why: Why, detail: &str| {
            self.recorder.admin_token_refused(cause);
            Refused::new(why, detail)
        };
        let tokens = self.tokens.tokens();
        if tokens.is_empty() {
            let detail =
                "this edge has no token, so nothing can be changed by HTTP; name a file in admin.token_file";
            return Err(refuse("missing", Why::Unauthorized, detail));
        }
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (first, second) = (given.next(), given.next());
        let wanted =
            "send one header `Authorization: Bearer TOKEN`, with a token of the file of admin.token_file";
        let Some(first) = first else { return Err(refuse("missing", Why::Unauthorized, wanted)) };
        let now = self.clock.elapsed();
        if !self.guesses.may_try(peer, now) {
            let detail = "this address has shown too many wrong tokens; ask again in a second";
            return Err(refuse("limited", Why::TooManyTokens, detail));
        }
        let word = bearer(first.as_bytes()).filter(|_| second.is_none());
        match word.and_then(|word| tokens.holder(word)) {
            Some(holder) if holder.right >= needed => Ok(holder.clone()),
            Some(holder) => {
                let detail = format!(
                    "the token of {} may read; a change needs one with the right to write",
                    holder.name
                );
                Err(refuse("read_only", Why::Forbidden, &detail))
            }
            None => {
                self.guesses.was_wrong(peer, now);
                Err(refuse("wrong", Why::Unauthorized, wanted))
            }
        }
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
        // A page that this edge served has the same origin; any other page is a stranger, and so is one that came
        // without TLS where this edge has it.
        let same = |origin: &[u8]| {
            let scheme: &[u8] = if self.tls.is_some() { b"https://" } else { b"http://" };
            origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        if headers.get_all(header::ORIGIN).iter().any(|origin| !same(origin.as_bytes())) {
            return foreign("Origin");
        }
        Ok(())
    }

    /// Any port: the way here may lead through a tunnel, and no stranger can make a loopback name theirs, nor a name of
    /// the certificate.
    fn is_ours(&self, authority: &[u8]) -> bool {
        let Ok(host) = normalise_host(authority) else { return false };
        let name = host.name();
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let own = self.address.ip();
        name == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || (ip == own && !own.is_unspecified()))
            || self.tls.as_ref().is_some_and(|tls| tls.is_for(name))
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, word) = value.split_at_checked(b"Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !word.is_empty()).then_some(word)
}
