//! Tells a region's gateways who owns what from now on, and waits until each of them has said that it knows.
//!
//! Never: takes silence for a yes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rhumb_decision::owned::News;
use rhumb_decision::table::{Region, RegionTls};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::certificates::known::KnownLeaves;
use crate::control::clock::Clock;
use crate::control::prober::Identities;
use crate::control::snapshot::Current;
use crate::keys::{KeyStore, Keys};

/// Where gateways are told.
pub const PATH: &str = "/.well-known/rhumb/ownership";

/// The most of an answer that is read: a gateway may say which higher epochs it knows.
const MAX_ANSWER: usize = 256 * 1024;

const AGENT: &str = concat!("rhumb/", env!("CARGO_PKG_VERSION"));

/// Tells gateways.
#[derive(Clone)]
pub struct Herald {
    clock: Clock,
    known: KnownLeaves,
    signing: Option<Arc<KeyStore>>,
    identities: Arc<Mutex<Identities>>,
}

#[derive(Serialize)]
struct Announcement<'a> {
    region: &'a str,
    tenants: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    tenant: &'a str,
    owner: &'a str,
    epoch: u64,
}

impl Herald {
    /// A herald.
    ///
    /// - `known`: leaves of regions that have proved their id.
    /// - `signing`: what signs requests to regions; `None`: nothing does, and gateways know edges by their certificates.
    #[must_use]
    pub fn new(clock: Clock, known: KnownLeaves, signing: Option<Arc<KeyStore>>) -> Self {
        Self { clock, known, signing, identities: Arc::default() }
    }

    /// Returns once every gateway of the region named `region` has said that it knows `news`; at once where it has none.
    ///
    /// # Errors
    /// Which gateway did not, and why, for people.
    pub async fn tell(
        &self,
        current: &Current,
        region: &str,
        news: &[News],
        patience: Duration,
    ) -> Result<(), String> {
        let table = current.table();
        let id = table.region_named(region).ok_or("the table in force does not have it")?;
        let Some(declared) = table.region(id).filter(|region| region.gateway) else { return Ok(()) };
        let view = current.health().region(id);
        let addresses: Vec<SocketAddr> =
            view.map_or_else(Vec::new, |view| view.endpoints.iter().map(|e| e.address).collect());
        if addresses.is_empty() {
            return Err("none of its gateways has an address".to_owned());
        }
        let body = self.written(region, news)?;
        let told = addresses.into_iter().map(|address| {
            let body = body.clone();
            async move {
                let told = tokio::time::timeout(patience, self.tell_one(declared, address, body)).await;
                let told = told.unwrap_or_else(|_| Err(format!("no answer within {patience:?}")));
                told.map_err(|why| format!("{address}: {why}"))
            }
        });
        futures_util::future::try_join_all(told).await.map(drop)
    }

    fn written<'n>(&self, region: &'n str, news: &'n [News]) -> Result<Bytes, String> {
        let told = |one: &'n News| Told { tenant: &one.tenant, owner: &one.owner, epoch: one.epoch.0 };
        let announcement = Announcement { region, tenants: news.iter().map(told).collect() };
        serde_json::to_vec(&announcement).map(Bytes::from).map_err(|e| e.to_string())
    }

    async fn tell_one(&self, region: &Region, address: SocketAddr, body: Bytes) -> Result<(), String> {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let request = self.request(&region.name, address, body)?;
        match &region.tls {
            None => answered(exchange(stream, request).await?),
            Some(tls) => {
                let towards = self.towards(tls).await.ok_or("its TLS cannot be set up")?;
                let session = towards.connect(stream, &self.known).await.map_err(|_| "no TLS session")?;
                answered(exchange(session, request).await?)
            }
        }
    }

    async fn towards(&self, tls: &RegionTls) -> Option<crate::certificates::region::Towards> {
        let mut identities = self.identities.lock().await;
        if identities.of((tls, false)).is_none() {
            identities.prepare(std::iter::once((tls, false))).await;
        }
        identities.of((tls, false))
    }

    fn request(
        &self,
        region: &str,
        address: SocketAddr,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::post(PATH)
            .header(HOST, address.to_string())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json");
        if let Some(keys) = &self.signing
            && let Some(signature) = signed(&keys.keys(), self.clock.wall().as_secs(), region, &body)
        {
            request = request.header("X-Rhumb-Signature", signature);
        }
        request.body(Full::new(body)).map_err(|e| e.to_string())
    }
}

/// Over `v1-ownership`, time, region and the SHA-256 of the body in lower-case hex: one line each, no line end at the
/// end.
fn signed(keys: &Keys, time: u64, region: &str, body: &[u8]) -> Option<String> {
    keys.seal("v1-ownership", time, &[region, &hex(&Sha256::digest(body))])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn answered((status, body): (StatusCode, String)) -> Result<(), String> {
    match status {
        StatusCode::OK => Ok(()),
        other => {
            Err(format!("it answered {} {}", other.as_u16(), body.chars().take(200).collect::<String>()))
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = handshake;
    let mut answer = std::pin::pin!(async move {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    });
    tokio::select! {
        answered = &mut answer => answered,
        // The connection may be over before its answer has been taken.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_region_time_and_body() {
        let secret = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
        let keys = Keys::parse("sign.keys".as_ref(), format!("one {secret}").as_bytes()).unwrap();
        let sign = |time, region, body: &[u8]| signed(&keys, time, region, body).unwrap();
        let one = sign(1, "eu", b"{}");
        assert!(one.starts_with("v1;kid=one;t=1;mac=") && one == sign(1, "eu", b"{}"), "{one}");
        for other in [sign(2, "eu", b"{}"), sign(1, "us", b"{}"), sign(1, "eu", b"{ }")] {
            assert_ne!(one.split("mac=").last(), other.split("mac=").last());
        }
    }
}
