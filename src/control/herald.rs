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
use rhumb_decision::units::{Epoch, Millis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::certificates::known::KnownLeaves;
use crate::control::clock::Clock;
use crate::control::document::files::hex;
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

/// Why a region's gateways have not all said that they know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Silence {
    /// One knows higher epochs.
    #[error("it knows higher epochs")]
    KnowsBetter(Vec<News>),
    /// The fence of one has lapsed, so writes may have passed it since.
    #[error("its fence has lapsed")]
    Lapsed,
    /// One did not answer, or refused.
    #[error("{0}")]
    No(String),
}

impl From<String> for Silence {
    fn from(why: String) -> Self {
        Self::No(why)
    }
}

/// The id of a fence: who raised it, and no other, lifts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FenceId(pub u64);

/// The fence that stands at each gateway of a region, by the number that the gateway gave it: whoever was fenced by it,
/// and no other, is switched by it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Standing(Vec<(SocketAddr, u64)>);

impl Standing {
    fn at(&self, gateway: SocketAddr) -> Option<u64> {
        self.0.iter().find(|(address, _)| *address == gateway).map(|(_, number)| *number)
    }
}

/// What gateways are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word<'a> {
    /// Let no write of these pass for so long, and say when none is on its way any more. Nothing is learned by it.
    Fence(FenceId, Millis),
    /// They are owned so from now on, and this fence has held until now. Nobody else is to hear of it yet.
    Fenced(&'a Standing),
    /// They are owned so from now on.
    Plain,
}

/// What a gateway says that does as it was told.
#[derive(Deserialize)]
struct Said {
    /// The number of the fence that it has raised.
    #[serde(default)]
    fenced: u64,
}

/// What a gateway says that knows better, or whose fence has lapsed.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    tenants: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    tenant: String,
    owner: String,
    epoch: u64,
}

#[derive(Serialize)]
struct Announcement<'a> {
    region: &'a str,
    tenants: Vec<Told<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<Fence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fenced: Option<u64>,
}

#[derive(Serialize)]
struct Fence {
    id: u64,
    ms: u64,
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
    /// Asked for a fence, each says by which number it stands there.
    ///
    /// # Errors
    /// Which gateway did not, and why; or that one knows better.
    pub async fn tell(
        &self,
        current: &Current,
        region: &str,
        (news, word): (&[News], Word<'_>),
        patience: Duration,
    ) -> Result<Standing, Silence> {
        let table = current.table();
        let id =
            table.region_named(region).ok_or_else(|| "the table in force does not have it".to_owned())?;
        let Some(declared) = table.region(id).filter(|region| region.gateway) else {
            return Ok(Standing::default());
        };
        let view = current.health().region(id);
        let addresses: Vec<SocketAddr> =
            view.map_or_else(Vec::new, |view| view.endpoints.iter().map(|e| e.address).collect());
        if addresses.is_empty() {
            return Err(Silence::No("none of its gateways has an address".to_owned()));
        }
        let told = addresses.into_iter().map(|address| async move {
            let said = self.say((declared, address), (news, word), patience).await?;
            Ok((address, said.fenced))
        });
        futures_util::future::try_join_all(told).await.map(Standing)
    }

    /// The same of one gateway of the region named `region`.
    ///
    /// # Errors
    /// As for all of them.
    pub async fn tell_at(
        &self,
        current: &Current,
        (region, address): (&str, SocketAddr),
        told: (&[News], Word<'_>),
        patience: Duration,
    ) -> Result<(), Silence> {
        let table = current.table();
        let declared = table.region_named(region).and_then(|id| table.region(id));
        let declared = declared.ok_or_else(|| "the table in force does not have it".to_owned())?;
        self.say((declared, address), told, patience).await.map(drop)
    }

    async fn say(
        &self,
        (region, address): (&Region, SocketAddr),
        (news, word): (&[News], Word<'_>),
        patience: Duration,
    ) -> Result<Said, Silence> {
        let fenced = match word {
            // It has come since, so it has not been fenced.
            Word::Fenced(standing) => Some(standing.at(address).ok_or(Silence::Lapsed)?),
            Word::Fence(..) | Word::Plain => None,
        };
        let body = written(&region.name, news, (word, fenced))?;
        let told = tokio::time::timeout(patience, self.tell_one(region, address, body)).await;
        let told = told.unwrap_or_else(|_| Err(Silence::No(format!("no answer within {patience:?}"))));
        told.map_err(|silence| match silence {
            Silence::No(why) => Silence::No(format!("{address}: {why}")),
            other => other,
        })
    }

    async fn tell_one(&self, region: &Region, address: SocketAddr, body: Bytes) -> Result<Said, Silence> {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let request = self.request(&region.name, address, body)?;
        match &region.tls {
            None => answered(exchange(stream, request).await?),
            Some(tls) => {
                let towards = self.towards(tls).await.ok_or_else(|| "its TLS cannot be set up".to_owned())?;
                let session = towards.connect(stream, &self.known).await;
                let session = session.map_err(|_| "no TLS session".to_owned())?;
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

fn written(region: &str, news: &[News], (word, fenced): (Word<'_>, Option<u64>)) -> Result<Bytes, String> {
    let tenants =
        news.iter().map(|one| Told { tenant: &one.tenant, owner: &one.owner, epoch: one.epoch.0 }).collect();
    let fence = match word {
        Word::Fence(id, span) => Some(Fence { id: id.0, ms: span.0 }),
        Word::Fenced(_) | Word::Plain => None,
    };
    let announcement = Announcement { region, tenants, fence, fenced };
    serde_json::to_vec(&announcement).map(Bytes::from).map_err(|e| e.to_string())
}

fn answered((status, body): (StatusCode, String)) -> Result<Said, Silence> {
    if status == StatusCode::OK {
        let no_answer = |_| Silence::No("its answer makes no sense".to_owned());
        return serde_json::from_str(&body).map_err(no_answer);
    }
    let refusal = serde_json::from_str::<Refusal>(&body).ok();
    match refusal {
        Some(Refusal { tenants, .. }) if status == StatusCode::CONFLICT && !tenants.is_empty() => {
            let news = tenants.into_iter().map(|Known { tenant, owner, epoch }| News {
                tenant: tenant.into(),
                owner: owner.into(),
                epoch: Epoch(epoch),
            });
            Err(Silence::KnowsBetter(news.collect()))
        }
        Some(Refusal { reason, .. }) if reason == "fence_lapsed" => Err(Silence::Lapsed),
        _ => {
            let said: String = body.chars().take(200).collect();
            Err(Silence::No(format!("it answered {} {said}", status.as_u16())))
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
