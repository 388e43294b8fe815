// report.html in Chromium, opened from disk beside its reader.
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";

const address = `${pathToFileURL(dirname(process.env.READER_FOLDER ?? ""))}/report.html`;
let browser: Browser;
let page: Page;
let faults: string[];

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}, 60_000);
afterAll(() => browser.close());

beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  faults = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => !/^(file|data):/.test(request.url()) && faults.push(request.url()));
  await page.goto(address);
});
afterEach(async () => {
  await page.close();
  expect(faults).toEqual([]);
});

it("leads to the reader", async () => {
  const wanted = (await page.textContent("#examples .all a"))?.match(/[\d,]+ answers/)?.[0];
  await page.click("#examples .all a");
  await page.waitForSelector(".row");
  expect(await page.textContent(".count")).toBe(wanted);
});

it("does nothing with what models wrote", async () => {
  await page.$$eval("details", (all) => all.forEach((one) => ((one as HTMLDetailsElement).open = true)));
  expect(await page.$$eval(".card script, .card a, .card iframe, .card [onerror]", (all) => all.length)).toBe(0);
  expect(await page.evaluate(() => (window as { hacked?: boolean }).hacked)).toBeUndefined();
});

it("is dark where the system is, and by its button", async () => {
  const brightness = () => page.evaluate(() => Number(/rgb\((\d+)/.exec(getComputedStyle(document.body).backgroundColor)?.[1]));
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await brightness()).toBeLessThan(60);
  await page.click("#theme");
  expect(await brightness()).toBeGreaterThan(200);
});

it("fits a phone: tables and plots scroll, the page does not", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});

it("prints without what only a screen needs", async () => {
  await page.emulateMedia({ media: "print" });
  expect(await page.isVisible("nav")).toBe(false);
  expect(await page.isVisible("#examples .card")).toBe(true);
});
