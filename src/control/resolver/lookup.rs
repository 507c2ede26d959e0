//! One look-up of one name, and what is remembered of earlier ones.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};
use tokio::task::JoinSet;

use super::{Failure, MAX_ADDRESSES, Name, answer};

/// The longest wait for one server's answer to one question.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that a look-up takes in all, with every server tried and every target asked for.
const LONGEST: Duration = Duration::from_secs(20);

/// Who is asked.
#[derive(Clone, Debug)]
pub(super) enum Servers {
    /// Whom the system names.
    System,
    /// These.
    These(Vec<SocketAddr>),
}

/// The addresses last found: for each host and port behind a name, by family.
#[derive(Default)]
pub(super) struct Addresses(HashMap<Place, Families>);

type Place = (DnsName, u16);

#[derive(Clone, Default)]
struct Families {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Addresses {
    /// Every address, sorted, each once, within the bound.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        let of = |(place, families): (&Place, &Families)| {
            let port = place.1;
            let both = families.v4.iter().chain(&families.v6);
            both.map(move |ip| SocketAddr::new(*ip, port)).collect::<Vec<_>>()
        };
        let mut all: Vec<SocketAddr> = self.0.iter().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(MAX_ADDRESSES);
        all
    }

    /// Looks `name` up and takes in what is found; returns how long that lives. On a failure everything stays, and
    /// where only a part fails, that part.
    pub(super) async fn look_up(&mut self, name: &Name, servers: &Servers) -> Result<Duration, Failure> {
        let limit = tokio::time::timeout(LONGEST, self.look_up_unbounded(name, servers));
        limit.await.unwrap_or(Err(Failure::NoAnswer))
    }

    async fn look_up_unbounded(&mut self, name: &Name, servers: &Servers) -> Result<Duration, Failure> {
        let servers = servers.clone();
        // It reads files, and files may wait for a disk.
        let built = tokio::task::spawn_blocking(move || resolver(&servers)).await;
        let resolver = built.ok().flatten().ok_or(Failure::NoConfiguration)?;
        let (places, lives) = match name {
            Name::Host { host, port } => (vec![(dns_name(host)?, *port)], Duration::MAX),
            Name::Service(service) => {
                let lookup = resolver.lookup(dns_name(service)?, RecordType::SRV).await;
                let lookup = lookup.map_err(|error| failure(&error))?;
                let records = answer::of_asked_name(&lookup);
                (answer::targets(&records), answer::lives(&records))
            }
        };
        if places.is_empty() {
            return Err(Failure::NoAddress);
        }
        let found = ask_all(&resolver, &places).await;
        self.take_in(&places, found).map(|shortest| shortest.min(lives))
    }

    /// One host that answers is enough; the others keep what they had.
    fn take_in(&mut self, places: &[Place], found: Vec<(Place, Found)>) -> Result<Duration, Failure> {
        let mut result = Err(Failure::NoAddress);
        let mut good = HashMap::new();
        for (place, found) in found {
            let mut families = self.0.get(&place).cloned().unwrap_or_default();
            let new = families.take_in(found);
            good.insert(place, families);
            result = match (result, new) {
                (Ok(one), Ok(other)) => Ok(one.min(other)),
                (Ok(lives), Err(_)) | (Err(_), Ok(lives)) => Ok(lives),
                (Err(Failure::NoAnswer), Err(_)) => Err(Failure::NoAnswer),
                (Err(_), Err(failure)) => Err(failure),
            };
        }
        if result.is_ok() {
            self.0.extend(good);
            self.0.retain(|place, _| places.contains(place));
        }
        result
    }
}

/// What one host answered for each family.
struct Found {
    v4: Family,
    v6: Family,
}

enum Family {
    Some(Vec<IpAddr>, Duration),
    None,
    Failed(Failure),
}

impl Families {
    /// A family that has no records is cleared if the other has some; one that failed stays.
    fn take_in(&mut self, found: Found) -> Result<Duration, Failure> {
        let lives = match (&found.v4, &found.v6) {
            (Family::Some(_, one), Family::Some(_, other)) => *one.min(other),
            (Family::Some(_, lives), _) | (_, Family::Some(_, lives)) => *lives,
            (Family::Failed(failure), _) | (_, Family::Failed(failure)) => return Err(*failure),
            (Family::None, Family::None) => return Err(Failure::NoAddress),
        };
        for (known, found) in [(&mut self.v4, found.v4), (&mut self.v6, found.v6)] {
            match found {
                Family::Some(addresses, _) => *known = addresses,
                Family::None => known.clear(),
                Family::Failed(_) => {}
            }
        }
        Ok(lives)
    }
}

async fn ask_all(resolver: &TokioResolver, places: &[Place]) -> Vec<(Place, Found)> {
    let mut tasks = JoinSet::new();
    for place in places {
        let (resolver, place) = (resolver.clone(), place.clone());
        tasks.spawn(async move {
            let v4 = ask(&resolver, &place.0, RecordType::A);
            let v6 = ask(&resolver, &place.0, RecordType::AAAA);
            let (v4, v6) = tokio::join!(v4, v6);
            (place, Found { v4, v6 })
        });
    }
    let mut found = Vec::with_capacity(places.len());
    while let Some(one) = tasks.join_next().await {
        found.extend(one);
    }
    found
}

async fn ask(resolver: &TokioResolver, host: &DnsName, family: RecordType) -> Family {
    match Box::pin(resolver.lookup(host.clone(), family)).await {
        Ok(lookup) => {
            let records = answer::of_asked_name(&lookup);
            match answer::addresses(&records) {
                none if none.is_empty() => Family::None,
                addresses => Family::Some(addresses, answer::lives(&records)),
            }
        }
        Err(error) => match failure(&error) {
            Failure::NoAddress => Family::None,
            other => Family::Failed(other),
        },
    }
}

fn failure(error: &NetError) -> Failure {
    if error.is_no_records_found() { Failure::NoAddress } else { Failure::NoAnswer }
}

fn dns_name(text: &str) -> Result<DnsName, Failure> {
    DnsName::from_str_relaxed(text).map_err(|_| Failure::NoName)
}

fn resolver(servers: &Servers) -> Option<TokioResolver> {
    let mut builder = match servers {
        Servers::System => TokioResolver::builder_tokio().ok()?,
        Servers::These(addresses) => {
            let servers = addresses.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        }
    };
    let options = builder.options_mut();
    options.timeout = options.timeout.min(TIMEOUT);
    options.preserve_intermediates = true;
    builder.build().ok()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}
