use super::*;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name as DnsName, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What the name server says to one question.
#[derive(Clone)]
enum Says {
    Records(Vec<Record>),
    Code(ResponseCode),
    Nothing,
}

type Zone = HashMap<(String, RecordType), Says>;

/// A name server on loopback, and a resolver that asks it and nobody else. What the zone does not hold has no
/// records.
struct World {
    zone: Arc<Mutex<Zone>>,
    names: watch::Sender<Arc<[Name]>>,
    resolved: mpsc::Receiver<Resolved>,
    asked: watch::Receiver<u64>,
    tasks: JoinSet<()>,
}

impl World {
    /// Answers of no life are looked up again after 20 ms, and so are failures.
    async fn new() -> Self {
        Self::asking_on(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    fn asking_on(socket: UdpSocket) -> Self {
        let quick = Duration::from_millis(20);
        let pace =
            Pace { shortest: quick, longest: Duration::from_secs(300), retry: quick, longest_retry: quick };
        let resolver = Resolver { pace, ..Resolver::asking([socket.local_addr().unwrap()]) };
        let (names, wanted) = watch::channel(Arc::from([]));
        let (out, resolved) = mpsc::channel(16);
        let (count, asked) = watch::channel(0);
        let zone = Arc::new(Mutex::new(Zone::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(socket, Arc::clone(&zone), count));
        tasks.spawn(run(wanted, out, resolver));
        Self { zone, names, resolved, asked, tasks }
    }

    fn zone(&self, name: &str, family: RecordType, says: Says) -> &Self {
        self.zone.lock().unwrap().insert((format!("{name}."), family), says);
        self
    }

    fn a(&self, name: &str, addresses: &[&str]) -> &Self {
        self.zone(
            name,
            RecordType::A,
            Says::Records(addresses.iter().map(|ip| address(name, ip, 0)).collect()),
        )
    }

    fn look_up(&self, names: &[Name]) -> &Self {
        self.names.send_replace(names.into());
        self
    }

    async fn next(&mut self) -> Resolved {
        tokio::time::timeout(Duration::from_secs(30), self.resolved.recv()).await.unwrap().unwrap()
    }

    async fn addresses(&mut self) -> (Vec<String>, Option<Failure>) {
        let next = self.next().await;
        (next.addresses.iter().map(ToString::to_string).collect(), next.failure)
    }

    /// Waits until the server was asked `times` times from now on.
    async fn asked_again(&mut self, times: u64) {
        let before = *self.asked.borrow();
        let enough = self.asked.wait_for(|count| *count >= before + times);
        tokio::time::timeout(Duration::from_secs(30), enough).await.unwrap().unwrap();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>, count: watch::Sender<u64>) {
    let mut buffer = [0; 4_096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        count.send_modify(|count| *count += 1);
        let asked = Message::from_vec(&buffer[..length]).unwrap();
        let query = asked.queries.first().unwrap().clone();
        let key = (query.name().to_ascii().to_lowercase(), query.query_type());
        let says = zone.lock().unwrap().get(&key).cloned().unwrap_or(Says::Records(Vec::new()));
        let mut answer = Message::response(asked.metadata.id, OpCode::Query);
        answer.add_query(query);
        match says {
            Says::Records(records) => {
                answer.add_answers(records);
            }
            Says::Code(code) => answer.metadata.response_code = code,
            Says::Nothing => continue,
        }
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

fn dns(name: &str) -> DnsName {
    DnsName::from_ascii(format!("{name}.")).unwrap()
}

fn address(name: &str, ip: &str, ttl: u32) -> Record {
    let data = match ip.parse().unwrap() {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(dns(name), ttl, data)
}

fn alias(name: &str, target: &str) -> Record {
    Record::from_rdata(dns(name), 0, RData::CNAME(CNAME(dns(target))))
}

fn service(name: &str, priority: u16, port: u16, target: &str) -> Record {
    Record::from_rdata(dns(name), 0, RData::SRV(SRV::new(priority, 10, port, dns(target))))
}

fn host(name: &str) -> Name {
    Name::Host { host: name.into(), port: 8080 }
}

#[tokio::test]
async fn a_host_has_the_addresses_of_both_families_sorted() {
    let mut world = World::new().await;
    world.a("eu.internal", &["10.0.0.9", "10.0.0.1", "10.0.0.9"]);
    world.zone("eu.internal", RecordType::AAAA, Says::Records(vec![address("eu.internal", "fd00::1", 0)]));
    world.look_up(&[host("eu.internal")]);
    let (addresses, failure) = world.addresses().await;
    assert_eq!(addresses, ["10.0.0.1:8080", "10.0.0.9:8080", "[fd00::1]:8080"]);
    assert_eq!(failure, None);
}

#[tokio::test]
async fn a_changed_answer_is_told_and_an_equal_one_is_not() {
    let mut world = World::new().await;
    world.a("eu.internal", &["10.0.0.1", "10.0.0.2"]).look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await.0.len(), 2);
    world.a("eu.internal", &["10.0.0.2", "10.0.0.1"]);
    world.asked_again(5).await;
    world.a("eu.internal", &["10.0.0.3"]);
    assert_eq!(world.addresses().await.0, ["10.0.0.3:8080"], "another order was no change");
}

#[tokio::test]
async fn an_answer_is_not_looked_up_again_while_it_lives() {
    let mut world = World::new().await;
    let lives_long = Says::Records(vec![address("long.internal", "10.0.0.1", 3_600)]);
    world.zone("long.internal", RecordType::A, lives_long).look_up(&[host("long.internal")]);
    world.next().await;
    // Meanwhile another name is looked up many times.
    world.a("short.internal", &["10.0.0.2"]).look_up(&[host("long.internal"), host("short.internal")]);
    world.a("long.internal", &["10.0.0.9"]);
    for i in 0..5 {
        world.a("short.internal", &[&format!("10.0.1.{i}")]);
        assert_eq!(world.next().await.name, host("short.internal"));
    }
}

#[tokio::test]
async fn what_fails_or_is_empty_keeps_the_last_good_answer() {
    let mut world = World::new().await;
    let failures = [
        (Says::Code(ResponseCode::NXDomain), Failure::NoAddress),
        (Says::Code(ResponseCode::ServFail), Failure::NoAnswer),
        (Says::Code(ResponseCode::Refused), Failure::NoAnswer),
        (Says::Records(Vec::new()), Failure::NoAddress),
    ];
    world.a("eu.internal", &["10.0.0.1"]).look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await, (vec!["10.0.0.1:8080".into()], None));
    for (says, why) in failures {
        world.zone("eu.internal", RecordType::A, says);
        assert_eq!(world.addresses().await, (vec!["10.0.0.1:8080".into()], Some(why)));
        world.a("eu.internal", &["10.0.0.1"]);
        assert_eq!(world.addresses().await, (vec!["10.0.0.1:8080".into()], None), "it goes well again");
    }
}

#[tokio::test]
async fn a_silent_server_keeps_the_last_good_answer() {
    let mut world = World::new().await;
    world.a("eu.internal", &["10.0.0.1"]).look_up(&[host("eu.internal")]);
    world.next().await;
    world.zone("eu.internal", RecordType::A, Says::Nothing);
    world.zone("eu.internal", RecordType::AAAA, Says::Nothing);
    let silent = (vec!["10.0.0.1:8080".to_owned()], Some(Failure::NoAnswer));
    assert_eq!(world.addresses().await, silent);
}

#[tokio::test]
async fn a_family_that_fails_keeps_its_own_and_one_that_is_gone_does_not() {
    let mut world = World::new().await;
    let six = |says| ("eu.internal", RecordType::AAAA, says);
    let (name, family, says) = six(Says::Records(vec![address("eu.internal", "fd00::1", 0)]));
    world.zone(name, family, says).a("eu.internal", &["10.0.0.1"]).look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await.0.len(), 2);
    let (name, family, says) = six(Says::Code(ResponseCode::ServFail));
    world.zone(name, family, says);
    world.asked_again(8).await;
    world.a("eu.internal", &["10.0.0.2"]);
    assert_eq!(world.addresses().await.0, ["10.0.0.2:8080", "[fd00::1]:8080"]);
    let (name, family, says) = six(Says::Records(Vec::new()));
    world.zone(name, family, says);
    assert_eq!(world.addresses().await.0, ["10.0.0.2:8080"]);
}

#[tokio::test]
async fn a_name_that_was_never_found_is_told_of_once_without_addresses() {
    let mut world = World::new().await;
    world.zone("no.internal", RecordType::A, Says::Code(ResponseCode::NXDomain));
    world.look_up(&[host("no.internal"), host("not a name..")]);
    let mut both = [world.next().await, world.next().await];
    both.sort_by_key(|resolved| resolved.failure.map(Failure::code));
    assert_eq!(both.each_ref().map(|it| it.failure), [Some(Failure::NoAddress), Some(Failure::NoName)]);
    assert!(both.iter().all(|resolved| resolved.addresses.is_empty()));
    world.asked_again(6).await;
    world.a("no.internal", &["10.0.0.1"]);
    assert_eq!(world.addresses().await, (vec!["10.0.0.1:8080".into()], None));
}

#[tokio::test]
async fn a_service_has_the_targets_of_its_lowest_priority_at_their_ports() {
    let mut world = World::new().await;
    let name = "_http._tcp.eu.internal";
    let records = vec![
        service(name, 20, 99, "spare.internal"),
        service(name, 10, 8081, "one.internal"),
        service(name, 10, 8082, "two.internal"),
    ];
    world.zone(name, RecordType::SRV, Says::Records(records));
    world.a("one.internal", &["10.0.0.1"]).a("two.internal", &["10.0.0.2", "10.0.0.1"]);
    world.a("spare.internal", &["10.0.0.9"]).look_up(&[Name::Service(name.into())]);
    let first = ["10.0.0.1:8081", "10.0.0.1:8082", "10.0.0.2:8082"];
    assert_eq!(world.addresses().await.0, first);
    // One target no longer resolves: what it had stays, and the others move on.
    world.zone("one.internal", RecordType::A, Says::Code(ResponseCode::NXDomain));
    world.a("two.internal", &["10.0.0.3"]);
    assert_eq!(world.addresses().await.0, ["10.0.0.1:8081", "10.0.0.3:8082"]);
    // A target that the service no longer has is gone.
    let moved = Says::Records(vec![service(name, 0, 80, "two.internal")]);
    world.zone(name, RecordType::SRV, moved);
    assert_eq!(world.addresses().await.0, ["10.0.0.3:80"]);
    // No service any more, said in the two ways there are: kept.
    let root = Record::from_rdata(dns(name), 0, RData::SRV(SRV::new(0, 0, 0, DnsName::root())));
    world.zone(name, RecordType::SRV, Says::Records(vec![root]));
    assert_eq!(world.addresses().await, (vec!["10.0.0.3:80".into()], Some(Failure::NoAddress)));
    world.zone(name, RecordType::SRV, Says::Records(vec![service(name, 0, 81, "two.internal")]));
    assert_eq!(world.addresses().await.0, ["10.0.0.3:81"]);
    world.zone(name, RecordType::SRV, Says::Records(Vec::new()));
    assert_eq!(world.addresses().await, (vec!["10.0.0.3:81".into()], Some(Failure::NoAddress)));
}

#[tokio::test]
async fn aliases_are_followed_in_any_order_and_other_names_ignored() {
    let mut world = World::new().await;
    let records = vec![
        address("other.internal", "10.6.6.6", 0),
        address("real.internal", "10.0.0.1", 0),
        alias("middle.internal", "real.internal"),
        alias("eu.internal", "middle.internal"),
    ];
    world.zone("eu.internal", RecordType::A, Says::Records(records.clone()));
    world.zone("middle.internal", RecordType::A, Says::Records(records.clone()));
    world.zone("real.internal", RecordType::A, Says::Records(records));
    world.look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await.0, ["10.0.0.1:8080"]);
}

#[tokio::test]
async fn an_alias_is_asked_for_where_the_answer_does_not_hold_it() {
    let mut world = World::new().await;
    world.zone("eu.internal", RecordType::A, Says::Records(vec![alias("eu.internal", "cdn.example")]));
    world.zone("cdn.example", RecordType::A, Says::Records(vec![alias("cdn.example", "real.example")]));
    world.a("real.example", &["10.0.0.1"]).look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await, (vec!["10.0.0.1:8080".into()], None));
}

#[tokio::test]
async fn an_alias_of_itself_has_no_address() {
    let mut world = World::new().await;
    let circle = vec![alias("eu.internal", "us.internal"), alias("us.internal", "eu.internal")];
    world.zone("eu.internal", RecordType::A, Says::Records(circle.clone()));
    world.zone("us.internal", RecordType::A, Says::Records(circle)).look_up(&[host("eu.internal")]);
    let (addresses, failure) = world.addresses().await;
    assert!(addresses.is_empty() && failure.is_some(), "{addresses:?} {failure:?}");
}

#[tokio::test]
async fn an_answer_for_another_name_alone_is_none() {
    let mut world = World::new().await;
    world.a("eu.internal", &["10.0.0.1"]).look_up(&[host("eu.internal")]);
    assert_eq!(world.addresses().await.0, ["10.0.0.1:8080"]);
    let spoofed = Says::Records(vec![address("other.internal", "10.6.6.6", 0)]);
    world.zone("eu.internal", RecordType::A, spoofed);
    assert_eq!(world.addresses().await.0, ["10.0.0.1:8080"]);
    world.a("eu.internal", &["10.0.0.2"]);
    assert_eq!(world.addresses().await, (vec!["10.0.0.2:8080".into()], None));
}

#[tokio::test]
async fn of_many_addresses_the_first_are_kept() {
    let mut world = World::new().await;
    let many: Vec<String> = (0..70).rev().map(|i| format!("10.0.0.{i}")).collect();
    world.a("eu.internal", &many.iter().map(String::as_str).collect::<Vec<_>>());
    world.look_up(&[host("eu.internal")]);
    let (addresses, _) = world.addresses().await;
    let kept: Vec<String> = (0..MAX_ADDRESSES).map(|i| format!("10.0.0.{i}:8080")).collect();
    assert_eq!(addresses, kept);
}

#[tokio::test]
async fn names_come_and_go_without_touching_the_others() {
    let mut world = World::new().await;
    world.a("eu.internal", &["10.0.0.1"]).a("us.internal", &["10.0.0.2"]);
    world.look_up(&[host("eu.internal")]);
    assert_eq!(world.next().await.name, host("eu.internal"));
    world.look_up(&[host("eu.internal"), host("us.internal")]);
    assert_eq!(world.next().await.name, host("us.internal"), "the other is not told of again");
    world.look_up(&[host("us.internal")]);
    world.a("us.internal", &["10.0.0.3"]);
    assert_eq!(world.next().await.name, host("us.internal"));
    world.a("eu.internal", &["10.0.0.4"]);
    world.asked_again(8).await;
    world.a("us.internal", &["10.0.0.5"]);
    assert_eq!(world.next().await.name, host("us.internal"), "nobody wants the other any more");
}

#[tokio::test]
async fn it_ends_when_nobody_listens_and_when_nobody_asks() {
    let (names, wanted) = watch::channel(Arc::from([]));
    let (out, resolved) = mpsc::channel(1);
    drop(resolved);
    run(wanted.clone(), out, Resolver::asking([])).await;
    let (out, _resolved) = mpsc::channel(1);
    drop(names);
    run(wanted, out, Resolver::asking([])).await;
}

#[tokio::test]
async fn the_systems_own_names_need_no_server() {
    let mut world = World::new().await;
    let (names, wanted) = watch::channel(Arc::from([host("localhost")]));
    let (out, resolved) = mpsc::channel(1);
    world.resolved = resolved;
    world.tasks.spawn(run(wanted, out, Resolver::system()));
    assert!(world.addresses().await.0.contains(&"127.0.0.1:8080".to_owned()));
    drop(names);
}

#[test]
fn an_answer_lives_within_bounds_and_failures_wait_longer_and_longer() {
    let seconds = Duration::from_secs;
    let pace = Pace::USUAL;
    let lives = [0, 1, 60, 86_400].map(|ttl| pace.after_success(seconds(ttl)));
    assert_eq!(lives, [1, 1, 60, 300].map(seconds));
    let waits = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|before| pace.after_failure(before));
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30].map(seconds));
}
