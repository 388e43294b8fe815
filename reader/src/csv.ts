// The listed answers as CSV, without their texts: `xreasoner view --export` writes those too.
import { CUT, FORCED, type Columns } from "./columns";
import type { Selected } from "./select";

const HEAD = ["run", "stage", "benchmark", "id", "sample", "verdict", "answer", "forced", "cut", "think_tokens", "question"];

type Matches = (item: number) => (answer: number) => boolean;

export function csvOf(data: Columns, selected: Selected, matches: Matches): string {
  const { items, answers } = data;
  const lines = [HEAD.join(",")];
  for (const item of selected.items) {
    const match = matches(item);
    for (let answer = items.start[item]; answer < items.start[item + 1]; answer++) {
      if (!match(answer)) continue;
      const lane = data.lanes[answers.lane[answer]];
      const flags = answers.flags[answer];
      const cells = [
        lane.run,
        lane.stage,
        data.benchmarks[items.benchmark[item]].name,
        items.ids[item],
        String(answers.sample[answer]),
        data.verdicts[answers.verdict[answer]],
        data.said[answers.said[answer]] ?? "",
        String(Boolean(flags & FORCED)),
        String(Boolean(flags & CUT)),
        String(answers.think[answer]),
        items.titles[item],
      ];
      lines.push(cells.map(cell).join(","));
    }
  }
  return `${lines.join("\r\n")}\r\n`;
}

const NUMBER = /^-?[\d.,]+$/;

/** A text that a spreadsheet would run as a formula gets an apostrophe before it. */
export function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function download(name: string, content: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
