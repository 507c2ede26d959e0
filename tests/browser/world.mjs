// What the stories happen in: the demo, an edge that shows nothing without a token, and a browser.
//
// Never: leaves a process behind, or waits for anything but a condition.

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const LONGEST = 30_000;

/** Ports that were free a moment ago. */
async function free(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => done(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** A process of `rhumb`, and `said(pattern)`: what it says once that matches. */
function start(rhumb, ...words) {
  const child = spawn(rhumb, words, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const heard = new Set();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (more) => { text += more; for (const listener of heard) listener(); });
  }
  const ended = new Promise((done) => child.on("exit", done));
  const said = (pattern) => new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error(`rhumb ${words.join(" ")} did not say ${pattern}:\n${text}`)), LONGEST);
    const look = () => {
      const found = pattern.exec(text);
      if (!found) return;
      clearTimeout(late);
      heard.delete(look);
      done(found);
    };
    heard.add(look);
    look();
    ended.then((code) => fail(new Error(`rhumb ${words.join(" ")} ended with ${code}:\n${text}`)));
  });
  return { signal: (name) => child.kill(name), ended, said, stop: async () => { child.kill("SIGCONT"); child.kill("SIGTERM"); await ended; } };
}

/** The demo, under load. */
export async function demo(rhumb) {
  const running = start(rhumb, "demo", "--port", String((await free(1))[0]), "--load");
  const [, table] = await running.said(/the table +(\S+)/);
  const [, admin] = await running.said(/(http:\/\/127\.0\.0\.1:\d+) \(token/);
  return { ...running, admin, folder: dirname(table) };
}

/** An edge before the regions of the demo in `folder`, with `admin.open_reads = false`. */
export async function closedEdge(rhumb, folder) {
  const own = await mkdtemp(join(tmpdir(), "rhumb-closed-"));
  const [edge, admin] = await free(2);
  for (const file of ["routing.toml", "admin.token"]) await cp(join(folder, file), join(own, file));
  const settings = (await readFile(join(folder, "rhumb.toml"), "utf8"))
    .replace(/(\[\[listeners\]\]\naddress = "127\.0\.0\.1:)\d+/, `$1${edge}`)
    .replace(/(\[admin\]\naddress = "127\.0\.0\.1:)\d+"/, `$1${admin}"\nopen_reads = false`);
  await writeFile(join(own, "rhumb.toml"), settings);
  const running = start(rhumb, "run", "-c", join(own, "rhumb.toml"));
  const stop = async () => { await running.stop(); await rm(own, { recursive: true }); };
  return { ...running, stop, admin: `http://127.0.0.1:${admin}` };
}

/** A browser with a fresh folder of its own. */
export function browser(playwright) {
  return createRequire(import.meta.url)(playwright).chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
}

/**
 * A page at `admin` in a session of its own; what went wrong in it is in `page.faults`. `told` has what the page is told at
 * some paths in the place of the edge's answers.
 */
export async function open(chromium, admin, { width = 1280, scheme = "light", token, told = {} } = {}) {
  const context = await chromium.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  page.setDefaultTimeout(LONGEST);
  page.faults = [];
  page.on("console", (line) => line.type() === "error" && page.faults.push(line.text()));
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("response", (answer) => { if (new URL(answer.url()).origin !== admin) page.faults.push(`asked ${answer.url()}`); });
  if (token) await page.addInitScript((word) => sessionStorage.setItem("rhumb-token", word), token);
  for (const [path, json] of Object.entries(told)) await page.route(`${admin}${path}`, (route) => route.fulfill({ json }));
  await page.goto(admin, { waitUntil: "load" });
  return page;
}

/** Asks the edge as a program would: what it answers. */
export async function ask(admin, method, path, body) {
  const headers = { authorization: "Bearer demo", "content-type": "application/json" };
  const answer = await fetch(admin + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
