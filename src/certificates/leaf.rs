//! One certificate, read: whom it names, and until when.
//!
//! Never: judges it. That somebody holds it and that an authority signed it is for the handshake to prove.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rhumb_decision::spiffe;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// What a certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Its DNS names in lower case; one may begin with `*.`.
    pub dns: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its SPIFFE id: the one URI among its names. `None` where there is no URI, more than one, or one that is no id.
    pub spiffe_id: Option<Box<str>>,
    /// The common name of its subject; `None` where there is none, more than one, or no text.
    pub common_name: Option<Box<str>>,
    /// When it ends, since 1970; zero where it ended before that.
    pub not_after: Duration,
}

impl Leaf {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// What is wrong with it, for a sentence that begins with the file.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der)
            .map_err(|cause| format!("is no certificate: {cause}"))?;
        let names = parsed.subject_alternative_name().map_err(|cause| format!("has bad names: {cause}"))?;
        let mut leaf = Self {
            dns: Vec::new(),
            addresses: Vec::new(),
            spiffe_id: None,
            common_name: common_name(&parsed),
            not_after: not_after(&parsed),
        };
        let mut uris = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => leaf.dns.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => leaf.addresses.extend(address(bytes)),
                GeneralName::URI(uri) => uris.push(*uri),
                _ => {}
            }
        }
        if let [uri] = uris[..]
            && spiffe::is_id(uri)
        {
            leaf.spiffe_id = Some(uri.into());
        }
        Ok(leaf)
    }

    /// Whether it is for this host: a name in lower case, where a star stands for one label, or an address.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let under = host.split_once('.').map(|(_, under)| under);
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => under == Some(domain),
            None => name == host,
        })
    }
}

/// When the first of several certificates ends, since 1970; `None`: there is none that can be read.
#[must_use]
pub fn first_end<'c>(chain: impl IntoIterator<Item = &'c [u8]>) -> Option<Duration> {
    let end = |der| x509_parser::parse_x509_certificate(der).ok().map(|(_, parsed)| not_after(&parsed));
    chain.into_iter().filter_map(end).min()
}

fn not_after(parsed: &X509Certificate<'_>) -> Duration {
    Duration::from_secs(u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0))
}

fn common_name(parsed: &X509Certificate<'_>) -> Option<Box<str>> {
    let mut all = parsed.subject().iter_common_name();
    match (all.next(), all.next()) {
        (Some(only), None) => only.as_str().ok().map(Into::into),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        Leaf::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    }

    #[test]
    fn everything_that_it_names_is_told() {
        let read = leaf(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("A.Example".try_into().unwrap()),
                SanType::DnsName("*.app.example".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
                uri("spiffe://prod.example/edge/eu"),
            ];
            params.distinguished_name.push(DnType::CommonName, "acme");
            params.not_after = date_time_ymd(2030, 1, 1);
        });
        assert_eq!(read.dns, ["a.example", "*.app.example"]);
        assert_eq!(read.spiffe_id.as_deref(), Some("spiffe://prod.example/edge/eu"));
        assert_eq!(read.not_after, Duration::from_secs(1_893_456_000));
        for host in ["a.example", "x.app.example", "192.0.2.7", "[2001:db8::1]"] {
            assert!(read.is_for(host), "{host}");
        }
        for host in ["b.example", "app.example", "x.y.app.example", "192.0.2.8", "", "*.app.example.evil"] {
            assert!(!read.is_for(host), "{host}");
        }
    }

    #[test]
    fn an_id_is_the_only_uri_or_there_is_none() {
        let with =
            |uris: &[&str]| leaf(|params| params.subject_alt_names = uris.iter().map(|u| uri(u)).collect());
        let (one, two) = ("spiffe://prod.example/edge/eu", "spiffe://prod.example/edge/us");
        assert_eq!(with(&[one]).spiffe_id.as_deref(), Some(one));
        for uris in
            [&[][..], &[one, two], &[one, one], &[one, "https://a.example/"], &["https://a.example/x"]]
        {
            assert_eq!(with(uris).spiffe_id, None, "{uris:?}");
        }
    }

    #[test]
    fn a_common_name_is_the_only_one_or_there_is_none() {
        assert_eq!(
            leaf(|params| params.distinguished_name = rcgen::DistinguishedName::new()).common_name,
            None
        );
        let named = leaf(|params| params.distinguished_name.push(DnType::CommonName, "acme"));
        assert_eq!(named.common_name.as_deref(), Some("acme"));
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        assert!(Leaf::read(b"").is_err() && Leaf::read(&[0x30, 0x80]).is_err());
    }
}
