//! What a gateway answers to its region's checks: how its own checks find the region's endpoints.
//!
//! Why not passed on: an edge has to learn of a region that cannot serve from the gate of that region, whichever of its
//! endpoints is up. `age_seconds` says how old the oldest report behind an answer is, so that nobody takes a position
//! for newer than it is.

use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use rhumb_decision::health::{RegionView, Status};
use rhumb_decision::table::{CheckKind, Table};
use rhumb_decision::units::{Millis, RegionId};
use serde_json::{Map, Value, json};

use super::is_sent_on;

/// Whether `request` is a check of the region `here`.
pub(super) fn is_asked(request: &RequestHeader, table: &Table, here: RegionId) -> bool {
    let asks = matches!(request.method, Method::GET | Method::HEAD);
    let path = table.region(here).map(|region| &region.check.kind);
    let is_the_path = matches!(path, Some(CheckKind::Http { path }) if is_path(request, path));
    asks && is_the_path && !is_sent_on(&request.headers)
}

/// A path of a table may carry a query, which then belongs to it.
fn is_path(request: &RequestHeader, path: &str) -> bool {
    request.uri.path_and_query().is_some_and(|asked| asked.as_str() == path)
}

/// The answer about the region of `view`: 503 where nothing takes traffic.
///
/// - `now`: on the clock of `view`.
pub(super) fn report(view: &RegionView, table: &Table, now: Millis) -> (StatusCode, Value) {
    let overall = view.overall();
    let status = if overall.takes_traffic() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Not yet asked takes nothing, and there is no word for that.
    let code = |status: Status| if status == Status::Unknown { Status::Down.code() } else { status.code() };
    let capabilities: Map<_, _> = (0..)
        .map(rhumb_decision::units::CapabilityId)
        .zip(table.capabilities())
        .map(|(id, name)| (name.to_string(), code(view.status(id)).into()))
        .collect();
    let mut said = json!({"status": code(overall), "capabilities": capabilities});
    let replication: Map<_, _> =
        table.region_ids().filter_map(|source| copy_of(view, table, source)).collect();
    if let Value::Object(said) = &mut said {
        if let Some(position) = view.position {
            said.insert("position".into(), position.to_string().into());
        }
        if !replication.is_empty() {
            said.insert("replication".into(), replication.into());
        }
        if let Some(reported) = view.reported {
            said.insert("age_seconds".into(), seconds(now.since(reported)));
        }
    }
    (status, said)
}

fn copy_of(view: &RegionView, table: &Table, source: RegionId) -> Option<(String, Value)> {
    let (lag, position) = (view.lag_behind(source), view.reached_of(source));
    let mut copy = Map::new();
    copy.extend(lag.map(|lag| ("lag_seconds".to_owned(), seconds(lag))));
    copy.extend(position.map(|position| ("position".to_owned(), position.to_string().into())));
    (!copy.is_empty()).then(|| (table.region_name(source).to_owned(), copy.into()))
}

fn seconds(span: Millis) -> Value {
    json!(span.duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document;

    fn table() -> Table {
        document::parse(
            "tenancy.from = [{ header = \"X-Tenant-ID\" }]\n\
             [regions.eu]\njurisdiction = \"eu\"\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
             health = { path = \"/up?deep\" }\n\
             [regions.us]\njurisdiction = \"us\"\nrole = \"off\"\n\
             [[routes]]\nname = \"w\"\npath = \"/w\"\ncapability = \"case.write\"\n",
        )
        .unwrap_or_else(|told| panic!("{told}"))
    }

    fn view(table: &Table) -> RegionView {
        rhumb_decision::health::HealthView::all_up(table).regions[0].clone()
    }

    #[test]
    fn a_report_merges_what_the_endpoints_say() {
        let table = table();
        let mut view = view(&table);
        assert_eq!(table.capability_name(rhumb_decision::units::CapabilityId(2)), "case.write");
        for endpoint in &mut view.endpoints {
            endpoint.capabilities = Box::new([None, Some(Status::Degraded), Some(Status::Down)]);
        }
        view.endpoints[1].checked = Status::Down;
        (view.position, view.reported) = (Some(184_999), Some(Millis(8_000)));
        view.lag = Box::new([None, Some(Millis(800))]);
        view.reached = Box::new([None, Some(184_467)]);
        let (status, said) = report(&view, &table, Millis(9_500));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            said,
            json!({"status": "UP", "capabilities": {"read": "UP", "write": "DEGRADED", "case.write": "DOWN"},
                "position": "184999", "replication": {"us": {"lag_seconds": 0.8, "position": "184467"}},
                "age_seconds": 1.5})
        );
    }

    #[test]
    fn a_region_that_takes_nothing_says_so_with_its_status_too() {
        let table = table();
        let mut view = view(&table);
        for checked in [Status::Down, Status::Unknown] {
            view.endpoints.iter_mut().for_each(|endpoint| endpoint.checked = checked);
            let (status, said) = report(&view, &table, Millis(0));
            assert_eq!(
                (status.as_u16(), &said["status"], &said["capabilities"]["write"]),
                (503, &json!("DOWN"), &json!("DOWN"))
            );
            assert_eq!(said.get("age_seconds"), None);
        }
    }

    #[test]
    fn only_a_check_is_answered_here() {
        let table = table();
        let asked = |method: &str, target: &str, header: Option<&'static str>| {
            let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
            if let Some(name) = header {
                request.insert_header(name, "eu").unwrap();
            }
            is_asked(&request, &table, RegionId(0))
        };
        assert!(asked("GET", "/up?deep", None) && asked("HEAD", "/up?deep", Some("x-request-id")));
        assert!(
            !asked("POST", "/up?deep", None) && !asked("GET", "/up", None) && !asked("GET", "/up/more", None)
        );
        assert!(
            !asked("GET", "/up?deep", Some("x-target-region")),
            "of a client whose service has such a path"
        );
    }
}
