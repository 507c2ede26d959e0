//! Requests that nobody has thought of: good ones, spoiled at random in the ways that attacks are made of.
//!
//! What must come of each is not known, but what must never: see `judge::lawful`. A failure prints its seed and its
//! bytes; `SEED=7` in the environment sends that one again, and `CASES=9999` makes a longer run.

use super::client::{Ended, Leave, exchange};
use super::judge::lawful;
use super::request::{Begin, Request, begin};
use super::world::World;

/// Spoiled requests of a run, by seeds that follow each other.
const CASES: u64 = 800;

/// What attacks are made of.
const PARTS: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\t",
    " ",
    "\0",
    "\x0b",
    "\x7f",
    "\u{e9}",
    ":",
    ";",
    ",",
    "=",
    "0",
    "5",
    "-1",
    "0\r\n\r\n",
    "5;x\r\n",
    "chunked",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content_Length: 50\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Host: t2.example.test\r\n",
    "X-Tenant-ID: t2\r\n",
    "X_Owner_Region: us\r\n",
    "X-Owner-Epoch: 99\r\n",
    "X.Rhumb.Hop: 1\r\n",
    "X-Forwarded-For: 203.0.113.9\r\n",
    "X-HTTP-Method-Override: DELETE\r\n",
    "Connection: X-Owner-Region\r\n",
    "Connection: close\r\n",
    "Connection: Content-Length\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\nConnection: upgrade\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: t2.example.test\r\nX-Case: ####\r\n\r\n",
    "HTTP/1.0",
    "http://t2.example.test",
    "/../",
    "/%2e%2e/",
    "/t/t2/",
    "%00",
    "%0d%0a",
    "..;/",
    "\\",
    "#",
    "?",
    "@",
];

/// Good requests to spoil. `####` becomes the case: a client that leaves at once may be gone before a region has read
/// its request, which is then found in the next case.
const GOOD: &[&str] = &[
    "GET /r HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\n\r\n",
    "POST /w HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\nContent-Length: 5\r\n\r\nhello",
    "POST /w HTTP/1.1\r\nHost: t2.example.test\r\nX-Case: ####\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /one HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\n\r\n\
     GET /two HTTP/1.1\r\nHost: t2.example.test\r\nX-Case: ####\r\n\r\n",
    "POST /w HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n\
     GET /two HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\n\r\n",
    "POST /one HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\nContent-Length: 58\r\n\r\n\
     GET /t HTTP/1.1\r\nHost: t2.example.test\r\nX-Case: ####\r\n\r\n..\
     GET /two HTTP/1.1\r\nHost: t1.example.test\r\nX-Case: ####\r\n\r\n",
];

#[test]
fn whatever_is_sent_a_region_gets_whole_requests_in_normal_form_or_none() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, cases) = (number("SEED"), number("CASES").unwrap_or(CASES));
    let mut world = World::start();
    let (mut forwarded, mut refused) = (0, 0);
    for seed in first.map_or(1..=cases, |seed| seed..=seed) {
        let raw = spoiled(seed);
        let told = || format!("SEED={seed}: {:?}", String::from_utf8_lossy(&raw));
        let before = world.before();
        let heard = exchange(world.edge.address(), &raw, &[], Leave::AtOnce);
        assert_ne!(heard.ended, Ended::Never, "{}", told());
        world.poison().unwrap_or_else(|why| panic!("{why}\n{}", told()));
        let requests = lawful(&world.reached(&before)).unwrap_or_else(|why| panic!("{why}\n{}", told()));
        // What a region answered is what it got.
        let mut left: Vec<_> = requests.iter().map(|request| request.target.clone()).collect();
        for answer in heard.answers.iter().filter(|answer| answer.status == 200) {
            let target = answer.json()["target"].as_str().unwrap().to_owned();
            let at = left.iter().position(|one| *one == target);
            left.remove(
                at.unwrap_or_else(|| panic!("an answer to {target}, which no region got\n{}", told())),
            );
        }
        // Where nothing is in doubt, no reader may find more requests than there are.
        let own = |request: &&Request| request.one("X-Case").is_none_or(|case| case == format!("{seed:04}"));
        let targets: Vec<_> = requests.iter().filter(own).map(|request| &request.target).collect();
        if let Some(most) = count(&raw) {
            assert!(targets.len() <= most, "{targets:?} of {most} requests\n{}", told());
        }
        forwarded += targets.len();
        refused += heard.answers.iter().filter(|answer| (400..500).contains(&answer.status)).count();
        if seed % 50 == 0 {
            world.sound().unwrap_or_else(|why| panic!("{why}\n{}", told()));
        }
    }
    world.sound().unwrap();
    println!("{forwarded} requests reached a region, {refused} were refused");
    assert!(first.is_some() || (forwarded > 50 && refused > 50), "the parts spoil all or nothing");
}

/// A good request, spoiled one to three times.
fn spoiled(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut raw = GOOD[dice.below(GOOD.len())].as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let part = PARTS[dice.below(PARTS.len())].as_bytes();
        // Half of all parts begin a line, for that is where most of them mean something.
        let lines: Vec<_> =
            raw.windows(2).enumerate().filter(|(_, two)| two == b"\r\n").map(|(at, _)| at + 2).collect();
        let at = if dice.below(2) == 0 && !lines.is_empty() {
            lines[dice.below(lines.len())]
        } else {
            dice.below(raw.len() + 1)
        };
        let end = (at + dice.below(2)).min(raw.len());
        raw.splice(at..end, part.iter().copied());
    }
    while let Some(at) = raw.windows(4).position(|four| four == b"####") {
        raw.splice(at..at + 4, format!("{seed:04}").bytes());
    }
    raw
}

/// How many requests there are, by the letter; `None`: somebody could count otherwise.
fn count(mut raw: &[u8]) -> Option<usize> {
    let mut requests = 0;
    while !raw.is_empty() {
        match begin(raw) {
            Begin::Whole(request, length) if request.faults.is_empty() => {
                requests += 1;
                raw = &raw[length..];
            }
            Begin::Part => return Some(requests),
            Begin::Whole(..) | Begin::Broken(_) => return None,
        }
    }
    Some(requests)
}

/// A seed's own series of numbers (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}
