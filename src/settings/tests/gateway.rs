use super::*;

const ROLE: &str = "edge.role = \"gateway\"";
const KEYS: &str = "gateway.keys_file = \"edges.keys\"";
const EDGES: &str = "gateway.edges = [\"spiffe://prod.example/edge/*\"]";
const MUTUAL: &str = "[[listeners]]\naddress = \"0.0.0.0:8443\"\n\
    tls = { certificates = [{ chain = \"a\", key = \"b\" }], client_ca = \"c\" }\n";

/// A gateway on line 1, and `text` from line 4.
fn gateway(text: &str) -> Result<Settings, Vec<String>> {
    let head =
        format!("edge = {{ region = \"eu\", role = \"gateway\" }}\ntable.path = \"t.toml\"\n\n{text}\n");
    parse(&head).map_err(|found| found.list().iter().map(ToString::to_string).collect())
}

#[track_caller]
fn told(text: &str) -> String {
    let [told] = &gateway(text).unwrap_err()[..] else { panic!("{text}: {:?}", gateway(text)) };
    told.clone()
}

#[test]
fn a_gateway_believes_by_id_by_key_or_by_both() {
    let both = gateway(&format!("{EDGES}\n{KEYS}\n{MUTUAL}")).unwrap();
    assert_eq!(both.edge.role, Role::Gateway);
    let edges: Vec<&str> = both.gateway.edges.iter().map(|edge| edge.as_str()).collect();
    assert_eq!(edges, ["spiffe://prod.example/edge/*"]);
    assert_eq!(both.gateway.keys_file, Some("conf/edges.keys".into()));
    assert!(gateway(&format!("{EDGES}\n{MUTUAL}")).is_ok());
    let signed = with(&format!("{ROLE}\n{KEYS}"));
    assert!(signed.gateway.edges.is_empty() && signed.gateway.keys_file.is_some());
}

#[test]
fn a_gateway_that_believes_nobody_is_told_whom_it_could_believe() {
    assert_eq!(
        wrong(ROLE),
        "gateway: a gateway has to know which edges to believe; under [gateway], write edges = \
         [\"spiffe://prod.example/edge/*\"], keys_file = \"sign.keys\", or both"
    );
    let empty = told(&format!("gateway = {{}}\n{MUTUAL}"));
    assert!(empty.starts_with("line 4, gateway: a gateway has to know which edges"), "{empty}");
    let none = told(&format!("gateway.edges = []\n{MUTUAL}"));
    assert!(none.starts_with("line 4, gateway.edges: there is none; write edges = ["), "{none}");
}

#[test]
fn an_id_needs_a_listener_that_asks_for_certificates() {
    for listener in [
        "[[listeners]]\naddress = \"0.0.0.0:80\"",
        "[[listeners]]\naddress = \"0.0.0.0:80\"\ntls = { certificates = [{ chain = \"a\", key = \"b\" }] }",
    ] {
        let told = told(&format!("{EDGES}\n{listener}"));
        assert!(told.starts_with("line 4, gateway.edges: no listener asks for the certificate"), "{told}");
        assert!(gateway(&format!("{EDGES}\n{listener}\n{MUTUAL}")).is_ok(), "one of several is enough");
    }
}

#[test]
fn what_only_an_edge_does_is_no_key_of_a_gateway() {
    for (text, wanted) in [
        ("edge.show_region = true", "edge.show_region: a gateway answers edges, which tell clients by"),
        ("pin.keys_file = \"pin.keys\"", "pin.keys_file: a gateway makes no pins; edges do; leave it out"),
    ] {
        let found = problems(&format!("{LEAST}{ROLE}\n{KEYS}\n{text}\n"));
        assert!(found.len() == 1 && found[0].starts_with(&format!("line 6, {wanted}")), "{found:?}");
    }
    assert!(with(&format!("{ROLE}\n{KEYS}\nedge.show_region = false")).gateway.keys_file.is_some());
}

#[test]
fn an_edge_believes_no_edges() {
    for role in ["", "edge.role = \"edge\"\n"] {
        let found = problems(&format!("{LEAST}{KEYS}\n{role}"));
        assert_eq!(
            found,
            [
                "line 4, gateway: the role of this process is edge; under [edge], write role = \"gateway\", or leave \
              this section out"
            ]
        );
    }
}

#[test]
fn what_is_wrong_with_a_value_is_told_once() {
    for (text, wanted) in [
        ("gateway.edges = [\"prod.example\"]", "gateway.edges[0]: \"prod.example\" is no identity; write"),
        ("gateway.keys_file = 1", "gateway.keys_file: must be a path in quotes, not 1"),
        ("gateway = 1", "gateway: must be a table, not 1"),
    ] {
        let told = told(&format!("{text}\n{MUTUAL}"));
        assert!(told.starts_with(&format!("line 4, {wanted}")), "{told}");
    }
    assert_eq!(problems(&format!("{LEAST}edge.role = \"gatway\"\n{KEYS}\n")).len(), 1, "the role alone");
}
