//! What is written of the admin side. Where others can reach it, it has TLS, tokens, and nothing that is open.

use std::net::{Ipv4Addr, SocketAddr};

use super::Conversion;
use crate::problem::given::Given;
use crate::settings::document::{AdminDoc, AdminTlsDoc};
use crate::settings::sections::{Admin, Certificate, ClientAuth, ClientCertificates, ListenerTls, TokenFile};

impl Conversion<'_> {
    pub(super) fn admin(&mut self, admin: Given<AdminDoc>) -> Admin {
        let doc = admin.good().unwrap_or_default();
        let line = doc.address.line();
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9900));
        let address = doc.address.good().map_or(default, |address| address.0);
        let within = address.ip().is_loopback();
        let named = doc.token_file.is_written();
        let mut wanting = Vec::new();
        if doc.tls.is_absent() {
            wanting.push("tls = { certificate = { chain = \"admin.pem\", key = \"admin.key\" } }");
        }
        if !named {
            wanting.push("token_file = \"admin.token\"");
        }
        if !within && !wanting.is_empty() && self.whole {
            let fix = format!(
                "under [admin], write {}; or address = \"127.0.0.1:{}\"",
                wanting.join(" and "),
                address.port()
            );
            let what = format!(
                "{address} can be reached from elsewhere, and the admin side is to have TLS and tokens there"
            );
            self.problems.tell(line, "admin.address", what, fix);
        }
        if let (Given::Good(line, true), false) = (&doc.open_reads, within) {
            let what =
                format!("{address} can be reached from elsewhere, where nothing is read without a token");
            self.problems.tell(*line, "admin.open_reads", what, "write false, or leave this out");
        }
        Admin {
            address,
            token_file: TokenFile { path: self.path_or(doc.token_file, "admin.token"), named },
            open_reads: doc.open_reads.or(within) && within,
            tls: self.admin_tls(doc.tls),
        }
    }

    fn admin_tls(&mut self, tls: Given<AdminTlsDoc>) -> Option<ListenerTls> {
        const FIX: &str = "write tls.certificate = { chain = \"admin.pem\", key = \"admin.key\" }";
        let Given::Good(line, doc) = tls else { return None };
        let at = "admin.tls.certificate";
        let certificate_line = doc.certificate.line();
        let certificate = self.required(doc.certificate, line, at, FIX)?;
        let chain = self.required(
            certificate.chain,
            certificate_line,
            "admin.tls.certificate.chain",
            "name the PEM file of the chain",
        );
        let key = self.required(
            certificate.key,
            certificate_line,
            "admin.tls.certificate.key",
            "name the PEM file of the key",
        );
        let ids_line = doc.client_ids.line();
        if doc.client_ids.is_written() && self.whole {
            let at = "admin.tls.client_ids";
            if doc.client_ca.is_absent() {
                let what = "there is no client_ca to judge client certificates by";
                self.problems.tell(ids_line, at, what, "write tls.client_ca too, or leave this out");
            }
            if doc.client_ids.get().is_some_and(Vec::is_empty) {
                let fix = "name who may come, or leave this out to let every certificate of client_ca in";
                self.problems.tell(ids_line, at, "there is none", fix);
            }
        }
        let ids = doc.client_ids.good().unwrap_or_default().into_iter().filter_map(Given::good);
        let ids = ids.map(|id| id.0).collect();
        let clients = doc.client_ca.good().map(|ca| ClientCertificates {
            ca: self.path(ca),
            auth: ClientAuth::Required,
            ids,
        });
        let certificate = Certificate { chain: self.path(chain?), key: self.path(key?) };
        Some(ListenerTls { certificates: vec![certificate], clients, http2: false })
    }
}
