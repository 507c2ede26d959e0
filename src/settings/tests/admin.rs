use super::*;

#[test]
fn an_admin_side_that_others_can_reach_has_tls_and_tokens_and_nothing_open() {
    const TLS: &str = r#"admin.tls = { certificate = { chain = "a.pem", key = "a.key" } }"#;
    const TOKENS: &str = "admin.token_file = \"tokens\"";
    for address in ["0.0.0.0:9900", "[::]:9900", "192.0.2.1:9900", "[::ffff:127.0.0.1]:9900"] {
        let address = format!("admin.address = \"{address}\"");
        let both = with(&format!("{address}\n{TLS}\n{TOKENS}"));
        assert!(!both.admin.open_reads && both.admin.tls.is_some(), "{address}");
        let told = wrong(&address);
        assert!(told.contains("tls = {") && told.contains("token_file ="), "{told}");
        assert!(told.contains("or address = \"127.0.0.1:9900\""), "{told}");
        let told = wrong(&format!("{address}\n{TLS}"));
        assert!(!told.contains("tls = {") && told.contains("token_file ="), "{told}");
        let told = wrong(&format!("{address}\n{TOKENS}"));
        assert!(told.contains("tls = {") && !told.contains("token_file ="), "{told}");
        let open = problems(&format!("{LEAST}{address}\n{TLS}\n{TOKENS}\nadmin.open_reads = true\n"));
        assert!(open.len() == 1 && open[0].starts_with("line 7, admin.open_reads: "), "{open:?}");
    }
    assert!(with(TLS).admin.open_reads, "on loopback reads are open as before");
}

#[test]
fn the_tls_of_the_admin_side_says_what_it_misses() {
    for (text, told) in [
        ("admin.tls = {}", "admin.tls.certificate: is missing; write tls.certificate = {"),
        (
            "admin.tls.certificate = { chain = \"a\" }",
            "admin.tls.certificate.key: is missing; name the PEM file of the key",
        ),
        (
            "admin.tls = { certificate = { chain = \"a\", key = \"b\" }, client_ids = [\"spiffe://a/b\"] }",
            "admin.tls.client_ids: there is no client_ca to judge client certificates by",
        ),
        ("admin.tls = { certificate = { chain = \"a\", key = \"b\" }, http2 = true }", "admin.tls.http2: "),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(told), "{found}");
    }
}
