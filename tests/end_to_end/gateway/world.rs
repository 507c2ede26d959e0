//! Gateways, edges in front of them, and an edge that is written by hand.

use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rhumb::lab::Fault;
use ring::hmac;

use crate::harness::{
    Answer, Ask, Edge, EdgeBuilder, Faulty, Place, Routing, Wire, ask, edge, eventually, nobody,
};

pub const EU: &str = "eu-west-1";
pub const US: &str = "us-east-1";
pub const SECRET: [u8; 32] = [7; 32];
pub const HOST: &str = "acme.app.example";

/// A key file with this secret under the name `one`.
pub fn keys(secret: [u8; 32]) -> String {
    format!("one {}\n", STANDARD.encode(secret))
}

pub fn with_keys(builder: EdgeBuilder, name: &str) -> EdgeBuilder {
    builder.file(name, keys(SECRET)).prepare(|folder| {
        std::fs::set_permissions(folder.file(name), PermissionsExt::from_mode(0o600)).unwrap();
    })
}

/// The table of a gateway: the endpoints of its own region, and the names of the others.
pub fn own_table(own: &dyn Place, tenant: &str) -> Routing {
    let name = own.called();
    let elsewhere = if name == EU { US } else { EU };
    Routing::of(&[own, &(elsewhere, nobody())])
        .region(elsewhere, "role", "\"off\"")
        .region(elsewhere, "endpoints", "[]")
        .tenant("acme", tenant)
        .tenant("globex", r#"home = "us-east-1", replicas = ["eu-west-1"], residency = ["us", "eu"]"#)
}

/// The gateway of the region of `own`, which believes whoever signs with [`SECRET`].
pub fn gateway(own: &dyn Place, tenant: &str) -> EdgeBuilder {
    as_gateway(own, &own_table(own, tenant))
}

pub fn as_gateway(own: &dyn Place, table: &Routing) -> EdgeBuilder {
    let name = own.called();
    let builder = edge(table)
        .set("edge", &format!("region = \"{name}\""))
        .set("edge", &format!("id = \"gateway-{name}\""))
        .set("edge", "role = \"gateway\"")
        .set("gateway", "keys_file = \"edges.keys\"");
    with_keys(builder, "edges.keys")
}

/// An edge in `eu-west-1` whose regions are these gateways, and which signs.
pub fn before(gateways: &[(&str, &Edge)], tenant: &str) -> EdgeBuilder {
    before_under(gateways, tenant, "")
}

/// The same, with more in its table.
pub fn before_under(gateways: &[(&str, &Edge)], tenant: &str, more: &str) -> EdgeBuilder {
    let places: Vec<_> = gateways.iter().map(|(name, gateway)| (*name, gateway.address())).collect();
    let places: Vec<&dyn Place> = places.iter().map(|place| place as &dyn Place).collect();
    let table = Routing::of(&places).every_region("gateway", "true").tenant("acme", tenant).and(more);
    with_keys(edge(&table).set("signature", "keys_file = \"sign.keys\""), "sign.keys")
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What an edge sends, written by hand: every header once, as the rows say, and a signature over them.
#[derive(Clone)]
pub struct ByHand {
    pub method: &'static str,
    pub host: &'static str,
    pub path: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub secret: [u8; 32],
    pub key: &'static str,
    pub time: u64,
}

/// A write of acme that enters in `us-east-1` and is meant for `eu-west-1`, which owns it at epoch 7.
pub fn by_hand() -> ByHand {
    let header = |name, value: &str| (name, value.to_owned());
    ByHand {
        method: "POST",
        host: HOST,
        path: "/v1/cases?a=b",
        headers: vec![
            header("X-Tenant-ID", "acme"),
            header("X-Source-Region", US),
            header("X-Target-Region", EU),
            header("X-Owner-Region", EU),
            header("X-Owner-Epoch", "7"),
            header("X-Request-Region-Policy", "default"),
            header("X-Region-Hops", "1"),
        ],
        secret: SECRET,
        key: "one",
        time: now(),
    }
}

/// The connection of a write by hand that is at `region` and is not answered.
#[must_use]
pub fn write_under_way(region: &Faulty, gateway: &Edge) -> Wire {
    region.script([Fault::hang_after_request()]);
    let mut wire = gateway.wire();
    wire.send(by_hand().signed().bytes());
    eventually("the write is under way", || region.requests_begun() == 1);
    wire
}

const SIGNED: [&str; 7] = [
    "X-Tenant-ID",
    "X-Source-Region",
    "X-Target-Region",
    "X-Owner-Region",
    "X-Owner-Epoch",
    "X-Request-Region-Policy",
    "X-Region-Hops",
];

impl ByHand {
    /// With other values for a header; none removes it.
    pub fn with(mut self, name: &'static str, values: &[&str]) -> ByHand {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.extend(values.iter().map(|value| (name, (*value).to_owned())));
        self
    }

    pub fn read(self) -> ByHand {
        ByHand { method: "GET", ..self }
    }

    /// Without its signature.
    pub fn unsigned(&self) -> Ask {
        let plain = ask(self.method, self.host, self.path);
        let plain = if self.method == "POST" { plain.body("hello") } else { plain };
        self.headers.iter().fold(plain, |ask, (name, value)| ask.header(name, value))
    }

    pub fn signed(&self) -> Ask {
        let first = |name| self.headers.iter().find(|(known, _)| *known == name);
        let lines = SIGNED.map(|name| first(name).map_or("", |(_, value)| value).to_owned());
        let text = format!("v1\n{}\n{}\n{}\n{}", self.time, self.method, self.path, lines.join("\n"));
        self.unsigned().header("X-Rhumb-Signature", &signature(self.key, self.secret, self.time, &text))
    }

    #[track_caller]
    pub fn to(&self, gateway: &Edge) -> Answer {
        gateway.ask(&self.signed())
    }
}

pub fn signature(key: &str, secret: [u8; 32], time: u64, text: &str) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
    format!("v1;kid={key};t={time};mac={}", URL_SAFE_NO_PAD.encode(mac))
}
