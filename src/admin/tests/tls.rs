//! The admin side by TLS, as others than this machine reach it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsConnector;

use super::side_with;
use crate::admin::{AdminState, serve};
use crate::certificates::listener::CertificateStore;
use crate::settings::{Admin, Settings};
use crate::telemetry::fixture;

/// Whoever signs certificates, and the file of its own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Pair {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Pair { chain: made.pem(), key: key.serialize_pem() }
    }
}

/// The settings' `[admin]` with this `tls`, as if it stood in `folder`.
fn admin(folder: &Path, tls: &str) -> Admin {
    let text = format!(
        "edge.region = \"eu\"\ntable.path = \"t\"\nlisteners = [{{ address = \"127.0.0.1:0\" }}]\nadmin.tls = {tls}\n"
    );
    Settings::parse(&folder.join("rhumb.toml"), text, "host").unwrap().admin
}

fn write(folder: &Path, pair: &Pair) {
    std::fs::write(folder.join("a.pem"), &pair.chain).unwrap();
    std::fs::write(folder.join("a.key"), &pair.key).unwrap();
}

struct Running {
    address: SocketAddr,
    store: Arc<CertificateStore>,
    _stop: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
    path: PathBuf,
}

/// Serves with this pair and, of clients, those of `clients` alone.
#[expect(clippy::disallowed_methods, reason = "the test is where the parts are wired")]
async fn running(pair: &Pair, clients: Option<&Authority>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    write(&path, pair);
    let mut tls = r#"{ certificate = { chain = "a.pem", key = "a.key" } "#.to_owned();
    if let Some(clients) = clients {
        std::fs::write(path.join("clients.pem"), &clients.pem).unwrap();
        tls += r#", client_ca = "clients.pem" "#;
    }
    let settings = admin(&path, &(tls + "}"));
    let store = Arc::new(CertificateStore::open(settings.tls.as_ref().unwrap()).unwrap());
    let mut kept: Option<AdminState> = None;
    let by_tls = |state: &mut AdminState| {
        state.tls = Some(Arc::clone(&store));
        kept = Some(state.clone());
    };
    drop(side_with(by_tls, fixture::snapshot(1), None));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, kept.unwrap(), watch::channel(false).1, async {
        let _ = stopped.await;
    }));
    Running { address, store, _stop: stop, _folder: folder, path }
}

/// What the side answers to a GET; `None`: no TLS came about.
async fn get(side: &Running, by: &Authority, own: Option<&Pair>, host: &str, path: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(by.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(side.address).await.unwrap();
    let name = ServerName::try_from("admin.corp.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // The other side may end without a farewell; what it has said counts.
    let _ = stream.read_to_end(&mut answer).await;
    (!answer.is_empty()).then(|| String::from_utf8(answer).unwrap())
}

fn is(answer: &Option<String>, status: u16) -> bool {
    answer.as_ref().is_some_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")))
}

#[tokio::test]
async fn by_tls_the_names_of_the_certificate_are_the_names_of_the_edge() {
    let authority = Authority::new();
    let side = running(&authority.issue(&["admin.corp.example", "10.1.2.3"]), None).await;
    for (host, status) in [
        ("admin.corp.example", 200),
        ("ADMIN.corp.example:9900", 200),
        ("10.1.2.3:9900", 200),
        ("localhost", 200),
        ("corp.example", 403),
        ("x.admin.corp.example", 403),
        ("10.1.2.4", 403),
        ("0.0.0.0", 403),
    ] {
        let answer = get(&side, &authority, None, host, "/v1/table").await;
        assert!(is(&answer, status), "{host}: {answer:?}");
    }
    let mut plain = TcpStream::connect(side.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn another_certificate_is_shown_once_it_is_read_and_no_bad_one() {
    let (old, new) = (Authority::new(), Authority::new());
    let side = running(&old.issue(&["admin.corp.example"]), None).await;
    std::fs::write(side.path.join("a.pem"), "nothing").unwrap();
    assert_eq!(side.store.reload().refused.len(), 1);
    assert!(is(&get(&side, &old, None, "localhost", "/healthz").await, 200));
    assert!(get(&side, &new, None, "localhost", "/healthz").await.is_none());
    write(&side.path, &new.issue(&["admin.corp.example"]));
    assert_eq!(side.store.reload().taken, 1);
    assert!(is(&get(&side, &new, None, "localhost", "/healthz").await, 200));
    assert!(get(&side, &old, None, "localhost", "/healthz").await.is_none());
}

#[tokio::test]
async fn where_clients_have_to_show_a_certificate_nobody_else_is_answered() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let side = running(&servers.issue(&["admin.corp.example"]), Some(&clients)).await;
    let (known, stranger) = (clients.issue(&["anna"]), others.issue(&["anna"]));
    assert!(is(&get(&side, &servers, Some(&known), "localhost", "/healthz").await, 200));
    for own in [None, Some(&stranger)] {
        assert_eq!(get(&side, &servers, own, "localhost", "/healthz").await, None);
    }
}
