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
