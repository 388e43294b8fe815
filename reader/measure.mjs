// Opens a reader's folder from disk in Chromium and times what a person waits for: `node measure.mjs FOLDER`.
// Prints one JSON object; benchmarks/reader.py makes the folder and prints the table.
import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const folder = process.argv[2];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const session = await browser.newBrowserCDPSession();

/** The processes that show pages; `cpuTime` is in seconds. */
async function renderers() {
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  return processInfo.filter((one) => one.type === "renderer");
}

const cpuSeconds = async () => (await renderers()).reduce((sum, one) => sum + one.cpuTime, 0);

/** In MiB: resident and not shared. */
async function memory() {
  const pages = (await renderers()).map(({ id }) => {
    const text = execFileSync("grep", ["-E", "^Private_(Clean|Dirty)", `/proc/${id}/smaps_rollup`], { encoding: "utf8" });
    return text.match(/\d+/g).reduce((sum, number) => sum + Number(number), 0);
  });
  return pages.reduce((sum, one) => sum + one, 0) / 1024;
}

const address = `${pathToFileURL(folder)}/index.html`;
await page.goto(address); // once before, as for a page that one comes back to: reads the disk
const firstViews = [];
for (let round = 0; round < 5; round++) {
  await page.goto("about:blank");
  await page.goto(address);
  firstViews.push(
    await page.evaluate(async () => {
      while (!document.querySelector(".row")) await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now();
    }),
  );
}
const atFirst = await memory();

/** From the event to the first frame with another list. */
const choose = (label, value) =>
  page.evaluate(
    async ([label, value]) => {
      const found = () => document.querySelector(".found").textContent;
      const before = found();
      const control = document.querySelector(`[aria-label="${label}"]`);
      const began = performance.now();
      control.value = value;
      control.dispatchEvent(new Event("change", { bubbles: true }));
      while (found() === before && performance.now() - began < 5_000) await new Promise(requestAnimationFrame);
      return performance.now() - began;
    },
    [label, value],
  );

const options = (label) => page.$$eval(`[aria-label="${label}"] option`, (all) => all.map((one) => one.value));
const filters = [];
await page.click(".more");
for (const label of ["benchmark", "stage", "verdict", "ended", "subject"]) {
  for (const value of (await options(label)).slice(1, 4)) {
    filters.push([`${label} ${value}`, await choose(label, value)]);
    filters.push([`${label} any`, await choose(label, "")]);
  }
}
filters.push(["change gained", await choose("change", "gained")]);
filters.push(["change lost", await choose("change", "lost")]);
await page.click(".clear");

/** From the last key to the first texts found, and to the end of the search. */
async function search(words) {
  await page.fill('[type="search"]', "");
  await page.waitForFunction(() => !document.querySelector("progress"));
  const all = await page.textContent(".found");
  const cpu = await cpuSeconds();
  const began = Date.now();
  await page.fill('[type="search"]', words);
  let first = 0;
  for (;;) {
    const [found, busy] = await page.evaluate(() => [document.querySelector(".found").textContent, Boolean(document.querySelector("progress"))]);
    const some = found !== all && !found.startsWith("0 items");
    if (!first && some) first = Date.now() - began;
    if (!busy && found !== all) {
      return { words, first, whole: Date.now() - began, cpu: (await cpuSeconds()) - cpu, found: found.trim() };
    }
    await page.waitForTimeout(20);
  }
}
const searches = [];
for (const words of ["wait, let me", "rarest-of-all", "wait, let me"]) searches.push(await search(words));
const afterSearch = await memory();
await page.click(".clear");

const items = [];
await page.keyboard.press("j");
for (let round = 0; round < 20; round++) {
  items.push(
    await page.evaluate(async () => {
      const shown = () => document.querySelector(".item .id")?.textContent;
      const before = shown();
      const began = performance.now();
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
      while (shown() === before || !document.querySelector(".answer .why")) await new Promise(requestAnimationFrame);
      return performance.now() - began;
    }),
  );
}
process.stdout.write(`${JSON.stringify({ firstViews, atFirst, filters, searches, afterSearch, items })}\n`);
await browser.close();
