//! A region of a few lines for the tests: it reads one head of each connection, does one thing, and closes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rhumb_decision::table::{ClientCertificate, RegionTls};
use rhumb_decision::units::Key;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// As good as for ever.
const YEARS_AHEAD: i32 = 4_000;

/// What a region does once it has read a head.
#[derive(Clone)]
pub(super) enum Does {
    /// Writes this and closes.
    Say(Arc<[u8]>),
    /// Writes this and keeps the connection.
    SayAndHang(Arc<[u8]>),
    /// Keeps the connection.
    Hang,
}

impl Does {
    pub(super) fn then_hang(self) -> Self {
        match self {
            Self::Say(bytes) => Self::SayAndHang(bytes),
            other => other,
        }
    }
}

/// A region on loopback; gone when dropped.
pub(super) struct Region {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Region {
    pub(super) async fn on_loopback(does: Does) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), does)
    }

    pub(super) fn on(listener: TcpListener, does: Does) -> Self {
        Self::start(listener, does, None)
    }

    /// Shows a certificate for `name`, and wants one of the same authority.
    pub(super) async fn with_tls(does: Does, authority: &Authority, name: &str) -> Self {
        let acceptor = authority.acceptor(authority.issue(name, YEARS_AHEAD));
        Self::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), does, Some(acceptor))
    }

    /// The same with a certificate that ran out long ago.
    pub(super) async fn with_expired_tls(does: Does, authority: &Authority, name: &str) -> Self {
        let acceptor = authority.acceptor(authority.issue(name, 2001));
        Self::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), does, Some(acceptor))
    }

    /// The heads of the requests that came.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn start(listener: TcpListener, does: Does, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let heads = Arc::default();
        let kept = Arc::clone(&heads);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (does, heads, tls) = (does.clone(), Arc::clone(&kept), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, does, &heads).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, does, &heads).await,
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        Self { address, heads, _tasks: tasks }
    }
}

/// Fails where the other side is gone, which ends it as well.
async fn serve<S>(mut stream: S, does: Does, heads: &Mutex<Vec<String>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let (bytes, hangs) = match does {
        Does::Say(bytes) => (bytes, false),
        Does::SayAndHang(bytes) => (bytes, true),
        Does::Hang => (Arc::from([]), true),
    };
    stream.write_all(&bytes).await.ok()?;
    stream.flush().await.ok()?;
    if hangs {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await.ok()
}

/// A certificate authority of its own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(super) fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
}

impl Authority {
    /// Believes this authority and shows a certificate of it, to a region called `name`.
    pub(super) fn tls(&self, name: &str) -> RegionTls {
        let (chain, key) = self.issue("edge.internal", YEARS_AHEAD);
        let (chain, key) = (chain.pem().into_bytes().into(), key.serialize_pem().into_bytes().into());
        let ca: Box<[u8]> = self.0.pem().into_bytes().into();
        let identity = Key::of(&ca).0 ^ Key::of(name.as_bytes()).0;
        let certificate = Some(ClientCertificate { chain, key });
        let (by_name, spiffe_id) = (true, None);
        RegionTls { server_name: name.into(), by_name, spiffe_id, ca: Some(ca), certificate, identity }
    }

    /// A certificate for `name`, good from 2000 to the beginning of `until`.
    fn issue(&self, name: &str, until: i32) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn acceptor(&self, (certificate, key): (rcgen::Certificate, KeyPair)) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
