// Three items by hand: the first asked of base and rl, the second too, the third a rollout of rl with two samples.
import type { Columns } from "../../src/columns";

const evaluation = { kind: "evaluation", modality: "text", domain: "general", role: "skill" } as const;

export function columns(): Columns {
  return {
    runs: ["demo"],
    verdicts: ["right", "wrong", "missing", "unscored", "unasked"],
    lanes: ["base", "rl"].map((stage) => ({ run: "demo", stage, name: stage })),
    benchmarks: [
      { name: "sums", ...evaluation },
      { name: "rl rollouts", ...evaluation, kind: "training" },
    ],
    tags: [{ name: "steps", values: ["1", "2"], column: Uint16Array.of(1, 2, 0) }],
    items: {
      count: 3,
      benchmark: Uint16Array.of(0, 0, 1),
      ids: ["a", "b", "step 10 a"],
      titles: ["one", "two", "three, 3"],
      chunk: Uint32Array.of(0, 0, 1),
      row: Uint16Array.of(0, 1, 0),
      start: Uint32Array.of(0, 2, 4, 6),
    },
    answers: {
      count: 6,
      lane: Uint16Array.of(0, 1, 0, 1, 1, 1),
      sample: Uint16Array.of(0, 0, 0, 0, 0, 1),
      verdict: Uint8Array.of(1, 0, 0, 2, 3, 0),
      flags: Uint8Array.of(0, 1, 0, 2, 0, 3),
      think: Uint32Array.of(5, 1000, 6, 7, 8, 9),
      chunk: Uint32Array.of(2, 2, 2, 2, 3, 3),
      row: Uint16Array.of(0, 1, 2, 3, 0, 1),
      said: Uint32Array.of(1, 2, 2, 0, 2, 2),
    },
    said: [null, "=1+1", "2"],
    chunks: ["c0", "c1", "c2", "c3"],
  };
}
