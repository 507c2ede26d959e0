// Ownership as the dashboard shows it: transfers that really move, freezes that really hold writes; and what a demo of one
// edge cannot come to, a split brain and a switch that nobody answers, as the API would tell of them.

import { appendFile } from "node:fs/promises";
import { ask } from "./world.mjs";

const CROWD = 24;

/** The stories, in their order; `tools` is what all stories share. */
export function ownership({ edge, shots, markup, fresh, expect, sound, because, sidewaysFree }) {
  const transfers = () => ask(edge.admin, "GET", "/v1/transfers");
  const begin = (wanted) => ask(edge.admin, "POST", "/v1/transfers", wanted);
  const card = (page, id) => page.locator(`[data-transfer="${id}"]`);
  const unfrozen = (page) => page.locator("[data-mark]").first().waitFor({ state: "detached" });

  /** So many tenants that may move, besides acme. */
  async function crowd(page) {
    const rows = Array.from({ length: CROWD }, (_, nth) => `shop-${nth} = { home = "eu-west-1", standby = ["us-east-1"] }\n`);
    await appendFile(`${edge.folder}/routing.toml`, rows.join(""));
    await ask(edge.admin, "POST", "/v1/table/reload", { reason: "a crowd" });
    await page.locator("#edge-facts div", { hasText: /tenants\s*28/ }).waitFor();
  }

  return {
    async "a transfer in waves is seen to move, says what it waits for, and is cancelled by a button, for a reason"() {
      const page = await fresh();
      await crowd(page);
      const { id } = await begin({ from: "eu-west-1", to: "standby", share: 25, every: "1h", reason: markup });
      const shown = card(page, id);
      await shown.locator(".badge.waiting").waitFor();
      await shown.locator("[data-moved]", { hasText: /^[1-9]\d* of about [1-9]\d* tenants moved$/ }).waitFor();
      await shown.locator("[data-waits]", { hasText: "waits for its next wave, at" }).waitFor();
      await shown.locator(".moved", { hasText: "over at about" }).waitFor();
      await shown.locator(".why", { hasText: markup }).waitFor();
      expect("what an operator wrote is text", (await shown.locator("img, .why b").count()) === 0);
      const filled = await page.evaluate((which) => {
        const bar = document.querySelector(`[data-transfer="${which}"] .bar`);
        return bar.querySelector(".effective").getBoundingClientRect().width / bar.getBoundingClientRect().width;
      }, id);
      expect(`the bar is filled in part: ${filled}`, filled > 0.1 && filled < 0.6);
      await page.locator("#events li[data-kind=transfer]").first().waitFor();
      await shown.scrollIntoViewIfNeeded();
      await page.screenshot({ path: `${shots}/waves.png` });
      await shown.locator("[data-act=cancel]").focus();
      await page.keyboard.press("Enter");
      await page.locator("#ask-note", { hasText: "Who has moved stays moved" }).waitFor();
      await page.screenshot({ path: `${shots}/cancel.png` });
      await page.click("#ask-do");
      expect("not without a reason", await page.locator("#ask-dialog").evaluate((dialog) => dialog.open));
      const asked = page.waitForRequest((request) => request.method() === "DELETE" && request.url().endsWith(`/v1/transfers/${id}`));
      await because(page, "enough for today");
      await asked;
      await shown.locator(".badge.cancelled").waitFor();
      expect("what is over is not cancelled again", (await shown.locator("[data-act=cancel]").count()) === 0);
      await page.locator("#audit td", { hasText: "enough for today" }).first().waitFor();
      const home = await begin({ home: "eu-west-1", to: "home", reason: "back" });
      await card(page, home.id).locator(".badge.done").waitFor();
      const [{ moved }] = (await transfers()).filter(({ id: other }) => other === home.id);
      await card(page, home.id).locator("[data-moved]", { hasText: `${moved} of ${moved} tenant` }).waitFor();
      expect("the newest stands first", (await page.locator(".transfer").first().getAttribute("data-transfer")) === String(home.id));
      sound(page);
    },

    async "who may not cancel is told so, and the transfer goes on"() {
      const page = await fresh({ token: "wrong" });
      const { id } = await begin({ from: "eu-west-1", to: "standby", share: 25, every: "1h", reason: "a story" });
      await card(page, id).locator(".badge.waiting").waitFor();
      await card(page, id).locator("[data-act=cancel]").click();
      await page.fill("#ask-form [name=reason]", "let me");
      await page.click("#ask-do");
      await page.locator("#ask-wrong", { hasText: "Token" }).waitFor();
      await page.click("#ask-cancel");
      expect("it goes on", (await transfers()).some((one) => one.id === id && ["running", "waiting"].includes(one.state)));
      await ask(edge.admin, "DELETE", `/v1/transfers/${id}`, { reason: "the story is over" });
      const home = await begin({ home: "eu-west-1", to: "home", reason: "back" });
      await card(page, home.id).locator(".badge.done").waitFor();
    },

    async "a freeze says who, why and until when, holds writes that are counted, and is ended by a button"() {
      const page = await fresh();
      await ask(edge.admin, "POST", "/v1/tenants/acme/freeze", { reason: markup, expires_in: "2h" });
      const shown = page.locator('[data-mark="tenant:acme"]');
      for (const said of ["frozen", "by admin", markup, "until "]) await shown.filter({ hasText: said }).waitFor();
      await page.locator("b[data-held]", { hasText: /^[1-9]\d* writes? held now$/ }).waitFor();
      await shown.locator("[data-act=unfreeze]").click();
      await because(page, "it is over");
      await unfrozen(page);
      await page.locator("span[data-held]", { hasText: "0 writes held now" }).waitFor();
      await ask(edge.admin, "POST", "/v1/regions/us-east-1/freeze", { mode: "read-only", reason: "a copy is made" });
      const region = page.locator("[data-region=us-east-1] [data-marked]");
      await region.filter({ hasText: "writes read-only by admin: a copy is made" }).waitFor();
      await page.locator('[data-mark="region:us-east-1"]', { hasText: "until somebody ends it" }).locator("button").click();
      await because(page, "it is made");
      await region.waitFor({ state: "detached" });
      await unfrozen(page);
      await page.locator("[data-region=us-east-1] [data-ready]", { hasText: "drill: " }).waitFor();
      sound(page);
    },

    async "a split brain and a stuck transfer are in plain sight with their commands, at any width, in light and in dark"() {
      const since = new Date(Date.now() - 300_000).toISOString();
      const stuck = {
        id: 9, state: "running", step: "switch", what: "all of what eu-west-1 owns to their standbys", unplanned: false,
        moved: 500, tenants: 1240, expected: 1240, eta: null, waves: 0, batch: { from: "eu-west-1", to: "us-east-1", tenants: 500 },
        trouble: "eu-west-1 has not said that it knows its new owner: 10.0.0.7:9443 was not reached", stuck: true, ending: false,
        next_wave: null, by: "mia", reason: "INC-5: maintenance of the eastern racks", since,
      };
      const quick = { ...stuck, id: 8, step: "catch_up", stuck: false, trouble: null, unplanned: false, eta: since, reason: "INC-4", what: "tenant acme to us-east-1" };
      const lost = { ...quick, id: 7, state: "failed", step: "over", batch: null, unplanned: true, trouble: "us-east-1 cannot take over: case.write is DOWN" };
      const first = [{ tenant: "it's acme", epoch: 7, claimed_by: ["eu-west-1", "us-east-1"] }, { tenant: "globex", epoch: 3, claimed_by: ["us-east-1"] }];
      await ask(edge.admin, "POST", "/v1/tenants/globex/freeze", { reason: "INC-9: a migration runs wild", expires_in: "2h" });
      for (const width of [1280, 390]) {
        for (const scheme of ["light", "dark"]) {
          const page = await fresh({ width, scheme, told: { "/v1/transfers": [lost, quick, stuck], "/v1/disputes": { count: 3, first } } });
          await card(page, 9).locator(".badge", { hasText: "stuck" }).waitFor();
          await card(page, 9).locator("[aria-current=step].stuck", { hasText: "switch" }).waitFor();
          await card(page, 9).locator("code", { hasText: 'rhumb transfers release 9 --reason "…"' }).waitFor();
          await card(page, 9).locator(".rule", { hasText: "10.0.0.7:9443 was not reached" }).waitFor();
          await card(page, 8).locator("[data-waits]", { hasText: "waits until us-east-1 has all that eu-west-1 had written" }).waitFor();
          expect("only a stuck one is to be released", (await card(page, 8).locator("code").count()) === 0);
          await card(page, 7).locator(".unplanned", { hasText: "writes may be lost" }).waitFor();
          await page.locator("[data-dispute=globex]", { hasText: "another region, which the audit names" }).waitFor();
          await page.locator("code", { hasText: `resolve 'it'\\''s acme' --owner us-east-1 --reason "…"` }).waitFor();
          await page.locator("#ownership .rule", { hasText: "and 1 tenant more" }).waitFor();
          expect(`${width} ${scheme}: the page fits`, await sidewaysFree(page));
          await page.locator("#ownership").screenshot({ path: `${shots}/ownership-${width}-${scheme}.png` });
          sound(page);
        }
      }
      await ask(edge.admin, "POST", "/v1/tenants/globex/unfreeze", { reason: "it is over" });
    },
  };
}
