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

#[test]
fn listeners_need_an_address_of_their_own() {
    let listeners = |lines: &str| {
        problems(&format!(
            "edge.region = \"eu\"\ntable.path = \"t\"\nadmin.address = \"127.0.0.1:9900\"\n{lines}"
        ))
    };
    assert_eq!(
        listeners("[[listeners]]\n"),
        ["line 4, listeners[0].address: is missing; write address = \"0.0.0.0:8080\""]
    );
    let two = |one: &str, two: &str| {
        listeners(&format!("[[listeners]]\naddress = \"{one}\"\n[[listeners]]\naddress = \"{two}\"\n"))
    };
    assert_eq!(
        two("0.0.0.0:80", "0.0.0.0:80"),
        [
            "line 7, listeners[1].address: 0.0.0.0:80 is taken by another listener, 0.0.0.0:80; write another port"
        ]
    );
    assert_eq!(two("127.0.0.1:80", "0.0.0.0:80").len(), 1);
    assert_eq!(two("127.0.0.1:80", "127.0.0.2:80").len(), 0);
    assert_eq!(two("127.0.0.1:0", "127.0.0.1:0").len(), 0);
    assert_eq!(two("0.0.0.0:80", "[::1]:80").len(), 0);
    assert_eq!(
        two("0.0.0.0:80", "0.0.0.0:9900"),
        [
            "line 7, listeners[1].address: 0.0.0.0:9900 is taken by the admin side, 127.0.0.1:9900; write another port"
        ]
    );
    for (address, fix) in [
        (":8080", "write \"0.0.0.0:8080\""),
        ("*:8080", "write \"0.0.0.0:8080\""),
        ("127.0.0.1", "write the port too, such as \"127.0.0.1:8080\""),
        ("::1", "write the port too, such as \"[::1]:8080\""),
        ("127.0.0.1:70000", "a port is a number from 0 to 65535"),
        ("edge.example:80", "write one such as \"0.0.0.0:8080\" or \"[::]:8080\""),
    ] {
        let told = two("0.0.0.0:80", address);
        assert_eq!(
            told,
            [format!("line 7, listeners[1].address: \"{address}\" is no IP address and port; {fix}")]
        );
    }
}
