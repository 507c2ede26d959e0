// One row a region: how it is, its three weights, what it gets and how it fares, and what can be done.

import { byId, el, isPressed, number, percent, replace, spark } from "./dom.js";

const KEPT = 150; // five minutes, at one look in two seconds
const history = new Map();

function remember(region) {
  const kept = history.get(region.region) ?? { rate: [], p99: [] };
  kept.rate.push(region.traffic?.requests_per_second ?? null);
  kept.p99.push(region.traffic?.p99_ms ?? null);
  for (const series of Object.values(kept)) if (series.length > KEPT) series.shift();
  history.set(region.region, kept);
  return kept;
}

function bar(weight, name) {
  const said = `weight of ${name}: configured ${weight.configured}, operator ${weight.operator ?? "none"}, effective ${weight.effective}`;
  return el("div.bar", { role: "img", "aria-label": said },
    el("div.effective", { style: { width: `${weight.effective}%` } }),
    el("div.mark", { style: { left: `clamp(0%, ${weight.configured}% - 1px, 100% - 2px)` }, title: "configured" }),
    weight.operator === null ? null : el("div.mark.operator", { style: { left: `clamp(0%, ${weight.operator}% - 2px, 100% - 4px)` }, title: "operator" }));
}

function legend(weight) {
  return el("div.legend", {},
    el("span", {}, "configured ", el("b", {}, String(weight.configured))),
    el("span.operator", {}, "operator ", el("b", {}, weight.operator === null ? "–" : String(weight.operator))),
    el("span.effective", {}, "effective ", el("b", { "data-effective": "" }, String(weight.effective))));
}

function why(weight, drain) {
  const parts = [];
  if (drain) parts.push(`drain ${drain.id}: ${drain.state}, ${drain.from} → ${drain.to}${drain.eta ? `, there at ${new Date(drain.eta).toLocaleTimeString()}` : ""}${drain.paused_by ? ` (${drain.paused_by})` : ""}`);
  if (weight.by) parts.push(`by ${weight.by}: ${weight.reason ?? ""}`);
  if (weight.until) parts.push(`until ${new Date(weight.until).toLocaleString()}`);
  return parts.length ? el("div.why", {}, parts.join(" · ")) : null;
}

function figure(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function acts(name, weight, drain, on) {
  const button = (act, label, more = {}) =>
    el("button", { type: "button", "data-key": `${act}:${name}`, "data-act": act, "data-scope": name, onclick: () => on(act, name, drain), ...more }, label);
  const made = [button("drain", "Drain…")];
  if (drain?.state === "running" || drain?.state === "undoing") made.push(button("pause", "Pause…"), button("stop", "Stop…"));
  if (drain?.state === "paused") made.push(button("resume", "Resume…"));
  if (drain && drain.state !== "undoing") made.push(button("undo", "Undrain…"));
  else if (weight.operator !== null && !drain) made.push(button("clear", "Undo weight…"));
  return el("div.acts", {}, made);
}

/** What an operator set on the writes of all that a region owns, and how ready it is to take over. */
function owning({ mark, readiness }) {
  const parts = [];
  if (mark) parts.push(el("div.rule", { "data-marked": "" }, `writes ${mark.mode} by ${mark.by}: ${mark.reason}${mark.until ? `, until ${new Date(mark.until).toLocaleString()}` : ""}`));
  if (readiness) {
    const failing = readiness.failing.map(({ check, why }) => `${check}: ${why}`).join("; ");
    parts.push(el("div.why", { "data-ready": "" }, `standby, ready ${percent(readiness.score)}${failing ? ` (${failing})` : ""}`));
  }
  return parts;
}

function cell(region, name, { weight, drain }, on) {
  const scope = `${region}/${name}`;
  return el("div.cell", {},
    el("b", {}, name),
    el("div.weight", {}, bar(weight, scope), why(weight, drain)),
    acts(scope, weight, drain, on));
}

function row(region, on) {
  const { weight, drain, traffic, capacity } = region;
  const seen = remember(region);
  const lags = Object.entries(region.replication).map(([of, { lag_seconds: lag }]) => `${number(lag, 1)} s behind ${of}`);
  const room = capacity && traffic ? percent(Math.max(0, 1 - traffic.requests_per_second / capacity)) : "–";
  return el("article.region", { "data-region": region.region, "aria-label": region.region },
    el("div", {},
      el("div.name", {}, el("h3", {}, region.region), el(`span.badge.${region.health}`, {}, region.health)),
      el("div.quiet", {}, `${region.role} · ${region.jurisdiction}`),
      el("div.caps", {}, Object.entries(region.capabilities).map(([name, state]) =>
        el(`span.${state}`, { title: state }, state === "UP" ? name : `${name} ${state}`))),
      owning(region)),
    el("div.weight", {}, bar(weight, region.region), legend(weight), why(weight, drain)),
    el("div", {},
      el("dl.figures", {},
        figure("requests/s", number(traffic?.requests_per_second, 1)),
        figure("errors", percent(traffic?.error_rate)),
        figure("p50", traffic?.p50_ms == null ? "–" : `${number(traffic.p50_ms, 1)} ms`),
        figure("p99", traffic?.p99_ms == null ? "–" : `${number(traffic.p99_ms, 1)} ms`),
        figure("in flight", number(region.in_flight)),
        figure("headroom", room)),
      lags.length ? el("div.why", {}, `lag ${lags.join(", ")}`) : null,
      el("div.key", { "aria-hidden": "true" }, el("span.first", {}, "requests/s"), el("span.second", {}, "p99")),
      spark(`requests a second, and p99, of ${region.region} over the last minutes`, seen.rate, seen.p99)),
    acts(region.region, weight, drain, on),
    Object.keys(region.cells).length
      ? el("div.cells", {}, Object.entries(region.cells).map(([name, of]) => cell(region.region, name, of, on)))
      : null);
}

/** Shows every region; `on(act, scope, drain)` is called for what is pressed. */
export function show(regions, on) {
  const rows = regions.map((region) => row(region, on));
  if (!isPressed()) replace(byId("regions"), rows);
}

/** The heat map: one line a source, one column a target. */
export function matrix(rows) {
  const targets = [...new Set(rows.map(({ target }) => target))].sort();
  const sources = [...new Set(rows.map(({ source }) => source))].sort();
  const most = Math.max(1e-9, ...rows.map((row) => row.requests_per_second));
  const square = (source, target) => {
    const found = rows.find((row) => row.source === source && row.target === target);
    const rate = found?.requests_per_second ?? 0;
    return el(`td${found?.error_rate > 0 ? ".errors" : ""}`, {
      style: { background: `rgb(var(--heat) / ${(rate / most) * 0.55})` },
      title: found ? `${number(rate, 1)}/s, ${percent(found.error_rate)} errors, p99 ${number(found.p99_ms, 1)} ms` : "",
    }, number(rate, 1));
  };
  byId("matrix").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "from \\ to"), targets.map((target) => el("th", { scope: "col" }, target)))),
    el("tbody", {}, sources.map((source) => el("tr", {}, el("th", { scope: "row" }, source), targets.map((target) => square(source, target))))));
}
