// The items that a query selects: one pass over the columns.
import { CUT, FORCED, RIGHT, SCORED, type Columns } from "./columns";
import type { Query } from "./query";

/** Which texts contain the words: by chunk and row, see `Search`. */
export interface Hits {
  has(chunk: number, row: number): boolean;
}

export interface Selected {
  items: Uint32Array;
  /** Of these items' answers, how many fit the query. */
  answers: number;
}

const enum Side {
  Unknown,
  Right,
  Wrong,
}

export function select(data: Columns, query: Query, hits: Hits | null): Selected {
  const suits = itemTest(data, query);
  const changed = changeTest(data, query);
  const matches = matchTest(data, query, hits);
  const { items } = data;
  const found = new Uint32Array(items.count);
  let count = 0;
  let total = 0;
  for (let item = 0; item < items.count; item++) {
    if (!suits(item)) continue;
    if (changed && !changed(item)) continue;
    const match = matches(item);
    let inside = 0;
    for (let answer = items.start[item]; answer < items.start[item + 1]; answer++) if (match(answer)) inside++;
    if (inside) {
      found[count++] = item;
      total += inside;
    }
  }
  return { items: found.slice(0, count), answers: total };
}

/** Of an item that the query selects, whether an answer is one of those looked for. */
export function matchTest(data: Columns, query: Query, hits: Hits | null): (item: number) => (answer: number) => boolean {
  const fits = answerTest(data, query);
  if (!hits) return () => fits;
  const words = query.words.trim().toLowerCase();
  const { items, answers } = data;
  const fitsAndHas = (answer: number) => fits(answer) && hits.has(answers.chunk[answer], answers.row[answer]);
  return (item) =>
    hits.has(items.chunk[item], items.row[item]) || items.ids[item].toLowerCase().includes(words) ? fits : fitsAndHas;
}

/** Whether an answer fits, apart from words. With a change, only the two stages' answers do. */
export function answerTest(data: Columns, query: Query): (answer: number) => boolean {
  const { lane, verdict, flags } = data.answers;
  const only = laneNumber(data, query.stage);
  const judged = query.verdict ? data.verdicts.indexOf(query.verdict) : -1;
  const sides = isChange(query) ? [laneNumber(data, query.from), laneNumber(data, query.to)] : null;
  const mask = query.ended === "forced" ? FORCED : query.ended === "cut" ? CUT : query.ended ? FORCED | CUT : 0;
  const wanted = query.ended === "by itself" ? 0 : mask;
  return (answer) =>
    (!query.stage || lane[answer] === only) &&
    (!query.verdict || verdict[answer] === judged) &&
    (!sides || sides.includes(lane[answer])) &&
    (flags[answer] & mask) === wanted;
}

function itemTest(data: Columns, query: Query): (item: number) => boolean {
  const allowed = data.benchmarks.map(
    (one) => (!query.benchmark || one.name === query.benchmark) && (!query.kind || one.kind === query.kind),
  );
  const tags = [...query.tags].map(([name, value]) => {
    const tag = data.tags.find((one) => one.name === name);
    const number = tag ? tag.values.indexOf(value) + 1 : 0;
    return { column: tag?.column, number };
  });
  const { benchmark } = data.items;
  return (item) =>
    allowed[benchmark[item]] && tags.every((tag) => tag.number > 0 && tag.column?.[item] === tag.number);
}

export const isChange = (query: Query) => Boolean(query.change && query.from && query.to);

/** A stage is right on an item if more than half of its samples are. */
function changeTest(data: Columns, query: Query): ((item: number) => boolean) | null {
  if (!isChange(query)) return null;
  const from = laneNumber(data, query.from);
  const to = laneNumber(data, query.to);
  return (item) => {
    const before = sideOf(data, item, from);
    const after = sideOf(data, item, to);
    if (before === Side.Unknown || after === Side.Unknown) return false;
    switch (query.change) {
      case "gained":
        return before === Side.Wrong && after === Side.Right;
      case "lost":
        return before === Side.Right && after === Side.Wrong;
      case "differs":
        return before !== after;
      case "both right":
        return before === Side.Right && after === Side.Right;
      default:
        return before === Side.Wrong && after === Side.Wrong;
    }
  };
}

function sideOf(data: Columns, item: number, lane: number): Side {
  let right = 0;
  let scored = 0;
  for (let answer = data.items.start[item]; answer < data.items.start[item + 1]; answer++) {
    if (data.answers.lane[answer] !== lane || data.answers.verdict[answer] >= SCORED) continue;
    scored++;
    if (data.answers.verdict[answer] === RIGHT) right++;
  }
  return scored === 0 ? Side.Unknown : 2 * right > scored ? Side.Right : Side.Wrong;
}

export function laneNumber(data: Columns, name: string): number {
  return data.lanes.findIndex((lane) => lane.name === name);
}

export interface Share {
  right: number;
  scored: number;
}

/** How often each lane is right on these items. */
export function shares(data: Columns, items: Iterable<number>): Share[] {
  const found = data.lanes.map(() => ({ right: 0, scored: 0 }));
  const { lane, verdict } = data.answers;
  for (const item of items) {
    for (let answer = data.items.start[item]; answer < data.items.start[item + 1]; answer++) {
      if (verdict[answer] >= SCORED) continue;
      found[lane[answer]].scored++;
      if (verdict[answer] === RIGHT) found[lane[answer]].right++;
    }
  }
  return found;
}

export const itemKey = (data: Columns, item: number) =>
  `${data.benchmarks[data.items.benchmark[item]].name}/${data.items.ids[item]}`;

/** -1 if there is none. */
export function itemNumber(data: Columns, key: string): number {
  for (let item = 0; key && item < data.items.count; item++) {
    if (key.endsWith(data.items.ids[item]) && itemKey(data, item) === key) return item;
  }
  return -1;
}

export const answerKey = (data: Columns, answer: number) =>
  `${data.lanes[data.answers.lane[answer]].name}~${data.answers.sample[answer]}`;
