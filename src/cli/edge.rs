//! The running edge, as seen through its admin API.
//!
//! Never: follows a redirect or goes through a proxy of the environment, as the token would go with it.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::failure::Failure;
use super::wire;
use crate::certificates::pem;

/// Where an edge's admin API listens: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Default for Address {
    fn default() -> Self {
        Self("http://127.0.0.1:9900".into())
    }
}

impl FromStr for Address {
    type Err = String;
    fn from_str(typed: &str) -> Result<Self, String> {
        let text = if typed.contains("://") { typed.to_owned() } else { format!("http://{typed}") };
        let wanted = "write http://HOST:PORT or https://HOST:PORT";
        let uri = Uri::from_str(&text).map_err(|_| wanted.to_owned())?;
        match (uri.scheme_str(), uri.authority(), uri.path_and_query().map_or("", |path| path.as_str())) {
            (Some("http" | "https"), Some(_), "" | "/") => Ok(Self(text.trim_end_matches('/').to_owned())),
            (Some("http" | "https"), Some(_), _) => Err(format!("{wanted}, without a path")),
            _ => Err(wanted.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A running edge.
pub struct Edge {
    address: Address,
    token: Option<String>,
    agent: Agent,
}

const CONNECT: Duration = Duration::from_secs(3);
/// A table of millions of tenants is read and compared in seconds, not minutes.
const ANSWER: Duration = Duration::from_secs(60);
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;

impl Edge {
    /// The edge whose admin API listens at `address`; `token` is sent with every question.
    ///
    /// Errors: what `trusted` names cannot be used, or is of no use with plain http.
    pub fn at(address: Address, token: Option<String>, trusted: &Trusted) -> Result<Self, Failure> {
        let tls = match (address.0.starts_with("https:"), trusted) {
            (true, _) => Some(trusted.config()?),
            (false, Trusted { ca: None, own: None }) => None,
            (false, _) => {
                let told = "--ca and --cert are for an edge with TLS; write --admin https://HOST:PORT";
                return Err(Failure::Usage(told.into()));
            }
        };
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .user_agent(concat!("rhumb/", env!("CARGO_PKG_VERSION")));
        let config = match tls {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self { address, token, agent: config.build().into() })
    }

    /// Asks for what `path` names, such as `/v1/regions`.
    ///
    /// Errors: the edge is not there, does not answer, refuses, or answers something else than JSON.
    pub fn read(&self, path: &str) -> Result<Value, Failure> {
        let mut asked = self.agent.get(format!("{}{path}", self.address));
        if let Some(bearer) = self.bearer()? {
            asked = asked.header("authorization", bearer);
        }
        self.answer(asked.call())
    }

    /// Asks for what `path` names, where it is text for programs: `/metrics`.
    ///
    /// Errors: the edge is not there, does not answer, or refuses.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let mut asked = self.agent.get(format!("{}{path}", self.address));
        if let Some(bearer) = self.bearer()? {
            asked = asked.header("authorization", bearer);
        }
        let mut answer = asked.call().map_err(|cause| self.silent(&cause))?;
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        match (answer.status(), text) {
            (status, Ok(text)) if status.is_success() => Ok(text),
            (status, Ok(_)) => Err(self.refusal(status, &Value::Null)),
            (_, Err(cause)) => Err(self.silent(&cause)),
        }
    }

    /// The same, for those who cannot wait: with no answer `within` so long, there is none.
    ///
    /// Errors: as [`Edge::read`].
    pub fn read_within(&self, path: &str, within: Duration) -> Result<Value, Failure> {
        let asked = self.agent.get(format!("{}{path}", self.address));
        let mut asked = asked.config().timeout_global(Some(within)).build();
        if let Some(bearer) = self.bearer()? {
            asked = asked.header("authorization", bearer);
        }
        self.answer(asked.call())
    }

    /// Listens to what happens, behind the event `last`: server-sent events, for as long as the edge sends them.
    ///
    /// Errors: as [`Edge::read`].
    pub fn listen(&self, last: &str) -> Result<impl Read + Send + use<>, Failure> {
        let asked = self.agent.get(format!("{}/v1/events", self.address));
        let asked = asked.config().timeout_global(None).timeout_recv_response(Some(CONNECT)).build();
        let mut asked = asked.header("last-event-id", last);
        if let Some(bearer) = self.bearer()? {
            asked = asked.header("authorization", bearer);
        }
        let answer = asked.call();
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(answer.into_body().into_reader()),
            refused => self.answer(refused).and_then(|_| Err(Failure::Failed("no events came".into()))),
        }
    }

    /// Asks `path` to do what `body` says.
    ///
    /// Errors: as [`Edge::read`].
    pub fn ask(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, body)
    }

    /// The same by another method.
    ///
    /// Errors: as [`Edge::read`].
    pub fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut asked = Request::builder().method(method).uri(format!("{}{path}", self.address));
        if let Some(bearer) = self.bearer()? {
            asked = asked.header("authorization", bearer);
        }
        let asked = asked.header("content-type", "application/json").body(body.to_string());
        let asked = asked.map_err(|cause| Failure::Usage(format!("this cannot be asked: {cause}")))?;
        self.answer(
            self.agent.run(self.agent.configure_request(asked).allow_non_standard_methods(true).build()),
        )
    }

