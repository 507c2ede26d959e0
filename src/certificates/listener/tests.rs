use std::path::PathBuf;

use super::*;

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, hosts: &[&str]) -> Certificate {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        let (chain, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Certificate { chain, key }
    }
}

fn tls(certificates: Vec<Certificate>) -> ListenerTls {
    ListenerTls { certificates, clients: None, http2: true }
}

#[test]
fn a_name_finds_its_certificate_and_any_other_the_first() {
    let files = Files::new();
    let provider = rustls::crypto::ring::default_provider();
    let certificates = [
        files.write("one", &["a.example"]),
        files.write("wild", &["*.app.example", "a.example"]),
        files.write("exact", &["acme.app.example"]),
    ];
    let named: Vec<_> = certificates.iter().map(|c| Pair::load(c, &provider).unwrap().named).collect();
    let by_name = ByName::new(&named).unwrap();
    for (asked, at) in [
        (Some("a.example"), 0),
        (Some("A.Example"), 0),
        (Some("globex.app.example"), 1),
        (Some("acme.app.example"), 2),
        (Some("x.y.app.example"), 0),
        (Some("app.example"), 0),
        (None, 0),
    ] {
        assert!(Arc::ptr_eq(&by_name.choose(asked), &named[at].key), "{asked:?}");
    }
}

#[test]
fn every_bad_file_is_named_with_its_reason() {
    let files = Files::new();
    let good = files.write("good", &["a.example"]);
    let other = files.write("other", &["b.example"]);
    std::fs::write(files.path("text.pem"), "no certificate").unwrap();
    std::fs::write(files.path("big.pem"), vec![b'x'; (1 << 20) + 1]).unwrap();
    let settings = tls(vec![
        Certificate { chain: good.chain.clone(), key: other.key.clone() },
        Certificate { chain: files.path("none.pem"), key: good.key.clone() },
        Certificate { chain: files.path("text.pem"), key: good.key.clone() },
        Certificate { chain: good.chain.clone(), key: good.chain.clone() },
        Certificate { chain: files.path("big.pem"), key: good.key.clone() },
        Certificate { chain: files.dir.path().into(), key: good.key.clone() },
    ]);
    let told = CertificateStore::open(&settings).err().unwrap();
    assert_eq!(told.len(), 6, "{told:#?}");
    for (told, part) in told.iter().zip([
        "other.key: is not the key of",
        "none.pem: cannot be read",
        "text.pem: holds no certificate",
        "good.pem: holds no private key",
        "big.pem: is longer than",
        "is not an ordinary file",
    ]) {
        assert!(told.contains(part), "{told} lacks {part}");
    }
}

#[test]
fn a_pair_that_cannot_be_used_keeps_the_old_one_and_hinders_no_other() {
    let files = Files::new();
    let (one, two) = (files.write("one", &["a.example"]), files.write("two", &["b.example"]));
    let store = CertificateStore::open(&tls(vec![one.clone(), two])).unwrap();
    let key =
        |store: &CertificateStore, at: usize| Arc::clone(&store.loaded.lock().unwrap().pairs[at].named.key);
    let (first, second) = (key(&store, 0), key(&store, 1));
    std::fs::write(&one.key, "broken").unwrap();
    files.write("two", &["b.example"]);
    let outcome = store.reload();
    assert_eq!((outcome.taken, outcome.refused.len()), (1, 1));
    assert!(outcome.refused[0].contains("one.key"), "{outcome:?}");
    assert!(Arc::ptr_eq(&key(&store, 0), &first) && !Arc::ptr_eq(&key(&store, 1), &second));
    files.write("one", &["a.example"]);
    assert_eq!(store.reload(), Reloaded { taken: 1, refused: Vec::new() });
    assert!(!Arc::ptr_eq(&key(&store, 0), &first));
}

#[test]
fn where_nothing_is_new_sessions_may_still_be_resumed() {
    let files = Files::new();
    let store = CertificateStore::open(&tls(vec![files.write("one", &["a.example"])])).unwrap();
    let before = store.offer();
    assert_eq!(store.reload(), Reloaded::default());
    assert!(Arc::ptr_eq(&before, &store.offer()));
}

#[test]
fn every_file_is_told_and_when_it_ends() {
    let files = Files::new();
    let one = files.write("one", &["a.example"]);
    let store = CertificateStore::open(&tls(vec![one.clone()])).unwrap();
    assert_eq!(store.files().collect::<Vec<_>>(), [one.chain.clone(), one.key]);
    let lasting = store.lasting();
    assert_eq!((lasting.len(), lasting[0].kind), (1, "listener"));
    assert_eq!(lasting[0].file, one.chain.display().to_string());
    assert!(lasting[0].ends > Duration::from_secs(4_000_000_000), "as the generator makes them: {lasting:?}");
}
