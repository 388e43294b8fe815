import { describe, expect, it } from "vitest";
import { deflateSync } from "node:zlib";
import { LONGEST, MOST, segments } from "../../src/formulas";
import { inserted, piecesOf, splitReply, surprise } from "../../src/reply";
import { occurrences, rowsWith } from "../../src/words";
import { unpackChunk } from "../../src/unpack";

const tex = (text: string) => segments(text).flatMap((one) => (one.kind === "formula" ? [one.tex] : []));
const joined = (text: string) => segments(text).map((one) => (one.kind === "text" ? one.text : one.raw)).join("");

describe("formulas", () => {
  it("are found in every usual form", () => {
    expect(tex("a \\(x^2\\) b $y$ c \\[z\\] d $$w$$")).toEqual(["x^2", "y", "z", "w"]);
    expect(tex("so \\boxed{\\frac{1}{2}}.")).toEqual(["\\boxed{\\frac{1}{2}}"]);
    expect(tex("\\begin{align*}a&=b\\end{align*}")).toEqual(["\\begin{align*}a&=b\\end{align*}"]);
    expect(tex("$x$, $y+1$-th")).toEqual(["x", "y+1"]);
  });
  it("are not money, code or half a formula", () => {
    for (const text of ["$5 and $10", "costs $5", "a $ b $ c", "\\(x", "\\[x", "US$3 or US$4", "$a\nb$"]) {
      expect(tex(text)).toEqual([]);
    }
  });
  it("leave the text as it was", () => {
    for (const text of ["", "x", "a $x$ b", "\\(\\(\\)", "$$$$", "$$x$", "\\boxed{{}"]) expect(joined(text)).toBe(text);
  });
  it("have limits", () => {
    expect(tex(`$$${"x".repeat(LONGEST + 1)}$$`)).toEqual([]);
    expect(tex("$x$ ".repeat(MOST + 50))).toHaveLength(MOST);
    const start = performance.now();
    for (const part of ["\\[", "$", "$$", "\\boxed{", "\\boxed{{", "\\begin{align}", "{".repeat(9)]) {
      segments(part.repeat(20_000 / part.length));
    }
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe("a reply", () => {
  it("is split as chat/think.py does", () => {
    expect(splitReply("<think>\na\n</think>\nb")).toEqual({ thought: "a", answer: "b" });
    expect(splitReply("a</think>b")).toEqual({ thought: "a", answer: "b" });
    expect(splitReply("<think>a")).toEqual({ thought: "a", answer: "" });
    expect(splitReply("b")).toEqual({ thought: null, answer: "b" });
  });
  it("shows what a forced exit inserted", () => {
    expect(inserted("<think>a\n</think>\nb", true)).toBe("</think>");
    expect(inserted("a\n\n<answer>b", true)).toBe("<answer>");
    expect(inserted("<think>a</think>", false)).toBe("");
  });
  it("is cut into tokens by code points", () => {
    expect(piecesOf("a𝄞bc", [2, 1, 1], [-0.1, null, -9])).toEqual([
      { text: "a𝄞", logprob: -0.1 },
      { text: "b", logprob: null },
      { text: "c", logprob: -9 },
    ]);
  });
  it("shades tokens by their probability", () => {
    expect([0.95, 0.6, 0.2, 0.05, 0.001].map((p) => surprise(Math.log(p)))).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("a chunk", () => {
  const body = "[1]\0One two\0three\nFOUR\0a.c [1]\0";
  it("is inflated and split", async () => {
    const packed = deflateSync('[{"why":"x"}]\0text 𝄞').toString("base64");
    expect(await unpackChunk(packed)).toEqual({ facts: [{ why: "x" }], texts: ["text 𝄞"] });
  });
  it("is searched for words, not for a pattern", () => {
    expect(rowsWith(body, "o")).toEqual([0, 1]);
    expect(rowsWith(body, "two")).toEqual([0]);
    expect(rowsWith(body, "three four")).toEqual([1]);
    expect(rowsWith(body, "a.c")).toEqual([2]);
    expect(rowsWith(body, "abc")).toEqual([]);
    expect(rowsWith(body, "[1]")).toEqual([2]); // not in the facts
    expect(rowsWith(body, "(")).toEqual([]);
  });
  it("marks the words", () => {
    expect(occurrences("a Two two", "two")).toEqual(["a ", "Two", " ", "two", ""]);
    expect(occurrences("a", " ")).toEqual(["a"]);
  });
  it("finds the same as looking into each text", () => {
    const texts = Array.from({ length: 300 }, (_, i) => "ab".repeat(i % 7) + (i % 3 ? "x" : "") + "c".repeat(i % 5));
    for (const words of ["x", "bx", "abc", "cc", "a"]) {
      const wanted = texts.flatMap((text, row) => (text.includes(words) ? [row] : []));
      expect(rowsWith(["[]", ...texts].join("\0"), words)).toEqual(wanted);
    }
  });
});
