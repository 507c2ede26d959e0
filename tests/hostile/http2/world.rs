//! One edge between attacker and regions, and whether it is well.

use crate::harness::raw_frames::Frames;
use crate::harness::{Edge, EdgeBuilder, H2, Routing, Toy, edge, eventually, get, toy};

pub const HOST: &str = "t1.example.test";

/// An edge with two regions behind it; `t1` is at home in `eu`, `t2` in `us`.
pub struct World {
    pub edge: Edge,
    pub eu: Toy,
    us: Toy,
}

/// The world as the corpus has it, where HTTP/2 is spoken in the clear.
pub fn world() -> World {
    world_with(|edge| edge)
}

/// The same with other settings.
pub fn world_with(set: impl FnOnce(EdgeBuilder) -> EdgeBuilder) -> World {
    let (eu, us) = (toy("eu"), toy("us"));
    let routing = Routing::of(&[&eu, &us])
        .tenancy("from", "[{ host = \"{tenant}.example.test\" }]")
        .tenant("t1", r#"home = "eu", replicas = ["us"]"#)
        .tenant("t2", r#"home = "us", replicas = ["eu"]"#);
    let edge = edge(&routing).set("edge", "region = \"eu\"").listener("h2c = true");
    World { edge: set(edge).start(), eu, us }
}

impl World {
    /// A connection that is opened as it should be.
    pub fn frames(&self) -> Frames {
        Frames::opened(self.edge.listener(1))
    }

    /// The same with these settings.
    pub fn frames_with(&self, settings: &[(u16, u32)]) -> Frames {
        Frames::opened_with(self.edge.listener(1), settings)
    }

    /// Ends a row: others are served, nothing is left over, and no write went where it must not.
    #[track_caller]
    pub fn stays_well(mut self) {
        assert!(self.edge.is_alive());
        assert_eq!(self.edge.get(HOST, "/after").region(), "eu");
        let mut h2 = H2::plain(self.edge.listener(1));
        assert_eq!(h2.ask(&get(HOST, "/after")).region(), "eu");
        assert_eq!(h2.ask(&get("t2.example.test", "/after")).region(), "eu", "a replica reads");
        drop(h2);
        eventually("nothing is left over", || self.edge.metric("rhumb_in_flight", &[]) == 0.0);
        assert_eq!(self.us.writes_executed(), 0);
    }
}

/// The fields of an ordinary request.
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", HOST), (":path", path)]
}

/// The same with further fields.
pub fn request_with<'a>(
    method: &'a str,
    path: &'a str,
    fields: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [request(method, path), fields.to_vec()].concat()
}
