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

it("keeps the first column in sight on a phone, while the stages scroll", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  const places = await page.$eval("#accuracy .scroll", (box) => {
    const cell = (which: string) => box.querySelector(`tbody tr ${which}`)!.getBoundingClientRect().left;
    const before = [cell("th"), cell("td:last-child")];
    box.scrollLeft = 10_000;
    return { scrolled: box.scrollLeft, before, after: [cell("th"), cell("td:last-child")] };
  });
  expect(places.scrolled).toBeGreaterThan(0);
  expect(places.after[0]).toBe(places.before[0]);
  expect(places.before[1] - places.after[1]).toBe(places.scrolled);
});

it("prints on few pages, and no table is cut", async () => {
  await page.setViewportSize({ width: 703, height: 1016 }); // A4 less its margins
  await page.emulateMedia({ media: "print" });
  const wide = await page.$$eval(".scroll table", (all) => all.filter((one) => one.scrollWidth > innerWidth).length);
  expect(wide).toBe(0);
  const pdf = (await page.pdf({ format: "A4", preferCSSPageSize: false })).toString("latin1");
  expect(pdf.match(/\/Type\s*\/Page\b/g)!.length).toBeLessThan(16);
});

it("prints without what only a screen needs", async () => {
  await page.emulateMedia({ media: "print" });
  expect(await page.isVisible("nav")).toBe(false);
  expect(await page.isVisible("#examples .card")).toBe(true);
});
