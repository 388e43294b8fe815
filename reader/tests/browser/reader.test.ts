// The reader in Chromium, opened from disk. `make test-reader` writes the folder and sets READER_FOLDER.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

const address = `${pathToFileURL(process.env.READER_FOLDER ?? "")}/index.html`;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
let browser: Browser;
let context: BrowserContext;
let page: Page;
/** Console errors, uncaught exceptions, dialogs, and requests that leave the folder. */
let faults: string[];

beforeAll(async () => {
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}, 60_000);
afterAll(() => browser.close());

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
  page = await context.newPage();
  faults = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => !/^(file|data|blob):/.test(request.url()) && faults.push(request.url()));
});
afterEach(async () => {
  await context.close();
  expect(faults).toEqual([]);
});

const open = async (hash = "") => {
  await page.goto(address + hash);
  await page.waitForSelector(".row, .none");
};
const found = () => page.textContent(".found");
const choose = (label: string, value: string) => page.selectOption(`select[aria-label="${label}"]`, value);
const shown = () => page.textContent(".item .id");
const settled = () => page.waitForFunction(() => document.querySelector(".answer .why") && !document.querySelector("progress"));

describe("filters", () => {
  it("count what they show, and the address keeps them", async () => {
    await open();
    const all = await found();
    await choose("kind", "evaluation");
    await choose("stage", "rl");
    await choose("verdict", "wrong");
    const some = await found();
    expect(some).not.toBe(all);
    expect(new URL(page.url()).hash).toBe("#kind=evaluation&stage=rl&verdict=wrong");
    await open(new URL(page.url()).hash);
    expect(await found()).toBe(some);
    await page.click(".clear");
    expect(await found()).toBe(all);
  });

  it("find what changed between two stages, and show both sides", async () => {
    await open();
    await page.click(".more");
    await choose("change", "gained");
    await page.keyboard.press("Escape"); // out of the field
    await page.keyboard.press("j");
    await settled();
    expect(await page.$$eval(".answer h3", (all) => all.map((one) => one.textContent))).toEqual(["base", "rl"]);
    expect(await page.$$eval(".answer header .chip:first-of-type", (all) => all.map((one) => one.textContent))).toEqual(["wrong", "right"]);
  });

  it("lead from a number of the overview to its answers", async () => {
    await open("#kind=evaluation");
    const cell = page.locator("tbody tr", { hasText: "sums-image" }).first().locator("td button").last();
    const [right, all] = ((await cell.getAttribute("title")) ?? "").split(" of ");
    expect(Number(right)).toBeLessThanOrEqual(Number(all));
    await cell.click();
    expect(await found()).toBe(`${all} items, ${all} answers`);
    await choose("verdict", "right");
    expect(await found()).toBe(`${right} items, ${right} answers`);
  });
});

describe("search", () => {
  it("finds texts, marks the words and unfolds the thought", async () => {
    await open();
    await page.keyboard.press("/");
    await page.keyboard.type("FORCED   again");
    await page.waitForFunction(() => /^[1-9]\d* items/.test(document.querySelector(".found")?.textContent ?? "") && !document.querySelector("progress"));
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await settled();
    expect(await page.textContent(".thought mark.found-words")).toBe("forced again");
    expect(new URL(page.url()).searchParams.size).toBe(0); // nothing but the part after '#'
  });

  it("says if nothing is found", async () => {
    await open("#q=no+such+words+anywhere");
    await page.waitForSelector(".none");
    expect(await found()).toBe("0 items, 0 answers");
  });
});

describe("keys and addresses", () => {
  it("step through items, open answers, and go back", async () => {
    await open("#kind=evaluation");
    for (const key of ["j", "j", "k", "j"]) await page.keyboard.press(key);
    await settled();
    expect(await page.getAttribute('[aria-selected="true"]', "aria-posinset")).toBe("2");
    const before = await page.$$eval(".answer", (all) => all.length);
    await page.keyboard.press("2");
    await page.waitForFunction((count) => document.querySelectorAll(".answer .why").length === count + 1, before);
    const link = page.url();
    const item = await shown();
    await open("#");
    await page.goto("about:blank");
    await page.goto(link);
    await settled();
    expect([await shown(), await page.$$eval(".answer", (all) => all.length)]).toEqual([item, before + 1]);
    await page.keyboard.press("a");
    await page.waitForFunction(() => document.querySelectorAll(".answer").length === 2);
    await page.keyboard.press("a");
    await page.waitForFunction(() => document.querySelectorAll(".answer").length === 3);
    await page.keyboard.press("Escape");
    await page.waitForSelector(".overview");
  });

  it("reach everything without a mouse", async () => {
    await open("#kind=evaluation");
    await page.focus(".scroller");
    await page.keyboard.press("ArrowDown");
    await settled();
    expect(await page.getAttribute('[aria-selected="true"]', "aria-posinset")).toBe("1");
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    const unreachable = await page.$$eval("button, select, input, summary", (all) =>
      all.filter((one) => (one as HTMLElement).tabIndex < 0 || !(one.textContent || one.ariaLabel || (one as HTMLInputElement).placeholder)).length,
    );
    expect(unreachable).toBe(0);
  });

  it("survive an address that names nothing", async () => {
    await open("#item=no/such&stage=none&tag.constructor=x&open=%3Cb%3E~1&from=a&to=b&change=lost");
    expect(await found()).toBe("0 items, 0 answers");
  });
});

