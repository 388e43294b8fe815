// What is asked for: a filter, an item and the answers that are open. It lives in the address after '#'.

export const CHANGES = ["gained", "lost", "differs", "both right", "both wrong"] as const;
export type Change = (typeof CHANGES)[number];

export interface Query {
  kind: string;
  benchmark: string;
  /** The name of a lane. */
  stage: string;
  verdict: string;
  /** "forced", "cut" or "by itself". */
  ended: string;
  tags: Map<string, string>;
  /** Lane names; a change is one between their answers to the same item. */
  from: string;
  to: string;
  change: string;
  words: string;
}

export interface Place {
  query: Query;
  /** `benchmark/id`; empty: none. */
  item: string;
  /** `lane~sample` of each open answer; empty: the reader's choice. */
  open: string[];
}

export const EMPTY: Query = {
  kind: "",
  benchmark: "",
  stage: "",
  verdict: "",
  ended: "",
  tags: new Map(),
  from: "",
  to: "",
  change: "",
  words: "",
};

const PLAIN = ["kind", "benchmark", "stage", "verdict", "ended", "from", "to", "change"] as const;
const TAG = "tag.";

export function toHash(place: Place): string {
  const parameters = new URLSearchParams();
  for (const name of PLAIN) if (place.query[name]) parameters.set(name, place.query[name]);
  for (const [name, value] of place.query.tags) parameters.set(TAG + name, value);
  if (place.query.words) parameters.set("q", place.query.words);
  if (place.item) parameters.set("item", place.item);
  for (const answer of place.open) parameters.append("open", answer);
  return `#${parameters}`;
}

export function fromHash(hash: string): Place {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const query: Query = { ...EMPTY, tags: new Map() };
  for (const name of PLAIN) query[name] = parameters.get(name) ?? "";
  for (const [name, value] of parameters) if (name.startsWith(TAG)) query.tags.set(name.slice(TAG.length), value);
  query.words = parameters.get("q") ?? "";
  return {
    query,
    item: parameters.get("item") ?? "",
    open: parameters.getAll("open"),
  };
}

export function isEmpty(query: Query): boolean {
  return PLAIN.every((name) => !query[name]) && query.tags.size === 0 && !query.words;
}
