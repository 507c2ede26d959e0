//! TLS on both sides: certificates by name towards clients, identities towards regions.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rhumb_decision::table::{ClientCertificate, RegionTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::bench::{PATIENCE, Plan, ToyRegion, field, get, read_message};

/// A certificate and its key, PEM both.
struct Pair {
    chain: String,
    key: String,
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let made = params.signed_by(&key, &self.0).unwrap();
        Pair { chain: made.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }
}

fn chain(pair: &Pair) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pair.chain.as_bytes()).map(Result::unwrap).collect()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A region that speaks TLS, and wants to see a certificate of `clients`; what it was sent, in order.
fn tls_region(own: &Pair, clients: &Authority) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(own), key(own))
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                while let Some(request) = read_message(&mut stream) {
                    log.lock().unwrap().push(request);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsafe");
                }
            });
        }
    });
    (address, seen)
}

fn towards(name: &str, ca: &Authority, own: Option<&Pair>) -> RegionTls {
    RegionTls {
        server_name: name.into(),
        by_name: true,
        spiffe_id: None,
        ca: Some(ca.pem().into_bytes().into()),
        certificate: own.map(|own| ClientCertificate {
            chain: own.chain.clone().into_bytes().into(),
            key: own.key.clone().into_bytes().into(),
        }),
        identity: 1,
    }
}

#[test]
fn a_region_and_an_edge_know_each_other_by_their_certificates() {
    let (regions, edges, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let own = edges.issue("edge.internal");
    let (eu, seen) = tls_region(&regions.issue("eu.internal"), &edges);
    let plan = |tls: RegionTls| {
        let mut plan = Plan::new(&[eu], &[]);
        plan.tls = Some(tls);
        plan.start()
    };
    let edge = plan(towards("eu.internal", &regions, Some(&own)));
    for _ in 0..2 {
        assert!(edge.ask(&get()).ends_with("safe"));
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    for (why, tls) in [
        ("another name", towards("us.internal", &regions, Some(&own))),
        ("another authority", towards("eu.internal", &strangers, Some(&own))),
        ("a strange edge", towards("eu.internal", &regions, Some(&strangers.issue("edge.internal")))),
        ("no certificate", towards("eu.internal", &regions, None)),
    ] {
        let answer = plan(tls).ask(&get());
        assert!(answer.starts_with("HTTP/1.1 50"), "{why}: {answer}");
    }
    assert_eq!(seen.lock().unwrap().len(), 2, "nobody else got a request through");
}

/// Asks over TLS as `name`, believing `ca`; the response, or the reason why there was none.
fn ask_tls(address: SocketAddr, name: &str, ca: &Authority, own: Option<&Pair>) -> Result<String, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca.roots());
    let config = match own {
        Some(own) => builder.with_client_auth_cert(chain(own), key(own)).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    stream.write_all(get().as_bytes()).map_err(|cause| cause.to_string())?;
    let mut first = [0; 1];
    stream.read_exact(&mut first).map_err(|cause| cause.to_string())?;
    Ok(format!("{}{}", char::from(first[0]), read_message(&mut stream).unwrap_or_default()))
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn listener(dir: &Path, pairs: &[(&str, &Pair)], more: &str) -> String {
    let list: Vec<_> = pairs
        .iter()
        .map(|(name, pair)| {
            let chain = write(dir, &format!("{name}.pem"), &pair.chain);
            let key = write(dir, &format!("{name}.key"), &pair.key);
            format!("{{ chain = {:?}, key = {:?} }}", chain, key)
        })
        .collect();
    format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntls.certificates = [{}]\n{more}\n", list.join(", "))
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Authority::new(), Authority::new());
    let pairs = [("one", &one.issue("one.example")), ("other", &other.issue("*.app.example"))];
    let eu = ToyRegion::start(&[]);
    let plan = Plan::new(&[eu.address], &[]).settings(listener(dir.path(), &pairs, "").leak());
    let edge = plan.start();
    let (plain, tls) = (edge.address, edge.addresses[0]);
    assert_ne!(plain, tls);
    assert!(ask_tls(tls, "acme.app.example", &other, None).unwrap().ends_with("fine"));
    assert_eq!(field(&eu.only(), "x-forwarded-proto"), Some("https"));
    assert!(ask_tls(tls, "one.example", &one, None).unwrap().ends_with("fine"));
    let wrong = ask_tls(tls, "unknown.example", &one, None).unwrap_err();
    assert!(wrong.contains("not valid for name"), "the first, which its client knows the issuer of: {wrong}");
}

#[test]
fn a_listener_may_want_to_know_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let (edges, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let ca = write(dir.path(), "clients.pem", &clients.pem());
    let pairs = [("edge", &edges.issue("acme.app.example"))];
    let more = format!("tls.client_ca = {ca:?}\ntls.client_auth = \"required\"");
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).settings(listener(dir.path(), &pairs, &more).leak()).start();
    let ask = |own: Option<&Pair>| ask_tls(edge.addresses[0], "acme.app.example", &edges, own);
    assert!(ask(Some(&clients.issue("client"))).unwrap().ends_with("fine"));
    assert!(ask(None).is_err() && ask(Some(&strangers.issue("client"))).is_err());
    assert_eq!(eu.seen().len(), 1);
}
