//! `[gateway]`, and what else the role of a process asks for or rules out.

use super::Conversion;
use crate::problem::given::Given;
use crate::settings::document::{EdgeDoc, GatewayDoc, SettingsDoc, TlsDoc};
use crate::settings::sections::{Gateway, Role};

/// What to write where a gateway is not told whom to believe.
const WHOM: &str = "write edges = [\"spiffe://prod.example/edge/*\"], keys_file = \"sign.keys\", or both";

impl Conversion<'_> {
    /// Whom a gateway believes; nobody for an edge.
    pub(super) fn gateway(&mut self, doc: &SettingsDoc) -> Gateway {
        let none = EdgeDoc::default();
        let edge = doc.edge.get().unwrap_or(&none);
        // What is wrong with the role is told already, and then says nothing of the rest.
        let told = self.whole && !matches!(edge.role, Given::Bad(_)) && !matches!(doc.edge, Given::Bad(_));
        let is_gateway = edge.role.get() == Some(&Role::Gateway);
        if told && is_gateway {
            self.fits_a_gateway(doc, edge);
        } else if told && doc.gateway.is_written() {
            let fix = "under [edge], write role = \"gateway\", or leave this section out";
            self.problems.tell(doc.gateway.line(), "gateway", "the role of this process is edge", fix);
        }
        match doc.gateway.get() {
            Some(written) if is_gateway => self.believed(written),
            _ => Gateway::default(),
        }
    }

    fn believed(&self, doc: &GatewayDoc) -> Gateway {
        let edges = doc.edges.get().map(Vec::as_slice).unwrap_or_default();
        Gateway {
            edges: edges.iter().filter_map(Given::get).map(|identity| identity.0.clone()).collect(),
            keys_file: doc.keys_file.get().map(|name| self.path(name.clone())),
        }
    }

    fn fits_a_gateway(&mut self, doc: &SettingsDoc, edge: &EdgeDoc) {
        let role_line = edge.role.line();
        let written = doc.gateway.get();
        let says_whom =
            written.is_some_and(|gateway| gateway.edges.is_written() || gateway.keys_file.is_written());
        if !says_whom && !matches!(doc.gateway, Given::Bad(_)) {
            let line = if doc.gateway.is_written() { doc.gateway.line() } else { role_line };
            let fix = format!("under [gateway], {WHOM}");
            self.problems.tell(line, "gateway", "a gateway has to know which edges to believe", fix);
        }
        if let Some(Given::Good(line, edges)) = written.map(|gateway| &gateway.edges) {
            if edges.is_empty() {
                self.problems.tell(*line, "gateway.edges", "there is none", WHOM);
            }
            let listeners = doc.listeners.get().map(Vec::as_slice).unwrap_or_default();
            let asks = |tls: &Given<TlsDoc>| match tls {
                Given::Absent => false,
                Given::Bad(_) => true,
                Given::Good(_, tls) => tls.client_ca.is_written(),
            };
            let unsure = listeners.is_empty() || listeners.iter().any(|listener| listener.get().is_none());
            if !unsure && !listeners.iter().filter_map(Given::get).any(|listener| asks(&listener.tls)) {
                let fix = "give a listener tls with client_ca, or let edges sign: write keys_file instead";
                let what = "no listener asks for the certificate that would prove an id";
                self.problems.tell(*line, "gateway.edges", what, fix);
            }
        }
        if let Given::Good(line, true) = edge.show_region {
            let what = "a gateway answers edges, which tell clients by themselves";
            self.problems.tell(line, "edge.show_region", what, "leave it out here and write it at the edges");
        }
        if let Some(line) = doc.pin.get().map(|pin| pin.keys_file.line()).filter(|line| *line > 0) {
            let what = "a gateway makes no pins; edges do";
            self.problems.tell(line, "pin.keys_file", what, "leave it out here and write it at the edges");
        }
    }
}
