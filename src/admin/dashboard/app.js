// The page: looks at the edge every two seconds, listens to its events, and says plainly when it has lost it.

import * as api from "./api.js";
import * as drain from "./drain.js";
import * as ownership from "./ownership.js";
import * as regions from "./regions.js";
import { byId, clock, el, number } from "./dom.js";

const EVERY = 2_000;
const MOST_EVENTS = 200;
let answered = Date.now();
const PAGE = 20;
const PAGES = 50; // the API gives a thousand entries at once
const audit = { shown: PAGE };

function say(text) {
  const line = byId("told");
  line.textContent = text;
  line.hidden = !text;
  if (text) look();
}

function lost(error) {
  const line = byId("lost");
  line.hidden = !error;
  document.body.classList.toggle("is-lost", Boolean(error));
  if (error) {
    const since = Math.round((Date.now() - answered) / 1000);
    line.textContent = error.status === 401
      ? "The edge wants a token before it shows anything: press “Token…”."
      : `The edge has not answered for ${since} s. What is shown is from ${clock(answered)} and may be wrong.`;
  }
}

function act(what, scope, made) {
  const region = encodeURIComponent(scope.split("/")[0]);
  const cell = scope.includes("/") ? `/cells/${encodeURIComponent(scope.split("/")[1])}` : "";
  const id = made ? encodeURIComponent(made.id) : "";
  switch (what) {
    case "drain": return drain.open(scope);
    case "pause": return drain.ask(`Pause the drain of ${scope}`, `/v1/drains/${id}/pause`);
    case "resume": return drain.ask(`Resume the drain of ${scope}`, `/v1/drains/${id}/resume`);
    case "stop": return drain.ask(`Stop the drain of ${scope} where it is`, `/v1/drains/${id}`, "remove");
    case "undo": return drain.ask(`Undrain ${scope}`, `/v1/drains/${id}/undo`);
    default: return drain.ask(`Undo the operators' weight of ${scope}`, `/v1/regions/${region}${cell}/weight`, "remove");
  }
}

function actOwned(what, { kind, name, id }) {
  if (what === "cancel") {
    return drain.ask(`Cancel transfer ${id}`, `/v1/transfers/${encodeURIComponent(id)}`, "remove",
      "Who has moved stays moved. A batch that has its new owner is finished first: there is no way back.");
  }
  return drain.ask(`Unfreeze ${kind} ${name}`, `/v1/${kind}s/${encodeURIComponent(name)}/unfreeze`);
}

function facts(status) {
  byId("edge-name").textContent = `${status.edge.id} in ${status.edge.region}`;
  document.title = `Rhumb ${status.edge.id}`;
  const said = {
    ready: status.ready ? "yes" : status.why_not,
    generation: number(status.generation),
    tenants: number(status.tenants),
    "in flight": number(status.in_flight),
    "writes held": number(status.ownership.held_writes),
    table: status.table.problems.length ? `${status.table.problems.length} problems in the files; the last good one serves` : "as in the files",
  };
  byId("edge-facts").replaceChildren(...Object.entries(said).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
  const from = byId("explain").elements.from;
  const names = status.regions.map(({ region }) => region);
  if (from.options.length !== names.length) {
    from.replaceChildren(...names.map((name) => el("option", { selected: name === status.edge.region }, name)));
  }
}

let looking = null;
function look() {
  looking ??= (async () => {
    try {
      const [status, traffic, transfers, disputes] = await Promise.all(
        ["/v1/status", "/v1/traffic", "/v1/transfers", "/v1/disputes"].map(api.read));
      answered = Date.now();
      lost(null);
      facts(status);
      regions.show(status.regions, act);
      ownership.show(status.ownership, transfers, disputes, actOwned);
      regions.matrix(traffic.rows);
    } catch (error) {
      lost(error);
    } finally {
      looking = null;
    }
  })();
  return looking;
}

function told(event) {
  let data = {};
  try { data = JSON.parse(event.data); } catch { return; }
  const list = byId("events");
  list.prepend(el("li", { "data-kind": event.kind },
    el("time", { datetime: data.time }, clock(data.time)), el("b", {}, event.kind), el("span", {}, data.text ?? event.data)));
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
  look();
  audited();
}

async function listen() {
  let last = "";
  for (;;) {
    try {
      await api.events(last, audited, (event) => { last = event.id || last; told(event); });
    } catch { /* the look every two seconds says so */ }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

const short = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

let asked = 0;
async function audited(more = 0) {
  audit.shown = Math.min(audit.shown + more, PAGES * PAGE);
  const mine = ++asked;
  try {
    const page = await api.read(`/v1/audit?limit=${audit.shown}`);
    if (mine !== asked) return;
    byId("audit").tBodies[0].replaceChildren(...page.entries.map((entry) => el("tr", {},
      el("td", {}, new Date(entry.time).toLocaleString()), el("td", {}, entry.actor), el("td", {}, entry.action),
      el("td", {}, entry.reason ?? ""), el("td.mono", {}, el("div", {}, short(entry.before))), el("td.mono", {}, el("div", {}, short(entry.after))))));
    byId("audit-more").hidden = !page.next || audit.shown === PAGES * PAGE;
  } catch { /* the look every two seconds says so */ }
}

async function explain(event) {
  event.preventDefault();
  const form = Object.fromEntries(new FormData(event.target));
  const shown = byId("explained");
  try {
    const made = await api.send("/v1/explain", form);
    const where = made.target_region
      ? [el("span.badge.UP", {}, made.target_region), made.failover_reason ? ` not the first choice: ${made.failover_reason}` : ""]
      : [el("span.badge.DOWN", {}, `${made.refusal.reason} (${made.refusal.status})`)];
    shown.replaceChildren(
      el("p", {}, `A ${made.operation} of ${made.tenant ?? "no known tenant"}, owned by ${made.owner_region ?? "nobody"}${made.epoch ? ` at epoch ${made.epoch}` : ""}, goes to `, where),
      el("div.course", { role: "list" }, made.candidates.map(({ region, verdict }) =>
        el(`div.candidate.${verdict}`, { role: "listitem" }, el("b", {}, region), ` ${verdict.replaceAll("_", " ")}`))),
      el("p.quiet", {}, `route ${made.route ?? "none"} · service ${made.service} · capability ${made.capability} · policy ${made.policy} · generation ${made.generation}`));
  } catch (error) {
    shown.replaceChildren(el("p.wrong", {}, error.message));
  }
}

drain.begin(say, audited);
byId("explain").addEventListener("submit", explain);
byId("audit-more").addEventListener("click", () => audited(PAGE));
setInterval(look, EVERY);
look();
audited();
listen();
