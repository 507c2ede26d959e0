// Ownership: who is disputed, what operators set on writes, and transfers: what moves, how far it is, what it waits for.
//
// What may lose writes, to say who owns a tenant or to let a stuck batch go, is shown as a command and is no button.

import { byId, clock, el, isPressed, number, replace, tenants } from "./dom.js";

const OVER = 5; // transfers that are over and still shown
const STEPS = ["preflight", "drain", "catch_up", "switch"];

const isOver = ({ state }) => ["done", "failed", "cancelled"].includes(state);
const when = (time) => new Date(time).toLocaleString();

/** One word of a shell. */
const word = (text) => (/^[\w.@:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
/** To be copied whole; broken between its words alone. */
const command = (text) => el("code.command", { tabindex: "0" }, text.split(" ").flatMap((part, nth) => [nth ? " " : "", el("span", {}, part)]));

function dispute({ tenant, epoch, claimed_by: claims }) {
  return el("div.alarm", { "data-dispute": tenant },
    el("p", {}, el("b", {}, `Split brain: ${tenant}`), ` at epoch ${epoch} is claimed by ${claims.join(" and ")}`
      + `${claims.length < 2 ? " and another region, which the audit names" : ""}. Nobody may write it.`),
    el("p", {}, "Find out who has its later writes, then say so:"),
    (claims.length < 2 ? ["REGION"] : claims).map((owner) => command(`rhumb tenant resolve ${word(tenant)} --owner ${word(owner)} --reason "…"`)));
}

function mark(set, on) {
  const [kind, name] = set.tenant === null ? ["region", set.region] : ["tenant", set.tenant];
  const is = set.mode === "frozen" ? "its writes wait, then are refused" : "its writes are refused";
  return el("li", { "data-mark": `${kind}:${name}` },
    el("div", {},
      el("div.name", {}, el("b", {}, `${kind} ${name}`), el("span.badge.waiting", {}, set.mode), el("span.quiet", {}, is)),
      el("div.why", {}, `by ${set.by}: ${set.reason} · since ${when(set.since)} · ${set.until ? `until ${when(set.until)}` : "until somebody ends it"}`)),
    el("div.acts", {}, el("button", {
      type: "button", "data-key": `unfreeze:${kind}:${name}`, "data-act": "unfreeze", "data-scope": `${kind}:${name}`,
      onclick: () => on("unfreeze", { kind, name }),
    }, "Unfreeze…")));
}

function waits({ step, batch, next_wave: next, stuck }) {
  const moving = batch ? `${tenants(batch.tenants)} from ${batch.from} to ${batch.to}: ` : "";
  switch (step) {
    case "preflight": return "looks at who moves, and whether the new owner is fit";
    case "drain": return `${moving}waits for writes in flight at ${batch.from}; later ones are held`;
    case "catch_up": return `${moving}waits until ${batch.to} has all that ${batch.from} had written; writes are held`;
    case "switch": return stuck
      ? `${moving}stuck: the new owner is in force here, gateways of ${batch.from} do not answer; writes are held`
      : `${moving}has its new owner, and waits until gateways of ${batch.from} know; writes are held`;
    case "between_waves": return `waits for its next wave${next ? `, at ${clock(next)}` : ""}`;
    default: return "";
  }
}

function steps({ step, unplanned, stuck }) {
  const all = unplanned ? ["preflight", "switch"] : STEPS;
  return el("ol.steps", { "aria-label": "steps of a batch" }, all.map((name) => {
    const now = name === step;
    return el(`li${now ? ".now" : ""}${now && stuck ? ".stuck" : ""}`, { "aria-current": now && "step" }, name.replace("_", " "));
  }));
}

function progress(transfer) {
  const { id, moved, expected, waves, tenants: first, state } = transfer;
  const share = expected > 0 ? Math.min(1, moved / expected) : state === "done" ? 1 : 0;
  const about = expected === first ? "" : "about ";
  return [
    el("div.bar", {
      role: "progressbar", "aria-label": `tenants moved by transfer ${id}`,
      "aria-valuemin": "0", "aria-valuemax": String(expected), "aria-valuenow": String(Math.min(moved, expected)),
    }, el("div.effective", { style: { width: `${share * 100}%` } })),
    el("div.moved", {},
      el("span", { "data-moved": "" }, `${number(moved)} of ${about}${tenants(expected)} moved`),
      waves > 0 && !isOver(transfer) ? el("span", {}, `${number(waves)} wave${waves === 1 ? "" : "s"} over`) : null,
      transfer.eta && !isOver(transfer) ? el("span", {}, `over at about ${clock(transfer.eta)}`) : null),
  ];
}

function transfer(one, on) {
  const over = isOver(one);
  const release = one.stuck
    ? [el("p.rule", {}, "Bring them back, and it goes on by itself. Only if that region is gone for good, as what it still took may be lost:"),
      command(`rhumb transfers release ${one.id} --reason "…"`)]
    : [];
  const cancel = over || one.ending ? null : el("button", {
    type: "button", "data-key": `cancel:${one.id}`, "data-act": "cancel", "data-scope": String(one.id), onclick: () => on("cancel", one),
  }, "Cancel…");
  return el(`article.transfer${over ? ".over" : ""}`, { "data-transfer": String(one.id), "aria-label": `transfer ${one.id}` },
    el("div", {},
      el("div.name", {}, el("h3", {}, `Transfer ${one.id}`),
        el(`span.badge.${one.stuck ? "failed" : one.state}`, {}, one.stuck ? "stuck" : one.state),
        el(`span.${one.unplanned ? "unplanned" : "quiet"}`, {}, one.unplanned ? "unplanned: writes may be lost" : "planned")),
      el("div", {}, one.what),
      el("div.why", {}, `by ${one.by}: ${one.reason} · since ${when(one.since)}`)),
    el("div.weight", {},
      progress(one),
      over ? null : steps(one),
      over ? null : el("div", { "data-waits": "" }, waits(one)),
      one.trouble ? el("p.rule", {}, over || one.stuck ? one.trouble : `the last batch: ${one.trouble}`) : null,
      release,
      one.ending && !over ? el("div.why", {}, "it ends as soon as nothing of it is half-way") : null),
    el("div.acts", {}, cancel));
}

/** Shows it: `owned` is `ownership` of the status; `on(act, what)` is called for what is pressed. */
export function show(owned, transfers, disputes, on) {
  const over = transfers.filter(isOver).reverse();
  const shown = [...transfers.filter((one) => !isOver(one)).reverse(), ...over.slice(0, OVER)];
  const hidden = disputes.count - disputes.first.length;
  const parts = [
    ...disputes.first.map(dispute),
    hidden > 0 ? el("p.rule", {}, `and ${tenants(hidden)} more`) : null,
    el("p", {},
      el(owned.held_writes > 0 ? "b.held" : "span", { "data-held": "" }, `${number(owned.held_writes)} write${owned.held_writes === 1 ? "" : "s"} held now`),
      ` · ${tenants(owned.moved)} moved at run time · ${owned.marks.length ? `${number(owned.marks.length)} frozen or read-only` : "nothing frozen"}`),
    owned.marks.length ? el("ul.marks", { "aria-label": "writes that operators froze" }, owned.marks.map((set) => mark(set, on))) : null,
    ...shown.map((one) => transfer(one, on)),
    shown.length ? null : el("p.quiet", {}, "No transfer is under way or was lately."),
  ];
  if (!isPressed()) replace(byId("ownership"), parts.filter(Boolean));
}
