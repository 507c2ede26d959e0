//! Which versions of HTTP a listener speaks.

use super::*;

const TLS: &str = "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]";

/// The settings with one listener that has these keys besides its address.
fn listening(keys: &str) -> Result<Settings, String> {
    let text = format!(
        "[edge]\nregion = \"eu\"\n[[listeners]]\naddress = \"0.0.0.0:80\"\n{keys}\n[table]\npath = \"routing.toml\"\n"
    );
    parse(&text).map_err(|problems| format!("{problems:?}"))
}

#[test]
fn tls_offers_http2_unless_it_is_switched_off() {
    for (keys, offered) in [
        (TLS.to_owned(), true),
        (format!("{TLS}\nhttp2 = true"), true),
        (format!("{TLS}\nhttp2 = false"), false),
    ] {
        let settings = listening(&keys).unwrap();
        assert_eq!(settings.listeners[0].tls.as_ref().unwrap().http2, offered, "{keys}");
    }
}

#[test]
fn in_the_clear_http2_is_taken_where_it_is_asked_for() {
    assert!(!listening("").unwrap().listeners[0].h2c);
    assert!(listening("h2c = true").unwrap().listeners[0].h2c);
}

#[test]
fn a_key_that_means_nothing_here_is_told_with_the_one_that_does() {
    let told = listening("http2 = true").unwrap_err();
    assert!(told.contains("listeners[0].http2") && told.contains("write h2c = true"), "{told}");
    let told = listening(&format!("{TLS}\nh2c = true")).unwrap_err();
    assert!(told.contains("listeners[0].h2c") && told.contains("leave this out"), "{told}");
}

#[test]
fn the_number_of_streams_is_bounded() {
    for (written, streams) in [("1", Some(1)), ("1000", Some(1000)), ("0", None), ("1001", None)] {
        let text = format!("{LEAST}limits.streams = {written}\n");
        assert_eq!(parse(&text).ok().map(|settings| settings.limits.streams), streams, "{written}");
    }
}

#[test]
fn tls_needs_certificates_with_their_keys() {
    let tls = |lines: &str| {
        problems(&format!(
            "edge.region = \"eu\"\ntable.path = \"t\"\n[[listeners]]\naddress = \"0.0.0.0:443\"\n{lines}"
        ))
    };
    let fix = "write tls.certificates = [{ chain = \"edge.pem\", key = \"edge.key\" }]";
    assert_eq!(tls("tls = {}\n"), [format!("line 5, listeners[0].tls.certificates: is missing; {fix}")]);
    assert_eq!(
        tls("tls.certificates = []\n"),
        [format!("line 5, listeners[0].tls.certificates: there is none; {fix}")]
    );
    assert_eq!(
        tls("tls.certificates = [\n{ chain = \"a\", key = \"b\" },\n{ chain = \"a\", kee = \"b\" },\n]\n"),
        [
            "line 7, listeners[0].tls.certificates[1].kee: there is no key \"kee\" here; did you mean \"key\"?",
            "line 7, listeners[0].tls.certificates[1].key: is missing; name the PEM file of the key",
        ]
    );
    let good = "tls.certificates = [{ chain = \"a\", key = \"b\" }]\n";
    assert_eq!(
        tls(&format!("{good}tls.client_auth = \"required\"\n")),
        ["line 6, listeners[0].tls.client_auth: there is no client_ca to judge client certificates by; \
          write tls.client_ca too, or leave this out"]
    );
    assert_eq!(
        tls(&format!("{good}tls.client_ca = \"c\"\ntls.client_auth = \"reqired\"\n")),
        ["line 7, listeners[0].tls.client_auth: must not be \"reqired\"; did you mean \"required\"?"]
    );
    assert_eq!(
        tls(&format!("{good}tls.client_ids = [\"spiffe://prod.example/edge/*\"]\n")),
        ["line 6, listeners[0].tls.client_ids: there is no client_ca to judge client certificates by; \
          write tls.client_ca too, or leave this out"]
    );
    assert_eq!(
        tls(&format!("{good}tls.client_ca = \"c\"\ntls.client_ids = []\n")),
        [
            "line 7, listeners[0].tls.client_ids: there is none; name who may come, or leave this out to let every \
          certificate of client_ca in"
        ]
    );
    let told = tls(&format!("{good}tls.client_ca = \"c\"\ntls.client_ids = [\"spiffe://*/edge\"]\n"));
    assert!(
        told[0].starts_with("line 7, listeners[0].tls.client_ids[0]: \"spiffe://*/edge\" is no identity")
    );
    let settings = parse(&format!(
        "edge.region = \"eu\"\ntable.path = \"t\"\n[[listeners]]\naddress = \"0.0.0.0:443\"\n{good}tls.client_ca = \"c\"\n"
    ));
    let listeners = settings.unwrap().listeners;
    let clients = listeners[0].tls.as_ref().unwrap().clients.as_ref().unwrap();
    assert_eq!(clients.auth, ClientAuth::Required, "who names a client CA and no more is not left open");
}
