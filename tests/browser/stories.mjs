// The dashboard as a person meets it, in a real browser against the demo: open, plan, drain, watch, undo, explain, lose
// the edge. Every wait is for a condition. Exits 1 with what was missing.
//
// node stories.mjs ADMIN_URL SCREENSHOT_FOLDER PLAYWRIGHT STOP_PID

import { createRequire } from "node:module";

const [admin, shots, playwright, pid] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
const told = [];

function expect(what, holds) {
  if (!holds) throw new Error(`not so: ${what}`);
  told.push(what);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});

async function open(width, scheme) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: scheme });
  page.faults = [];
  page.on("console", (line) => line.type() === "error" && page.faults.push(line.text()));
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.goto(admin);
  await page.locator("[data-region=eu-west-1]").waitFor();
  return page;
}

try {
  const page = await open(1280, "light");
  expect("one row a region", (await page.locator(".region").count()) === 3);
  expect(`no fault in the console ${page.faults.join("; ")}`.trim(), page.faults.length === 0);

  await page.click("#token-button");
  await page.fill("#token-form input", "demo");
  await page.keyboard.press("Enter");
  await page.locator("#token-dialog").waitFor({ state: "hidden" });

  await page.click("[data-act=drain][data-scope=eu-west-1]");
  await page.locator(".plan").waitFor();
  expect("the plan names tenants", (await page.locator("#plan").innerText()).includes("tenants"));
  expect("no button without a reason", await page.locator("#drain-do").isDisabled());
  await page.fill("#drain-form [name=over]", "3s");
  await page.fill("#drain-form [name=reason]", "a story <b>of</b> the browser");
  await page.locator("#drain-do:not([disabled])").waitFor();
  await page.screenshot({ path: `${shots}/plan.png` });
  await page.click("#drain-do");
  await page.locator("#drain-dialog").waitFor({ state: "hidden" });
  const effective = page.locator("[data-region=eu-west-1] [data-effective]").first();
  await page.waitForFunction(() => Number(document.querySelector("[data-region=eu-west-1] [data-effective]").textContent) < 100);
  await page.waitForFunction(() => document.querySelector("[data-region=eu-west-1] [data-effective]").textContent === "0");
  expect("the bar has moved to 0", (await effective.innerText()) === "0");
  await page.locator("#events li[data-kind=drain]").first().waitFor();
  await page.locator("#audit td", { hasText: "a story <b>of</b> the browser" }).first().waitFor();
  expect("what an operator wrote is text", (await page.locator("#audit td b").count()) === 0);
  await page.screenshot({ path: `${shots}/drained.png`, fullPage: true });

  await page.click("[data-act=undo][data-scope=eu-west-1]");
  await page.fill("#ask-form [name=reason]", "over");
  await page.click("#ask-do");
  await page.waitForFunction(() => document.querySelector("[data-region=eu-west-1] [data-effective]").textContent === "100");
  expect("it is undone", true);

  await page.fill("#explain [name=tenant]", "globex");
  await page.click("#explain button");
  await page.locator(".candidate.chosen").waitFor();
  expect("explain draws one verdict a region", (await page.locator(".candidate").count()) === 3);
  expect(`no fault in the console after all of it ${page.faults.join("; ")}`.trim(), page.faults.length === 0);

  const phone = await open(390, "dark");
  expect("a phone shows all without sideways scrolling", await phone.evaluate(() =>
    document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  await phone.screenshot({ path: `${shots}/phone.png`, fullPage: true });

  await page.evaluate(() => sessionStorage.setItem("rhumb-token", "wrong"));
  await page.click("[data-act=drain][data-scope=us-east-1]");
  await page.locator(".plan").waitFor();
  await page.fill("#drain-form [name=reason]", "x");
  await page.locator("#drain-do:not([disabled])").waitFor();
  await page.click("#drain-do");
  await page.locator("#drain-wrong", { hasText: "Token" }).waitFor();
  expect("a wrong token is said", true);
  await page.click("#drain-cancel");

  process.kill(Number(pid), "SIGTERM");
  await page.locator("#lost:not([hidden])", { hasText: "has not answered" }).waitFor({ timeout: 30_000 });
  expect("a lost edge is said plainly", true);
  await page.screenshot({ path: `${shots}/lost.png` });
  for (const line of told) console.log(`ok: ${line}`);
  console.log(`${told.length} passed, 0 failed`);
} catch (error) {
  for (const line of told) console.log(`ok: ${line}`);
  console.error(error.message);
  console.log(`${told.length} passed, 1 failed`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
