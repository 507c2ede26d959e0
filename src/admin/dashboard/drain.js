// The drain dialog: the plan is shown before there is a button to press.

import { put, read, remove, send, token } from "./api.js";
import { byId, el, number, open as openDialog, percent, tenants } from "./dom.js";

const SLOW = 300; // milliseconds that a hand may rest before the plan is asked for
let asked = 0;
let scope = null;
let plan = null;
let timer = 0;
let told = () => {};

const split = (name) => {
  const at = name.indexOf("/");
  return at < 0 ? { region: name } : { region: name.slice(0, at), cell: name.slice(at + 1) };
};

function wrong(dialog, error) {
  const line = byId(`${dialog}-wrong`);
  line.hidden = !error;
  line.textContent = error ? `${error.message}${error.status === 401 ? " (press “Token…” at the top)" : ""}` : "";
}

function shown(plan) {
  const parts = [];
  const goes = plan.destinations.map((to) =>
    el("li", {}, `${tenants(to.tenants)} to ${to.region}: ${number(to.requests_per_second, 1)} requests/s more` +
      (to.headroom === null || to.headroom === undefined ? ", no capacity declared" : `, headroom ${number(to.headroom, 1)}/s`)));
  parts.push(el("p", {}, el("b", {}, tenants(plan.tenants_moving)), ` would be read elsewhere: ${percent(plan.reads_share)} of the reads.`));
  if (goes.length) parts.push(el("ul", {}, goes));
  if (plan.writes_staying?.tenants) parts.push(el("p", {}, `Writes of ${tenants(plan.writes_staying.tenants)} stay: the region owns them.`));
  if (plan.tenants_stranded?.count) {
    const first = plan.tenants_stranded.first;
    parts.push(el("p.rule", {}, `Nowhere legal to go for ${tenants(plan.tenants_stranded.count)}: ${first.slice(0, 20).join(", ")}${plan.tenants_stranded.count > 20 ? " …" : ""}`));
  }
  for (const { rule, why } of plan.rules_broken ?? []) parts.push(el("p.rule", {}, `breaks ${rule}: ${why}`));
  return el("div.plan", { "data-plan": plan.id ?? "" }, parts);
}

function overrides(plan) {
  const form = byId("drain-form");
  const before = new Set([...form.querySelectorAll("[name=override]:checked")].map((box) => box.value));
  byId("override").replaceChildren(...(plan.rules_broken ?? []).map(({ rule }) =>
    el("label.check", {}, el("input", { type: "checkbox", name: "override", value: rule, checked: before.has(rule), onchange: ready }), `override ${rule}`)));
}

function ready() {
  const form = byId("drain-form");
  const unmet = plan?.rules_broken?.some(({ rule }) =>
    !form.querySelector(`[name=override][value="${CSS.escape(rule)}"]`)?.checked);
  byId("drain-do").disabled = !plan || unmet || !form.checkValidity();
}

async function planned() {
  const mine = ++asked;
  plan = null;
  ready();
  const to = Number(new FormData(byId("drain-form")).get("to"));
  try {
    const answer = await send("/v1/plan/drain", { ...split(scope), to });
    if (mine !== asked) return;
    plan = answer;
    wrong("drain", null);
    byId("plan").replaceChildren(shown(plan));
    overrides(plan);
  } catch (error) {
    if (mine !== asked) return;
    byId("plan").replaceChildren();
    wrong("drain", error);
  }
  ready();
}

/** Opens the dialog for a region, or `region/cell`. */
export function open(name) {
  scope = name;
  const form = byId("drain-form");
  form.reset();
  byId("drain-title").textContent = `Drain ${name}`;
  byId("plan").replaceChildren();
  byId("override").replaceChildren();
  wrong("drain", null);
  openDialog(byId("drain-dialog"));
  form.elements.to.focus();
  planned();
}

async function drain(event) {
  event.preventDefault();
  const form = new FormData(byId("drain-form"));
  const body = { ...split(scope), to: Number(form.get("to")), over: form.get("over"), step: Number(form.get("step")), reason: form.get("reason"), plan: plan.id };
  if (form.get("expires_in")) body.expires_in = form.get("expires_in");
  const override = form.getAll("override");
  if (override.length) body.override = override;
  byId("drain-do").disabled = true;
  try {
    const made = await send("/v1/drains", body);
    byId("drain-dialog").close();
    told(`Drain ${made.id} of ${scope} is ${made.state}.`);
  } catch (error) {
    wrong("drain", error);
    if (error.status === 409) planned();
    else ready();
  }
}

/** Asks for a reason, then does it; `note` is what one has to know before. */
export function ask(title, path, method = "send", note = "") {
  byId("ask-title").textContent = title;
  byId("ask-note").textContent = note;
  byId("ask-note").hidden = !note;
  wrong("ask", null);
  const form = byId("ask-form");
  form.reset();
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await (method === "remove" ? remove : send)(path, { reason: new FormData(form).get("reason") });
      byId("ask-dialog").close();
      told(`${title}: done.`);
    } catch (error) {
      wrong("ask", error);
    }
  };
  openDialog(byId("ask-dialog"));
  form.elements.reason.focus();
}

/** What the edge thinks of the token, by a change that is only tried: reads may be open, and would not tell. */
async function tried() {
  if (!token.get()) return "No token is kept.";
  try {
    const { regions } = await read("/v1/status");
    const [{ region, weight }] = regions;
    await put(`/v1/regions/${encodeURIComponent(region)}/weight`, { weight: weight.configured, reason: "is the token good", dry_run: true });
  } catch (error) {
    if (error.status === 401) return "The edge does not know this token.";
    if (error.status === 403) return `The token is kept in this tab: ${error.message}`;
    if (error.status === 429 || !error.status) return `The token is kept in this tab, and could not be tried: ${error.message}`;
  }
  return "The token is kept in this tab, and the edge knows it.";
}

/** Wires the dialogs; `say(text)` is called for what was done, and `known()` once there is another token. */
export function begin(say, known) {
  told = say;
  const form = byId("drain-form");
  form.addEventListener("submit", drain);
  form.addEventListener("input", (event) => {
    ready();
    if (event.target.name !== "to") return;
    clearTimeout(timer);
    timer = setTimeout(planned, SLOW);
  });
  byId("drain-cancel").addEventListener("click", () => byId("drain-dialog").close());
  byId("ask-cancel").addEventListener("click", () => byId("ask-dialog").close());
  byId("token-cancel").addEventListener("click", () => byId("token-dialog").close());
  byId("token-button").addEventListener("click", () => openDialog(byId("token-dialog")));
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(new FormData(event.target).get("token").trim());
    event.target.reset();
    byId("token-dialog").close();
    known();
    tried().then(told);
  });
}
