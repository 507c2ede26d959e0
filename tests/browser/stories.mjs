// The dashboard as a person meets it, in a real browser against the demo. Each story begins with nothing drained,
// whatever became of the one before. Every wait is for a condition. Exits 1 with what did not hold.
//
// node stories.mjs RHUMB SCREENSHOT_FOLDER PLAYWRIGHT

import { ownership } from "./ownership.mjs";
import { ask, browser, closedEdge, demo, open } from "./world.mjs";

const [rhumb, shots, playwright] = process.argv.slice(2);
const MARKUP = "<img src=x onerror=alert(1)><b>why</b>";
const EU = "[data-region=eu-west-1]";

function expect(what, holds) {
  if (!holds) throw new Error(`not so: ${what}`);
}

const chromium = await browser(playwright);
const edge = await demo(rhumb);
const fresh = async (how = {}) => {
  const page = await open(chromium, edge.admin, { token: "demo", ...how });
  await page.locator(EU).waitFor();
  return page;
};
const button = (page, act, scope) => page.locator(`[data-act=${act}][data-scope="${scope}"]`);
const effective = (page, value) => page.locator(`${EU} [data-effective]`, { hasText: new RegExp(`^${value}$`) }).waitFor();
const sound = (page) => expect(`no fault in the console: ${page.faults.join("; ")}`, page.faults.length === 0);
const weigh = (weight, reason = "a story") => ask(edge.admin, "PUT", "/v1/regions/eu-west-1/weight", { weight, reason });
async function restored() {
  const { regions } = await ask(edge.admin, "GET", "/v1/status");
  for (const { region } of regions.filter(({ weight }) => weight.operator !== null)) {
    await ask(edge.admin, "DELETE", `/v1/regions/${region}/weight`, { reason: "the next story begins" });
  }
}
const sidewaysFree = (page) => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
async function because(page, reason) {
  await page.fill("#ask-form [name=reason]", reason);
  await page.click("#ask-do");
  await page.locator("#ask-dialog").waitFor({ state: "hidden" });
}