    fn bearer(&self) -> Result<Option<String>, Failure> {
        match &self.token {
            Some(token) if token.bytes().any(|byte| !byte.is_ascii_graphic()) => Err(Failure::Usage(
                "RHUMB_TOKEN holds what no token can hold: spaces or control characters".into(),
            )),
            token => Ok(token.as_ref().map(|token| format!("Bearer {token}"))),
        }
    }

    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut answer = answer.map_err(|cause| self.silent(&cause))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let text = text.map_err(|cause| self.silent(&cause))?;
        let value = serde_json::from_str::<Value>(&text);
        match value {
            Ok(value) if status.is_success() => Ok(value),
            Ok(value) => Err(self.refusal(status, &value)),
            Err(_) if status.is_success() => Err(Failure::Failed(format!(
                "what answers at {} is no edge's admin API: its answer is not JSON",
                self.address
            ))),
            Err(_) => Err(self.refusal(status, &Value::Null)),
        }
    }

    fn silent(&self, cause: &ureq::Error) -> Failure {
        let address = &self.address;
        Failure::Failed(match cause {
            ureq::Error::Timeout(_) => format!("the edge at {address} does not answer in time"),
            ureq::Error::HostNotFound => {
                format!("there is no host of the name in {address}; give another --admin")
            }
            ureq::Error::Io(cause) if cause.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()) => {
                format!(
                    "no TLS with the edge at {address} ({cause}); --ca names the authorities that it is believed by"
                )
            }
            ureq::Error::BodyExceedsLimit(_) => format!("the edge at {address} answers more than fits"),
            ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                format!("no edge answers at {address}; is it running? --admin names another")
            }
            cause => format!("no edge answers at {address} ({cause}); is it running? --admin names another"),
        })
    }

    /// What was typed is bad usage where the edge cannot understand it; all else is refused.
    fn refusal(&self, status: StatusCode, problem: &Value) -> Failure {
        let said = wire::said(problem);
        let says = said.as_ref().map_or_else(String::new, |said| format!("; the edge says: {said}"));
        let address = &self.address;
        match (status, &self.token) {
            (StatusCode::BAD_REQUEST, _) if said.is_some() => Failure::Usage(said.unwrap_or_default()),
            (StatusCode::UNAUTHORIZED, None) => {
                Failure::Failed(format!("the edge at {address} wants its token: set RHUMB_TOKEN to it{says}"))
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                Failure::Failed(format!("the edge at {address} does not take the token in RHUMB_TOKEN{says}"))
            }
            (StatusCode::METHOD_NOT_ALLOWED, _) => Failure::Failed(format!(
                "the edge at {address} does not know how to do this; it may be of another version{says}"
            )),
            _ => {
                Failure::Failed(said.unwrap_or_else(|| {
                    format!("the edge at {address} refuses with status {}", status.as_u16())
                }))
            }
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

/// `name` as one segment of a path.
pub fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// Whom an https edge is believed by, and what it is shown.
#[derive(Debug, Default)]
pub struct Trusted {
    /// The file of the authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// A chain and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Trusted {
    fn config(&self) -> Result<TlsConfig, Failure> {
        let told = |told: String| Failure::Usage(told);
        let of = |file: &Path| -> Result<Vec<Certificate<'static>>, Failure> {
            let chain = pem::file(file)
                .and_then(|text| pem::chain(&text).map_err(|cause| format!("{}: {cause}", file.display())));
            Ok(chain.map_err(told)?.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
        };
        let roots = match &self.ca {
            Some(file) => of(file)?,
            None => {
                let found = rustls_native_certs::load_native_certs().certs;
                found.iter().map(|one| Certificate::from_der(one).to_owned()).collect()
            }
        };
        let own = match &self.own {
            None => None,
            Some((chain, key)) => {
                let text = pem::file(key).map_err(told)?;
                // The cause may quote the line that it stumbled over.
                let key = PrivateKey::from_pem(&text)
                    .map_err(|_| told(format!("{}: holds no private key in PEM", key.display())))?;
                Some(ClientCert::new_with_certs(&of(chain)?, key))
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(own)
            .build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for typed in ["127.0.0.1:9900", "http://127.0.0.1:9900", "http://127.0.0.1:9900/"] {
            assert_eq!(typed.parse(), Ok(Address::default()));
        }
        for wrong in ["", "https://edge:9900/v1", "http://edge:9900/v1", "ftp://edge", "http://"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        assert_eq!("https://edge:9900/".parse::<Address>().unwrap().to_string(), "https://edge:9900");
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("acme-1.eu"), "acme-1.eu");
        assert_eq!(segment("../a b?é"), "..%2Fa%20b%3F%C3%A9");
    }

    #[test]
    fn a_token_that_would_break_the_header_is_told() {
        let edge = Edge::at(Address::default(), Some("se\ncret".into()), &Trusted::default()).unwrap();
        assert!(matches!(edge.read("/v1/status"), Err(Failure::Usage(_))));
    }
}
