import { describe, expect, it } from "vitest";
import { csvOf, cell } from "../../src/csv";
import { EMPTY, fromHash, isEmpty, toHash, type Query } from "../../src/query";
import { answerKey, itemKey, itemNumber, matchTest, select, shares } from "../../src/select";
import { columns } from "./columns";

const data = columns();
const found = (part: Partial<Query>, hits: Set<string> | null = null) => {
  const where = hits && { has: (chunk: number, row: number) => hits.has(`${chunk}.${row}`) };
  const { items, answers } = select(data, { ...EMPTY, ...part }, where);
  return [[...items], answers];
};

describe("select", () => {
  it("shows everything at first", () => expect(found({})).toEqual([[0, 1, 2], 6]));
  it("keeps items with an answer that fits", () => {
    expect(found({ stage: "base" })).toEqual([[0, 1], 2]);
    expect(found({ verdict: "right" })).toEqual([[0, 1, 2], 3]);
    expect(found({ stage: "rl", verdict: "right" })).toEqual([[0, 2], 2]);
    expect(found({ verdict: "missing" })).toEqual([[1], 1]);
    expect(found({ verdict: "no such" })).toEqual([[], 0]);
    expect(found({ stage: "no such" })).toEqual([[], 0]);
  });
  it("tells how answers ended", () => {
    expect(found({ ended: "forced" })).toEqual([[0, 2], 2]);
    expect(found({ ended: "cut" })).toEqual([[1, 2], 2]);
    expect(found({ ended: "by itself" })).toEqual([[0, 1, 2], 3]);
  });
  it("filters by benchmark, kind and tags", () => {
    expect(found({ benchmark: "sums" })).toEqual([[0, 1], 4]);
    expect(found({ kind: "training" })).toEqual([[2], 2]);
    expect(found({ tags: new Map([["steps", "2"]]) })).toEqual([[1], 2]);
    expect(found({ tags: new Map([["steps", "9"]]) })).toEqual([[], 0]);
    expect(found({ tags: new Map([["__proto__", "2"]]) })).toEqual([[], 0]);
  });
  it("finds what changed between two stages", () => {
    const between = { from: "base", to: "rl" };
    expect(found({ ...between, change: "gained" })).toEqual([[0], 2]);
    expect(found({ ...between, change: "lost" })).toEqual([[1], 2]);
    expect(found({ ...between, change: "differs" })).toEqual([[0, 1], 4]);
    expect(found({ ...between, change: "both right" })).toEqual([[], 0]);
    expect(found({ ...between, change: "gained", stage: "rl" })).toEqual([[0], 1]);
    expect(found({ from: "base", change: "gained" })).toEqual([[0, 1, 2], 6]); // not yet complete
  });
  it("finds words in questions, answers and ids", () => {
    expect(found({ words: "x" }, new Set(["0.1"]))).toEqual([[1], 2]);
    expect(found({ words: "x" }, new Set(["2.1", "3.0"]))).toEqual([[0, 2], 2]);
    expect(found({ words: "x", stage: "base" }, new Set(["2.1"]))).toEqual([[], 0]);
    expect(found({ words: "STEP 10" }, new Set())).toEqual([[2], 2]);
  });
  it("counts how often each stage is right", () => {
    expect(shares(data, [0, 1, 2])).toEqual([
      { right: 1, scored: 2 },
      { right: 2, scored: 3 }, // an answer that the grader failed on is not counted
    ]);
  });
  it("names items and answers", () => {
    expect(itemKey(data, 2)).toBe("rl rollouts/step 10 a");
    expect([0, 1, 2].map((item) => itemNumber(data, itemKey(data, item)))).toEqual([0, 1, 2]);
    expect(itemNumber(data, "sums/z")).toBe(-1);
    expect(answerKey(data, 5)).toBe("rl~1");
  });
});

describe("the address", () => {
  it("keeps filter, item and open answers", () => {
    const query: Query = {
      kind: "training",
      benchmark: "a+b & c",
      stage: "run: rl",
      verdict: "wrong",
      ended: "cut",
      tags: new Map([["sub=ject", "#x"]]),
      from: "base",
      to: "rl",
      change: "lost",
      words: "\\frac{1}{2} %",
    };
    const place = { query, item: "sums/a/b c", open: ["base~0", "a,b: rl~1"] };
    expect(fromHash(toHash(place))).toEqual(place);
    expect(toHash({ query: EMPTY, item: "", open: [] })).toBe("#");
    expect(isEmpty(fromHash("#").query)).toBe(true);
  });
  it("takes any text", () => expect(fromHash("#%E0%A4%A&&==&item").item).toBe(""));
});

describe("CSV", () => {
  it("has a line for each answer listed", () => {
    const query = { ...EMPTY, benchmark: "sums", stage: "base" };
    const lines = csvOf(data, select(data, query, null), matchTest(data, query, null)).trimEnd().split("\r\n");
    expect(lines).toEqual([
      "run,stage,benchmark,id,sample,verdict,answer,forced,cut,think_tokens,question",
      "demo,base,sums,a,0,wrong,'=1+1,false,false,5,one",
      "demo,base,sums,b,0,right,2,false,false,6,two",
    ]);
  });
  it("gives a spreadsheet no formula to run", () => {
    expect(["=A1", "+1+1", "-2", "-x", "@x", 'a "b", c'].map(cell)).toEqual([
      "'=A1",
      "'+1+1",
      "-2",
      "'-x",
      "'@x",
      '"a ""b"", c"',
    ]);
  });
});
