// Asks the edge. The token lives in this tab's session and goes out in a header, never in an address.

const KEY = "rhumb-token";

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What an answer of the edge that is no success says: `reason`, `detail`, and more. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// A look is soon repeated, and whoever looks should soon hear that nobody answers.
const PATIENCE = { GET: 4_000 };

async function ask(method, path, body) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  const answer = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE[method] ?? 10_000),
  });
  const text = await answer.text();
  let value = {};
  try { value = text ? JSON.parse(text) : {}; } catch { value = { detail: text.slice(0, 200) }; }
  if (!answer.ok) throw new Refused(answer.status, value);
  return value;
}

export const read = (path) => ask("GET", path);
export const send = (path, body) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);
export const remove = (path, body) => ask("DELETE", path, body);

/**
 * Server-sent events, with the token in a header (which EventSource cannot send), taken up again after the last one.
 * Calls `begun()` once nothing more can be missed, and `on(event)` for each; resolves when the stream ends.
 */
export async function events(last, begun, on) {
  const headers = { accept: "text/event-stream" };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  if (last) headers["last-event-id"] = last;
  const answer = await fetch("/v1/events", { headers, cache: "no-store" });
  if (!answer.ok || !answer.body) throw new Refused(answer.status, {});
  begun();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split(/\r?\n\r?\n/);
    held = blocks.pop();
    for (const block of blocks) {
      const event = { id: "", kind: "message", data: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, field, rest] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "id") event.id = rest;
        else if (field === "event") event.kind = rest;
        else if (field === "data") event.data += rest;
      }
      if (event.data) on(event);
    }
  }
}
