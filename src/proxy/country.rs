//! Which country a client is in: as a trusted proxy says, or by a database of addresses.

use std::net::IpAddr;
use std::path::Path;

use http::header::{HeaderMap, HeaderName};
use maxminddb::{Reader, geoip2};

use crate::proxy::facts;
use crate::settings::Trust;

/// The sources of a client's country.
pub(super) struct Countries {
    header: Option<HeaderName>,
    database: Option<Reader<Vec<u8>>>,
}

impl Countries {
    /// The sources that `trust` names.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open(trust: &Trust) -> Result<Self, String> {
        let header = trust.country_header.as_deref().and_then(|name| HeaderName::try_from(name).ok());
        let database = trust.country_database.as_deref().map(read).transpose()?;
        Ok(Self { header, database })
    }

    /// The header that may name a country, as a list of none or one.
    pub fn header(&self) -> &[HeaderName] {
        self.header.as_slice()
    }

    /// The country of `client`: two upper-case letters.
    pub fn of(&self, headers: &HeaderMap, trusted: bool, client: IpAddr) -> Option<[u8; 2]> {
        let said = self.header.as_ref().filter(|_| trusted).and_then(|name| headers.get(name));
        said.and_then(|value| facts::country(value.as_bytes())).or_else(|| {
            let found: Option<geoip2::Country<'_>> = self.database.as_ref()?.lookup(client).ok()?;
            facts::country(found?.country?.iso_code?.as_bytes())
        })
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, String> {
    Reader::open_readfile(path)
        .map_err(|cause| format!("trust.country_database: {} cannot be read: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_believed_from_a_trusted_proxy_alone() {
        let trust = Trust { country_header: Some("cf-ipcountry".into()), ..Trust::default() };
        let countries = Countries::open(&trust).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("cf-ipcountry", "de".parse().unwrap());
        let client = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(countries.of(&headers, true, client), Some(*b"DE"));
        assert_eq!(countries.of(&headers, false, client), None);
    }

    #[test]
    fn a_database_that_is_missing_is_told() {
        let trust = Trust { country_database: Some("/nowhere/geo.mmdb".into()), ..Trust::default() };
        let told = Countries::open(&trust).err().unwrap();
        assert!(told.contains("/nowhere/geo.mmdb"), "{told}");
    }
}
