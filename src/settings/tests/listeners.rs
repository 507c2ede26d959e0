//! What a listener may say, and what must agree with it.

use super::{parse, problems};

#[test]
fn the_proxy_protocol_needs_a_proxy_that_is_trusted() {
    let listener =
        "edge.region = \"eu\"\ntable.path = \"routing.toml\"\n[[listeners]]\naddress = \"0.0.0.0:80\"\n";
    let on = format!("{listener}proxy_protocol = true\n");
    let settings = parse(&format!("{on}[trust]\nproxies = [\"10.0.0.0/8\"]\n")).unwrap();
    assert!(settings.listeners[0].proxy_protocol);
    for trust in ["", "[trust]\nproxies = []\n"] {
        let found = problems(&format!("{on}{trust}"));
        assert_eq!(
            found,
            [
                "line 5, listeners[0].proxy_protocol: no proxy is trusted to say whom a connection comes from; \
              under [trust], write proxies = [\"10.0.0.0/8\"], or leave this out"
            ]
        );
    }
    assert_eq!(problems(&format!("{on}[trust]\nproxies = 7\n")).len(), 1, "what is told is not told twice");
    assert!(problems(&format!("{listener}proxy_protocol = false\n")).is_empty());
}
