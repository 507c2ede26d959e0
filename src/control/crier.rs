//! Tells every gateway who owns what was moved, again and again until it has said that it knows.
//!
//! A planned move waits for its old owner's gateways. This is for everybody else: the gateways of third regions, those
//! that were away when their tenants were moved without them, and what an operator resolved. Nobody waits for it.
//!
//! What is disputed is told as well, for as long as it is: it has to stop everywhere, and whoever knows how it was
//! resolved says so.
//!
//! Never: tells of an ownership that is not released.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use rhumb_decision::owned::News;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::units::{Epoch, Key};

use crate::control::desk::OwnStep;
use crate::control::herald::{Herald, Silence, Word};
use crate::control::operator::Operator;
use crate::control::snapshot::{Current, Reader};

/// The most tenants of one announcement.
const AT_ONCE: usize = 500;

/// How long a gateway may take to answer: it waits up to five seconds for writes under way.
const PATIENCE: Duration = Duration::from_secs(7);

/// How long after a round the next one begins, at least.
const AGAIN: Duration = Duration::from_secs(2);

/// Tells gateways what they do not know yet.
pub struct Crier {
    reader: Reader,
    operator: Operator,
    herald: Herald,
    /// What each of them has said that it knows, but for what is disputed. A process that starts tells everything anew.
    known: HashMap<SocketAddr, HashMap<Key, Epoch>>,
}

impl Crier {
    /// A crier of what `reader` shows.
    #[must_use]
    pub fn new(reader: Reader, operator: Operator, herald: Herald) -> Self {
        Self { reader, operator, herald, known: HashMap::new() }
    }

    /// Goes on until `stop` is done.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut told = None;
        loop {
            let current = self.reader.current();
            let gateways: Vec<_> = gateways(&current).collect();
            let all = (current.operators.revision, gateways);
            let goes_on = async {
                if told.as_ref() != Some(&all) {
                    told = self.round(&current, &all.1).await.then_some(all);
                }
                tokio::time::sleep(AGAIN).await;
                told.is_none() || self.reader.changed().await
            };
            tokio::select! {
                () = &mut stop => return,
                goes_on = goes_on => if !goes_on { return },
            }
        }
    }

    /// Tells every gateway what it has not said to know; whether all of them know everything now.
    async fn round(&mut self, current: &Current, gateways: &[(Box<str>, SocketAddr)]) -> bool {
        let mut before = std::mem::take(&mut self.known);
        let rounds = gateways.iter().map(|(region, address)| {
            let known = before.remove(address).unwrap_or_default();
            let this = &*self;
            async move { (*address, this.tell(current, (region, *address), known).await) }
        });
        let told = futures_util::future::join_all(rounds.collect::<Vec<_>>()).await;
        let all_know = told.iter().all(|(_, (_, knows_all))| *knows_all);
        self.known = told.into_iter().map(|(address, (known, _))| (address, known)).collect();
        all_know
    }

    /// Tells one gateway, up to its first silence; what it knows by then, and whether that is everything.
    async fn tell(
        &self,
        current: &Current,
        (region, address): (&str, SocketAddr),
        mut known: HashMap<Key, Epoch>,
    ) -> (HashMap<Key, Epoch>, bool) {
        let key = |news: &News| Key::of(news.tenant.as_bytes());
        let (mut told, mut is_disputed) = (Vec::new(), false);
        let unknown =
            |(news, disputed): &(News, bool)| *disputed || known.get(&key(news)) != Some(&news.epoch);
        let owned = current.operators.owned.suspects().filter_map(|tenant| in_force(current, tenant));
        let mut unknown = owned.filter(unknown).inspect(|(_, disputed)| is_disputed |= *disputed);
        let mut knows_all = true;
        loop {
            let some: Vec<News> = unknown.by_ref().take(AT_ONCE).map(|(news, _)| news).collect();
            if some.is_empty() {
                break;
            }
            match self.herald.tell_at(current, (region, address), (&some, Word::Plain), PATIENCE).await {
                Ok(()) => {}
                Err(Silence::KnowsBetter(newer)) => {
                    // It has kept the rest. What is newer is told to the others in its turn.
                    if let Err(cause) = self.operator.step(OwnStep::News(newer)).await {
                        tracing::debug!(%region, %address, %cause, "a newer ownership is not kept");
                        // It is asked again, as what it knows is not known here.
                        knows_all = false;
                        continue;
                    }
                }
                Err(silence) => {
                    tracing::debug!(%region, %address, %silence, "a gateway was not told who owns what");
                    knows_all = false;
                    break;
                }
            }
            told.extend(some.iter().map(|news| (key(news), news.epoch)));
        }
        drop(unknown);
        known.extend(told);
        (known, knows_all && !is_disputed)
    }
}

/// Every address of a gateway, with its region.
fn gateways(current: &Current) -> impl Iterator<Item = (Box<str>, SocketAddr)> + '_ {
    let regions = current.table().regions().iter().filter(|region| region.gateway);
    regions.flat_map(|region| {
        let id = current.table().region_named(&region.name);
        let view = id.and_then(|id| current.health().region(id));
        let endpoints = view.map_or(&[][..], |view| &view.endpoints[..]);
        endpoints.iter().map(|endpoint| (region.name.clone(), endpoint.address))
    })
}

/// Who owns a tenant that something was said of, and whether that is disputed; `None`: there is nothing to tell.
fn in_force(current: &Current, tenant: &str) -> Option<(News, bool)> {
    let table = current.table();
    let row = table.tenants().find(tenant)?;
    let Ownership { owner, epoch, state } = current.ownership().of(tenant, &row);
    let disputed = state == State::Disputed;
    let is_told = !matches!(state, State::Ownerless | State::Settling) && (disputed || epoch > row.epoch);
    let news = News { tenant: tenant.into(), owner: table.region_name(owner).into(), epoch };
    is_told.then_some((news, disputed))
}
