//! TLS towards regions.

use super::*;

struct Pair {
    chain: String,
    key: String,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(vec!["eu.internal".to_owned()]).unwrap();
    Pair { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

/// A table whose third region has this TLS side, on line 11, beside sound PEM files.
fn folder(tls: &str) -> Folder {
    let folder = Folder::new(&format!(
        "{LEAST}[regions.ap]\njurisdiction = \"ap\"\nendpoints = [\"127.0.0.1:3\"]\ntls = {tls}\n"
    ));
    let (own, other) = (pair(), pair());
    folder.write("ca.pem", &other.chain);
    folder.write("chain.pem", format!("{}{}", own.chain, other.chain));
    folder.write("key.pem", &own.key);
    folder.write("other.pem", &other.key);
    folder.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
    folder.write("der.pem", b"\x30\x82\x00\xff\xfe");
    folder.write("half.pem", own.chain.get(..100).unwrap());
    folder.write("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.write("big.pem", "x".repeat((1 << 20) + 1));
    folder
}

#[test]
fn it_is_kept_as_it_was_written() {
    let all = folder(
        r#"{ server_name = "ap.internal", ca = "ca.pem", certificate = { chain = "chain.pem", key = "key.pem" } }"#,
    );
    let document = all.read().map_err(|unreadable| unreadable.problems).unwrap();
    let tls = document.table.regions()[0].tls.as_ref().unwrap();
    let read = |name: &str| std::fs::read(all.path(name)).unwrap();
    assert_eq!(tls.server_name.as_ref(), "ap.internal");
    assert_eq!(tls.ca.as_deref(), Some(&read("ca.pem")[..]));
    let certificate = tls.certificate.as_ref().unwrap();
    assert_eq!((&*certificate.chain, &*certificate.key), (&read("chain.pem")[..], &read("key.pem")[..]));
    let names = ["t.toml", "ca.pem", "chain.pem", "key.pem"];
    assert_eq!(document.files, names.map(|name| all.path(name)));
    let plain = folder(r#"{ server_name = "ap.internal" }"#).read().unwrap();
    let plain = plain.table.regions()[0].tls.as_ref().unwrap();
    assert!(plain.ca.is_none() && plain.certificate.is_none());
    assert_ne!(plain.identity, tls.identity);
}

#[test]
fn another_certificate_is_another_table() {
    let folder = folder(r#"{ server_name = "ap.internal", ca = "ca.pem" }"#);
    let before = folder.read().unwrap();
    folder.write("ca.pem", pair().chain);
    let after = folder.read().unwrap();
    assert_ne!(before.hash, after.hash);
    let identity = |document: &Document| document.table.regions()[0].tls.as_ref().unwrap().identity;
    assert_ne!(identity(&before), identity(&after));
}

#[test]
fn an_id_is_proved_besides_the_name_or_in_its_place() {
    let id = "spiffe://prod.example/region/ap";
    let read = |tls: &str| folder(tls).read().unwrap().table.regions()[0].tls.clone().unwrap();
    let both = read(&format!("{{ server_name = \"ap.internal\", spiffe_id = \"{id}\", ca = \"ca.pem\" }}"));
    assert_eq!(
        (&*both.server_name, both.by_name, both.spiffe_id.as_deref()),
        ("ap.internal", true, Some(id))
    );
    let alone = read(&format!("{{ spiffe_id = \"{id}\", ca = \"ca.pem\" }}"));
    assert_eq!(
        (&*alone.server_name, alone.by_name, alone.spiffe_id.as_deref()),
        ("prod.example", false, Some(id))
    );
    let named = read("{ server_name = \"prod.example\", ca = \"ca.pem\" }");
    assert!(named.by_name && named.spiffe_id.is_none());
}

#[test]
fn another_id_is_another_identity() {
    let all = folder("{ server_name = \"prod.example\", ca = \"ca.pem\" }");
    let identity = |tls: &str| {
        all.write(
            "t.toml",
            format!(
                "{LEAST}[regions.ap]\njurisdiction = \"ap\"\nendpoints = [\"127.0.0.1:3\"]\ntls = {tls}\n"
            ),
        );
        all.read().unwrap().table.regions()[0].tls.as_ref().unwrap().identity
    };
    let identities = [
        identity("{ server_name = \"prod.example\", ca = \"ca.pem\" }"),
        identity("{ server_name = \"prod.example\", ca = \"chain.pem\" }"),
        identity("{ spiffe_id = \"spiffe://prod.example/a\", ca = \"ca.pem\" }"),
        identity("{ spiffe_id = \"spiffe://prod.example/b\", ca = \"ca.pem\" }"),
        identity(
            "{ server_name = \"prod.example\", spiffe_id = \"spiffe://prod.example/a\", ca = \"ca.pem\" }",
        ),
    ];
    let different: std::collections::HashSet<_> = identities.iter().collect();
    assert_eq!(different.len(), identities.len());
}

#[test]
fn what_cannot_be_is_told_at_its_key() {
    let name = "server_name = \"a\"";
    for (tls, parts) in [
        ("{}".to_owned(), &["server_name: is missing"][..]),
        ("{ server_name = \"\" }".into(), &["server_name: is empty"]),
        (
            "{ server_name = \"a b\" }".into(),
            &["server_name: \"a b\" is no name that a certificate could carry"],
        ),
        (
            "{ spiffe_id = \"spiffe://prod.example/eu\" }".into(),
            &["spiffe_id: no public authority vouches for"],
        ),
        (
            "{ spiffe_id = \"prod.example/eu\", ca = \"ca.pem\" }".into(),
            &["spiffe_id: \"prod.example/eu\" is no SPIFFE id; write one such as"],
        ),
        (
            "{ spiffe_id = \"spiffe://prod.example/*\", ca = \"ca.pem\" }".into(),
            &["spiffe_id: \"spiffe://prod.example/*\" is no SPIFFE id"],
        ),
        (format!("{{ {name}, ca = \"none.pem\" }}"), &["ca: there is no file none.pem"]),
        (format!("{{ {name}, ca = \"key.pem\" }}"), &["ca: key.pem holds no certificate"]),
        (format!("{{ {name}, ca = \"garbage.pem\" }}"), &["ca: garbage.pem is no PEM file"]),
        (
            format!("{{ {name}, ca = \"odd.pem\" }}"),
            &["ca: odd.pem holds a certificate that cannot be an authority"],
        ),
        (format!("{{ {name}, ca = \"der.pem\" }}"), &["ca: der.pem holds no certificate"]),
        (format!("{{ {name}, ca = \"big.pem\" }}"), &["ca: big.pem is larger than 1 MiB; name a PEM file"]),
        (format!("{{ {name}, ca = \".\" }}"), &["ca: . is a directory; name an ordinary file"]),
        (
            format!("{{ {name}, certificate = {{}} }}"),
            &["certificate.chain: is missing", "certificate.key: is missing"],
        ),
        (
            format!("{{ {name}, certificate = {{ chain = \"chain.pem\", key = \"other.pem\" }} }}"),
            &["certificate: chain.pem and other.pem do not go together"],
        ),
        (
            format!("{{ {name}, certificate = {{ chain = \"half.pem\", key = \"chain.pem\" }} }}"),
            &["certificate.chain: half.pem", "certificate.key: chain.pem holds no private key"],
        ),
    ] {
        let told = folder(&tls).told();
        assert_eq!(told.len(), parts.len(), "{tls}: {told:?}");
        for (message, part) in told.iter().zip(parts) {
            let wanted = format!("t.toml: line 11, regions.ap.tls.{part}");
            assert!(message.starts_with(&wanted), "{tls}: {message}");
        }
    }
    assert!(
        wrong_region("tls = { server_name = \"a\", ca = \"ca.pem\" }").contains("a text alone was given")
    );
}