describe("texts", () => {
  it("of models and benchmarks do nothing", async () => {
    await open("#benchmark=hostile");
    await page.setViewportSize({ width: 390, height: 844 });
    const count = await page.$$eval(".row", (all) => all.length);
    expect(count).toBeGreaterThan(5);
    await page.keyboard.press("m"); // plain text, then formulas again
    for (let item = 0; item < count; item++) {
      await page.keyboard.press("j");
      await settled();
      await page.keyboard.press("t");
      const parts = await page.$$eval(".item script, .item iframe, .item a, .item img, .item form, .item [onerror]", (all) => all.length);
      expect(parts).toBe(0);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    }
    expect(await page.evaluate(() => (window as { hacked?: boolean }).hacked)).toBeUndefined();
    expect(await page.title()).toContain("answers");
  });

  it("have rendered formulas, and those that are none stay text", async () => {
    await open("#benchmark=formulas");
    await page.keyboard.press("j");
    await settled();
    await page.keyboard.press("t");
    await page.waitForSelector(".thought .katex");
    expect(await page.textContent(".thought .katex annotation")).toBe("\\frac{1}{2}");
    const text = await page.textContent(".thought .written");
    for (const kept of ["$5 and $10", "\\(\\notacommand{\\)", "\\href{javascript:hacked()}{x}"]) expect(text).toContain(kept);
    const font = await page.evaluate(() => document.fonts.ready.then((fonts) => [...fonts].some((one) => one.family.startsWith("KaTeX") && one.status === "loaded")));
    expect(font).toBe(true);
  });

  it("of training show each token's probability", async () => {
    await open("#kind=training");
    await page.keyboard.press("j");
    await settled();
    await page.click(".modes button:last-child");
    const tokens = await page.$$eval(".tokens > :is(span, mark)", (all) => all.map((one) => [one.tagName, one.className, one.textContent]));
    expect(tokens.slice(0, 3)).toEqual([
      ["SPAN", "p0", "<think>"],
      ["SPAN", "p2", "so 𝄞"],
      ["MARK", "", "</think>"],
    ]);
    expect(await page.textContent(".why")).toContain("advantage");
  });

  it("of a megabyte are shown in parts", async () => {
    await open("#benchmark=long");
    await page.keyboard.press("j");
    await settled();
    await page.keyboard.press("t");
    const began = Date.now();
    expect(await page.textContent(".thought .rest")).toMatch(/^Show the other 1,0\d\d,\d\d\d characters$/);
    await page.click(".thought .rest");
    await page.waitForFunction(() => (document.querySelector(".thought .written")?.textContent?.length ?? 0) > 1_000_000);
    expect(Date.now() - began).toBeLessThan(10_000);
  });
});

describe("looks", () => {
  it("fits a phone, where list and item take turns", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await open("#kind=evaluation");
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth);
    expect(await wide()).toBeLessThanOrEqual(390);
    await page.click(".row >> nth=1");
    await settled();
    expect(await wide()).toBeLessThanOrEqual(390);
    expect(await page.isVisible(".list")).toBe(false);
    await page.goBack();
    expect(await page.isVisible(".list")).toBe(true);
  });

  it("is dark where the system is, and by key", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await open();
    const brightness = () =>
      page.evaluate(() => Number(/rgb\((\d+)/.exec(getComputedStyle(document.body).backgroundColor)?.[1]));
    expect(await brightness()).toBeLessThan(60);
    await page.keyboard.press("d");
    expect(await brightness()).toBeGreaterThan(200);
  });

  it("prints one item", async () => {
    await open("#kind=evaluation");
    await page.keyboard.press("j");
    await settled();
    await page.emulateMedia({ media: "print" });
    expect(await page.isVisible(".list")).toBe(false);
    expect(await page.isVisible(".filters")).toBe(false);
    expect(await page.isVisible(".answer")).toBe(true);
    expect((await page.pdf({ format: "A4" })).length).toBeGreaterThan(10_000);
  });

  it("draws only the rows in view", async () => {
    await open();
    expect(await page.$$eval(".row", (all) => all.length)).toBeLessThan(40);
  });
});

it("saves the listed answers as CSV", async () => {
  await open("#benchmark=sums-image&stage=rl");
  const [saved] = await Promise.all([page.waitForEvent("download"), page.click("text=CSV")]);
  const lines = readFileSync(await saved.path(), "utf8").trimEnd().split("\r\n");
  expect(lines[0].split(",").slice(0, 5)).toEqual(["run", "stage", "benchmark", "id", "sample"]);
  expect(`${lines.length - 1} items, ${lines.length - 1} answers`).toBe(await found());
});

it("says which file of texts cannot be read", async () => {
  await page.route("**/text/*.js", (route) => route.abort());
  await open();
  await page.keyboard.press("j");
  await page.waitForSelector(".failed");
  expect(await page.textContent(".item .failed")).toMatch(/text\/[0-9a-f]+\.js cannot be read; run xreasoner view again/);
  faults = faults.filter((fault) => !fault.includes("net::ERR_FAILED"));
});
