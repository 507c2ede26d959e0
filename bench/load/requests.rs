//! The stream of requests, the same for every contender: which tenant, which method, which lie, and what has to come of
//! it.
//!
//! Why a number makes a request: the hundred-thousandth is the same for everybody, in every run.

/// The regions, in the order of their ports. The first is where the edge stands.
pub const REGIONS: [&str; 3] = ["eu-west-1", "eu-central-1", "us-east-1"];

/// What an edge says to a region, in the order in which regions repeat it.
pub const MANAGED: [&str; 6] = [
    "X-Tenant-ID",
    "X-Source-Region",
    "X-Target-Region",
    "X-Owner-Region",
    "X-Owner-Epoch",
    "X-Request-Region-Policy",
];

/// What a region answers with, besides its name and what it was told.
pub const BODY: &[u8] = b"{\"ok\":true,\"from\":\"a region\"}\n\n\n";

/// What a write carries.
pub const WRITTEN: &[u8] = b"{\"case\":\"a small document\"}";

/// Nobody's region, tenant or epoch.
pub const LIE: &str = "nowhere-666";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
}

/// One request.
#[derive(Clone, Copy)]
pub struct Ask {
    pub tenant: u64,
    pub method: Method,
    /// Which managed header it sends a lie in.
    pub spoofed: usize,
}

/// The finaliser of SplitMix64.
const fn mix(number: u64) -> u64 {
    let x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Ask {
    /// The request of this number, among `tenants`. Of a hundred, 20 are POST and 5 HEAD.
    pub const fn nth(number: u64, tenants: u64) -> Self {
        let drawn = mix(number);
        let method = match (drawn >> 40) % 100 {
            0..20 => Method::Post,
            20..25 => Method::Head,
            _ => Method::Get,
        };
        Self {
            tenant: mix(drawn) % tenants,
            method,
            spoofed: ((drawn >> 20) % MANAGED.len() as u64) as usize,
        }
    }

    pub const fn method(&self) -> &'static str {
        match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
        }
    }

    pub fn write_host(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"tenant-");
        number(out, self.tenant);
        out.extend_from_slice(b".app.example");
    }

    /// Where the tenant is at home. `bench/load/world.py` writes the same into everybody's tables.
    const fn home(&self) -> &'static str {
        REGIONS[(self.tenant % 3) as usize]
    }

    const fn epoch(&self) -> u64 {
        1 + self.tenant % 9
    }

    /// The region that has to answer.
    pub fn target(&self) -> &'static str {
        if self.method == Method::Post { self.home() } else { REGIONS[0] }
    }

    /// What that region has to be told, as it repeats it.
    pub fn write_told(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"tenant-");
        number(out, self.tenant);
        for said in [REGIONS[0], self.target(), self.home()] {
            out.push(b'|');
            out.extend_from_slice(said.as_bytes());
        }
        out.push(b'|');
        number(out, self.epoch());
        out.extend_from_slice(b"|default");
    }
}

/// Writes a number without allocating.
fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), value);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
