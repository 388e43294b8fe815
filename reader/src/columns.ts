// The index of all answers: typed columns, one entry an item or an answer.

export interface Lane {
  run: string;
  stage: string;
  /** The stage, after its run if there are several runs. */
  name: string;
}

export interface Benchmark {
  name: string;
  kind: "evaluation" | "training";
  modality: string;
  domain: string;
  role: string;
}

/** As `report/reader/answer_index.py` writes it; columns are base64. */
export interface PackedIndex {
  format: number;
  runs: string[];
  verdicts: string[];
  lanes: Lane[];
  benchmarks: Benchmark[];
  tags: { name: string; values: string[]; column: string }[];
  items: { benchmark: string; ids: string[]; titles: string[]; chunk: string; row: string; start: string };
  answers: Record<"lane" | "sample" | "verdict" | "flags" | "think" | "chunk" | "row" | "said", string>;
  said: (string | null)[];
  chunks: string[];
}

export interface Tag {
  name: string;
  values: string[];
  /** Of each item: the number of its value, counted from 1; 0 if it has none. */
  column: Uint16Array;
}

export interface Columns {
  runs: string[];
  verdicts: string[];
  lanes: Lane[];
  benchmarks: Benchmark[];
  tags: Tag[];
  items: {
    count: number;
    benchmark: Uint16Array;
    ids: string[];
    titles: string[];
    chunk: Uint32Array;
    row: Uint16Array;
    /** The answers of item i are those from start[i] up to start[i + 1], by lane and sample. */
    start: Uint32Array;
  };
  answers: {
    count: number;
    lane: Uint16Array;
    sample: Uint16Array;
    verdict: Uint8Array;
    flags: Uint8Array;
    think: Uint32Array;
    chunk: Uint32Array;
    row: Uint16Array;
    said: Uint32Array;
  };
  said: (string | null)[];
  chunks: string[];
}

export const RIGHT = 0;
export const WRONG = 1;
export const MISSING = 2;
/** Verdicts below this number count in an accuracy. */
export const SCORED = 3;
export const FORCED = 1;
export const CUT = 2;
export const TOKENS = 4;

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const fast = (Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  if (fast) return fast.call(Uint8Array, base64);
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const u8 = (text: string) => bytesOf(text);
const u16 = (text: string) => new Uint16Array(bytesOf(text).buffer);
const u32 = (text: string) => new Uint32Array(bytesOf(text).buffer);

export function unpackIndex(packed: PackedIndex): Columns {
  const { items, answers } = packed;
  const lane = u16(answers.lane);
  return {
    runs: packed.runs,
    verdicts: packed.verdicts,
    lanes: packed.lanes,
    benchmarks: packed.benchmarks,
    tags: packed.tags.map((tag) => ({ ...tag, column: u16(tag.column) })),
    items: {
      count: items.ids.length,
      benchmark: u16(items.benchmark),
      ids: items.ids,
      titles: items.titles,
      chunk: u32(items.chunk),
      row: u16(items.row),
      start: u32(items.start),
    },
    answers: {
      count: lane.length,
      lane,
      sample: u16(answers.sample),
      verdict: u8(answers.verdict),
      flags: u8(answers.flags),
      think: u32(answers.think),
      chunk: u32(answers.chunk),
      row: u16(answers.row),
      said: u32(answers.said),
    },
    said: packed.said,
    chunks: packed.chunks,
  };
}