const stories = {
  async "a row a region, with figures, lines and a map of what flows"() {
    const page = await fresh();
    expect("three rows", (await page.locator(".region").count()) === 3);
    await page.locator("#matrix td").first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll(".spark path[d*=L]").length >= 3);
    sound(page);
  },

  async "a drain shows its plan before there is a button, moves the bar, and is undone by a button"() {
    const page = await fresh();
    await page.route("**/v1/plan/drain", async (route) => {
      expect("no button before the plan", await page.locator("#drain-do").isDisabled());
      await route.continue();
    });
    await button(page, "drain", "eu-west-1").click();
    await page.fill("#drain-form [name=over]", "3s");
    await page.locator("#plan", { hasText: "tenants" }).waitFor();
    expect("no button without a reason", await page.locator("#drain-do").isDisabled());
    await page.fill("#drain-form [name=reason]", MARKUP);
    await page.locator("#drain-do:enabled").waitFor();
    await page.screenshot({ path: `${shots}/plan.png` });
    await page.click("#drain-do");
    await page.locator("#drain-dialog").waitFor({ state: "hidden" });
    await page.waitForFunction((row) => {
      const now = Number(document.querySelector(`${row} [data-effective]`).textContent);
      return now > 0 && now < 100;
    }, EU);
    await effective(page, 0);
    expect("the bar is empty", (await page.locator(`${EU} .bar .effective`).first().evaluate((bar) => bar.style.width)) === "0%");
    await page.locator("#events li[data-kind=drain]", { hasText: "done" }).waitFor();
    await page.locator("#audit td", { hasText: MARKUP }).first().waitFor();
    await page.locator(`${EU} .why`, { hasText: MARKUP }).waitFor();
    await page.screenshot({ path: `${shots}/drained.png`, fullPage: true });
    await page.locator("#events", { hasText: MARKUP }).waitFor();
    expect("what an operator wrote is text", (await page.locator("main img, #audit b, .why b").count()) === 0);
    const times = await page.locator("#audit tbody tr td:nth-child(3)").allInnerTexts();
    expect(`the newest comes first: ${times}`, times.indexOf("drain_done") < times.indexOf("drain_began"));
    await button(page, "undo", "eu-west-1").click();
    await because(page, "it is over");
    await effective(page, 100);
    await button(page, "undo", "eu-west-1").waitFor({ state: "detached" });
    sound(page);
  },

  async "a drain is stopped where it is"() {
    const page = await fresh();
    await ask(edge.admin, "POST", "/v1/drains", { region: "eu-west-1", to: 0, over: "20s", reason: "a story" });
    await page.waitForFunction((row) => Number(document.querySelector(`${row} [data-effective]`).textContent) < 100, EU);
    await button(page, "stop", "eu-west-1").click();
    const asked = page.waitForRequest((request) => request.method() === "DELETE" && /\/v1\/drains\/\d+$/.test(request.url()));
    await because(page, "far enough");
    await asked;
    await page.locator(`${EU} .why`, { hasText: "stopped" }).waitFor();
    const stands = Number(await page.locator(`${EU} [data-effective]`).innerText());
    expect(`it stands in between: ${stands}`, stands > 0 && stands < 100);
    await button(page, "undo", "eu-west-1").click();
    await because(page, "back");
    await effective(page, 100);
    await button(page, "undo", "eu-west-1").waitFor({ state: "detached" });
    sound(page);
  },

  async "three weights are told apart, at the ends of the bar too"() {
    const page = await fresh();
    for (const weight of [0, 40, 100]) {
      await weigh(weight);
      await page.locator(`${EU} .legend .operator`, { hasText: new RegExp(` ${weight}$`) }).waitFor();
      // Found and measured in one go: a look may replace the row in between, and a row that is gone measures 0.
      const marks = await page.evaluate((row) => {
        const bar = document.querySelector(`${row} .bar`);
        return [...bar.querySelectorAll(".mark")].map((mark) => {
          const [outer, inner] = [bar.getBoundingClientRect(), mark.getBoundingClientRect()];
          return inner.width >= 2 && inner.left >= outer.left && inner.right <= outer.right;
        });
      }, EU);
      expect(`both marks are within the bar at ${weight}`, marks.length === 2 && marks.every(Boolean));
    }
  },

  async "a broken rule has to be overridden by its name"() {
    await weigh(0);
    const page = await fresh();
    await button(page, "drain", "us-east-1").click();
    await page.locator("#plan .rule", { hasText: "breaks last_region_of_residency" }).waitFor();
    await page.fill("#drain-form [name=reason]", "a story");
    expect("a reason is not enough", await page.locator("#drain-do").isDisabled());
    await page.locator("[name=override][value=last_region_of_residency]").check();
    for (const box of await page.locator("[name=override]:not(:checked)").all()) await box.check();
    await page.locator("#drain-do:enabled").waitFor();
    await page.locator("[name=override][value=last_region_of_residency]").uncheck();
    expect("taken back, it is asked for again", await page.locator("#drain-do").isDisabled());
    await page.screenshot({ path: `${shots}/rule.png` });
    sound(page);
  },

  async "explain draws a verdict a region, and takes nothing for markup"() {
    const page = await fresh();
    await page.fill("#explain [name=tenant]", "globex");
    await page.click("#explain button");
    await page.locator(".candidate.chosen").waitFor();
    expect("one verdict a region", (await page.locator(".candidate").count()) === 3);
    sound(page);
    await page.fill("#explain [name=tenant]", "<img src=x onerror=alert(1)>");
    await page.click("#explain button");
    await page.locator(".candidate").first().waitFor({ state: "detached" });
    expect("no image", (await page.locator("main img").count()) === 0);
  },

  async "the audit pages, and an event takes no page away"() {
    for (let nth = 0; nth < 30; nth += 1) await weigh(nth % 2 ? 90 : 80);
    const page = await fresh();
    await page.locator("#audit-more").click();
    await page.waitForFunction(() => document.querySelectorAll("#audit tbody tr").length > 20);
    const before = await page.locator("#audit tbody tr").count();
    await weigh(70, "one more");
    await page.locator("#audit tbody tr:first-child", { hasText: "one more" }).waitFor();
    expect("older entries are still shown", (await page.locator("#audit tbody tr").count()) >= before);
    sound(page);
  },

  async "by keyboard: to a dialog, through it, and back to where one was"() {
    const page = await fresh();
    await page.keyboard.press("Tab");
    expect("first the way past the header", (await page.locator(":focus").innerText()) === "Skip to the regions");
    await button(page, "drain", "eu-west-1").focus();
    await page.keyboard.press("Enter");
    await page.locator("#drain-dialog[open] #plan .plan").waitFor();
    const row = await page.locator(EU).elementHandle();
    await page.waitForFunction((old) => !old.isConnected, row);
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.activeElement.dataset.key === "drain:eu-west-1");
    sound(page);
  },

  async "a press that lasts longer than a look is still a press"() {
    const page = await fresh();
    await button(page, "drain", "eu-west-1").hover();
    await page.mouse.down();
    for (let looks = 0; looks < 2; looks += 1) await page.waitForResponse((answer) => answer.url().endsWith("/v1/traffic"));
    await page.mouse.up();
    await page.locator("#drain-dialog[open]").waitFor();
  },

  async "a wrong token is said at once, and again by what needs it"() {
    const page = await fresh({ token: undefined });
    const type = async (word) => {
      await page.click("#token-button");
      await page.fill("#token-form input", word);
      await page.keyboard.press("Enter");
    };
    await type("wrong");
    await page.locator("#told", { hasText: "does not know this token" }).waitFor();
    await button(page, "drain", "us-east-1").click();
    await page.locator(".plan").waitFor();
    await page.fill("#drain-form [name=reason]", "a story");
    await page.locator("#drain-do:enabled").click();
    await page.locator("#drain-wrong", { hasText: "Token" }).waitFor();
    await page.click("#drain-cancel");
    await type("demo");
    await page.locator("#told", { hasText: "the edge knows it" }).waitFor();
    const { entries } = await ask(edge.admin, "GET", "/v1/audit?limit=1000");
    expect("to try a token is no change", entries.every(({ reason }) => reason !== "is the token good"));
  },

  async "an edge that shows nothing without a token shows the page, which asks for one"() {
    const closed = await closedEdge(rhumb, edge.folder);
    try {
      let page;
      for (const end = Date.now() + 30_000; !page;) {
        page = await open(chromium, closed.admin).catch((error) => { if (Date.now() > end) throw error; });
      }
      await page.locator("#lost", { hasText: "wants a token" }).waitFor();
      expect("no region is shown", (await page.locator(".region").count()) === 0);
      await page.click("#token-button");
      await page.fill("#token-form input", "demo");
      await page.keyboard.press("Enter");
      await page.locator(EU).waitFor();
      await page.locator("#lost").waitFor({ state: "hidden" });
      await ask(closed.admin, "PUT", "/v1/regions/eu-west-1/weight", { weight: 90, reason: "seen" });
      await page.locator("#audit td", { hasText: "seen" }).waitFor();
      const again = await open(chromium, closed.admin);
      await again.locator("#lost", { hasText: "wants a token" }).waitFor();
      await again.click("#token-button");
      await again.fill("#token-form input", "demo");
      await again.keyboard.press("Enter");
      await again.locator("#audit td", { hasText: "seen" }).waitFor();
    } finally {
      await closed.stop();
    }
  },

  ...ownership({ edge, shots, markup: MARKUP, fresh, expect, sound, because, sidewaysFree }),

  async "nothing has to be scrolled sideways, at any width, in light and in dark"() {
    await ask(edge.admin, "POST", "/v1/drains", { region: "eu-west-1", to: 40, reason: "maintenance of the eastern racks, ticket 4711" });
    for (const width of [1280, 390]) {
      for (const scheme of ["light", "dark"]) {
        const page = await fresh({ width, scheme });
        await page.fill("#explain [name=tenant]", "globex");
        await page.click("#explain button");
        await page.locator(".candidate.chosen").waitFor();
        await page.waitForFunction(() => document.querySelectorAll(".spark path[d*=L]").length >= 3);
        expect(`${width} ${scheme}: the page fits`, await sidewaysFree(page));
        await page.screenshot({ path: `${shots}/${width}-${scheme}.png`, fullPage: true });
        if (width < 400 && scheme === "dark") await page.screenshot({ path: `${shots}/phone.png`, fullPage: true, clip: { x: 0, y: 0, width, height: 2400 } });
        await button(page, "drain", "us-east-1").click();
        await page.locator(".plan").waitFor();
        const fits = await page.locator("#drain-dialog").evaluate((box) => box.scrollWidth <= box.clientWidth && box.getBoundingClientRect().right <= innerWidth);
        expect(`${width} ${scheme}: the dialog fits`, fits);
        await page.screenshot({ path: `${shots}/dialog-${width}-${scheme}.png` });
        sound(page);
      }
    }
  },

  async "an edge that stands still, or is gone, is said to be lost, and what was known is greyed"() {
    const page = await fresh();
    edge.signal("SIGSTOP");
    await page.locator("#lost:not([hidden])", { hasText: "has not answered for" }).waitFor();
    edge.signal("SIGCONT");
    await page.locator("#lost").waitFor({ state: "hidden" });
    await edge.stop();
    await page.locator("#lost:not([hidden])", { hasText: "has not answered for" }).waitFor();
    expect("what was known is greyed", await page.locator("body.is-lost .region").first().isVisible());
    await page.screenshot({ path: `${shots}/lost.png` });
  },
};

let passed = 0;
let failed = 0;
try {
  for (const [name, story] of Object.entries(stories)) {
    try {
      await restored();
      await story();
      passed += 1;
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.error(`FAILED: ${name}\n  ${error.message}`);
    } finally {
      for (const context of chromium.contexts()) await context.close();
    }
  }
} finally {
  await chromium.close();
  await edge.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed === Object.keys(stories).length ? 0 : 1;
