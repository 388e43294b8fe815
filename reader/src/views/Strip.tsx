import { CUT, FORCED, type Columns } from "../columns";

const MOST = 24;

/** A square for each answer to an item, lane by lane. */
export function Strip({ data, item }: { data: Columns; item: number }) {
  const { start } = data.items;
  const { lane, verdict, flags } = data.answers;
  const squares = [];
  const end = Math.min(start[item + 1], start[item] + MOST);
  for (let answer = start[item]; answer < end; answer++) {
    const apart = answer > start[item] && lane[answer] !== lane[answer - 1] ? "apart" : "";
    const late = flags[answer] & (FORCED | CUT) ? "late" : "";
    squares.push(<i key={answer} class={`square ${data.verdicts[verdict[answer]]} ${apart} ${late}`} />);
  }
  return (
    <span class="strip" aria-label={spoken(data, item)} role="img">
      {squares}
      {start[item + 1] > end && "…"}
    </span>
  );
}

function spoken(data: Columns, item: number): string {
  const parts = [];
  for (let answer = data.items.start[item]; answer < data.items.start[item + 1]; answer++) {
    parts.push(`${data.lanes[data.answers.lane[answer]].name} ${data.verdicts[data.answers.verdict[answer]]}`);
  }
  return parts.slice(0, MOST).join(", ");
}
