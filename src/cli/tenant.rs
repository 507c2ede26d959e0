//! `rhumb tenant`: one tenant, as the edge sees it now, and what pauses its writes.

use serde_json::Value;

use super::args::TenantCommand;
use super::edge::{Edge, segment};
use super::failure::Done;
use super::out::{Out, pairs};
use super::transfer;
use super::wire::{joined, text};

/// Does what was asked of a tenant.
pub fn obey(edge: &Edge, command: &TenantCommand, out: &mut Out<'_>) -> Done {
    match command {
        TenantCommand::Get { name } => one(edge, name, out),
        TenantCommand::Freeze(args) => transfer::freeze(edge, "tenants", args, out),
        TenantCommand::Unfreeze(args) => transfer::unfreeze(edge, "tenants", args, out),
        TenantCommand::Resolve { name, owner, reason, dry_run } => {
            transfer::resolve(edge, (name, owner), (reason, *dry_run), out)
        }
    }
}

fn one(edge: &Edge, name: &str, out: &mut Out<'_>) -> Done {
    let answer = edge.read(&format!("/v1/tenants/{}", segment(name)))?;
    out.answer(&answer, full)
}

fn full(tenant: &Value) -> String {
    let home = text(tenant, &["home"]);
    let owner = text(tenant, &["owner"]);
    let away = if owner != home && !owner.is_empty() { " (not its home)" } else { "" };
    let residency = joined(tenant, &["residency"]);
    pairs([
        ("tenant", text(tenant, &["tenant"])),
        ("home", home),
        ("owner", format!("{owner}{away}")),
        ("epoch", text(tenant, &["epoch"])),
        ("state", text(tenant, &["state"])),
        ("standby", joined(tenant, &["standby"])),
        ("replicas", joined(tenant, &["replicas"])),
        ("residency", if residency.is_empty() { "no limit".into() } else { residency }),
        ("policy", text(tenant, &["policy"])),
        ("cell", text(tenant, &["cell"])),
        ("writes", text(tenant, &["mark", "mode"])),
        ("by", text(tenant, &["mark", "by"])),
        ("because", text(tenant, &["mark", "reason"])),
        ("until", text(tenant, &["mark", "until"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tenant_is_one_line_a_property() {
        let acme = json!({"tenant": "acme", "home": "eu-west-1", "owner": "eu-central-1", "epoch": 8,
            "state": "active", "standby": ["eu-central-1"], "replicas": [], "residency": ["eu", "uk"],
            "policy": "default", "cell": null});
        assert_eq!(
            full(&acme),
            "\
tenant     acme
home       eu-west-1
owner      eu-central-1 (not its home)
epoch      8
state      active
standby    eu-central-1
residency  eu, uk
policy     default
"
        );
    }

    #[test]
    fn a_tenant_without_residency_has_no_limit() {
        let globex = json!({"tenant": "globex", "home": "us", "owner": "us", "residency": []});
        assert_eq!(full(&globex), "tenant     globex\nhome       us\nowner      us\nresidency  no limit\n");
    }
}
