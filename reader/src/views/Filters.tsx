import type { RefObject } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Columns } from "../columns";
import { CHANGES, EMPTY, isEmpty, type Query } from "../query";

interface Props {
  data: Columns;
  query: Query;
  change: (query: Query) => void;
  words: RefObject<HTMLInputElement | null>;
}

const CHANGE_WORDS: Record<(typeof CHANGES)[number], string> = {
  gained: "wrong, then right",
  lost: "right, then wrong",
  differs: "right in one of both",
  "both right": "right in both",
  "both wrong": "wrong in both",
};

export function Filters({ data, query, change, words }: Props) {
  const set = (part: Partial<Query>) => change({ ...query, ...part });
  const lanes = data.lanes.map((lane) => lane.name);
  const shown = useMemo(() => shownIn(data, query), [data, query.benchmark, query.kind]);
  const narrow = [query.from && query.to, query.tags.size].filter(Boolean).length;
  const [wide, setWide] = useState(narrow > 0);
  const kinds = [...new Set(data.benchmarks.map((one) => one.kind))];
  return (
    <search class="filters">
      <input
        ref={words}
        type="search"
        placeholder="Search all texts"
        aria-label="Search all texts"
        value={query.words}
        onInput={(event) => set({ words: event.currentTarget.value })}
      />
      {kinds.length > 1 && (
        <Choice label="kind" none="evaluation and training" value={query.kind} values={kinds} set={(kind) => set({ kind, benchmark: "" })} />
      )}
      <Choice label="benchmark" none="all benchmarks" value={query.benchmark} values={shown.benchmarks} set={(benchmark) => set({ benchmark, tags: new Map() })} />
      <Choice label="stage" none="all stages" value={query.stage} values={lanes} set={(stage) => set({ stage })} />
      <Choice label="verdict" none="any verdict" value={query.verdict} values={data.verdicts} set={(verdict) => set({ verdict })} />
      <Choice label="ended" none="ended in any way" value={query.ended} values={["by itself", "forced", "cut"]} set={(ended) => set({ ended })} />
      <button type="button" class="more" aria-expanded={wide} onClick={() => setWide(!wide)}>
        {wide ? "Fewer" : "More"}
        {!wide && narrow > 0 ? ` (${narrow})` : ""}
      </button>
      {!isEmpty(query) && (
        <button type="button" class="clear" onClick={() => change({ ...EMPTY, tags: new Map() })}>
          Clear
        </button>
      )}
      {wide && (
        <div class="wide">
          {lanes.length > 1 && (
            <fieldset>
              <legend>Change</legend>
              <Choice label="from" none="from …" value={query.from} values={lanes} set={(from) => set({ from, ...completed(query, from, query.to) })} />
              <span aria-hidden="true">→</span>
              <Choice label="to" none="to …" value={query.to} values={lanes} set={(to) => set({ to, ...completed(query, query.from, to) })} />
              <Choice label="change" none="choose a change" value={query.change} values={[...CHANGES]} words={CHANGE_WORDS} set={(kind) => set({ change: kind, ...ends(query, lanes) })} />
            </fieldset>
          )}
          {shown.tags.map((tag) => (
            <Choice
              key={tag.name}
              label={tag.name}
              none={`any ${tag.name}`}
              value={query.tags.get(tag.name) ?? ""}
              values={tag.values}
              set={(value) => set({ tags: withTag(query.tags, tag.name, value) })}
            />
          ))}
        </div>
      )}
    </search>
  );
}

interface ChoiceProps {
  label: string;
  none: string;
  value: string;
  values: string[];
  words?: Record<string, string>;
  set: (value: string) => void;
}

function Choice({ label, none, value, values, words, set }: ChoiceProps) {
  return (
    <select aria-label={label} class={value ? "chosen" : ""} value={value} onChange={(event) => set(event.currentTarget.value)}>
      <option value="">{none}</option>
      {values.map((one) => (
        <option key={one} value={one}>
          {words && Object.hasOwn(words, one) ? words[one] : one}
        </option>
      ))}
      {value && !values.includes(value) && <option value={value}>{value}</option>}
    </select>
  );
}

/** Two stages without a kind of change ask for a gain. */
function completed(query: Query, from: string, to: string): Partial<Query> {
  return from && to && !query.change ? { change: "gained" } : {};
}

/** A kind of change without stages asks for that between the first and the last. */
function ends(query: Query, lanes: string[]): Partial<Query> {
  return { from: query.from || lanes[0], to: query.to || lanes[lanes.length - 1] };
}

function withTag(tags: Map<string, string>, name: string, value: string): Map<string, string> {
  const changed = new Map(tags);
  if (value) changed.set(name, value);
  else changed.delete(name);
  return changed;
}

/** Benchmarks of the chosen kind, and the tags that their items have. */
function shownIn(data: Columns, query: Query) {
  const chosen = data.benchmarks.map(
    (one) => (!query.kind || one.kind === query.kind) && (!query.benchmark || one.name === query.benchmark),
  );
  const benchmarks = data.benchmarks.filter((one) => !query.kind || one.kind === query.kind).map((one) => one.name);
  const { benchmark, count } = data.items;
  const tags = data.tags.flatMap((tag) => {
    const seen = new Set<number>();
    for (let item = 0; item < count; item++) if (chosen[benchmark[item]] && tag.column[item]) seen.add(tag.column[item]);
    const values = tag.values.filter((_, place) => seen.has(place + 1));
    return values.length > 1 ? [{ name: tag.name, values }] : [];
  });
  return { benchmarks, tags };
}
