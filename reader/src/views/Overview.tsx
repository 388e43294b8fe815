// Nothing is open: how often each stage is right on the listed items.
import { useMemo } from "preact/hooks";
import type { Columns } from "../columns";
import type { Query } from "../query";
import { shares, type Selected, type Share } from "../select";

interface Props {
  data: Columns;
  selected: Selected;
  query: Query;
  change: (query: Query) => void;
}

export function Overview({ data, selected, query, change }: Props) {
  const rows = useMemo(() => byBenchmark(data, selected.items), [data, selected]);
  const lanes = data.lanes.map((_, lane) => lane).filter((lane) => rows.some((row) => row.shares[lane].scored));
  return (
    <div class="overview">
      <h2>Right, of the items listed</h2>
      <p class="hint">
        Choose a number to read those answers, an item on the left, or press <kbd>j</kbd>. <kbd>?</kbd> lists the keys.
      </p>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">benchmark</th>
              {lanes.map((lane) => (
                <th scope="col" key={lane}>
                  {data.lanes[lane].name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <th scope="row">
                  <button type="button" class="plain" onClick={() => change({ ...query, benchmark: row.name })}>
                    {row.name}
                  </button>
                </th>
                {lanes.map((lane) => (
                  <td key={lane}>
                    {row.shares[lane].scored > 0 && (
                      <button
                        type="button"
                        class="plain"
                        title={`${row.shares[lane].right} of ${row.shares[lane].scored}`}
                        onClick={() => change({ ...query, benchmark: row.name, stage: data.lanes[lane].name })}
                      >
                        {percent(row.shares[lane])}
                      </button>
                    )}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

const percent = ({ right, scored }: Share) => `${((100 * right) / scored).toFixed(1)}%`;

function byBenchmark(data: Columns, items: Uint32Array) {
  const parts = data.benchmarks.map(() => [] as number[]);
  for (const item of items) parts[data.items.benchmark[item]].push(item);
  return data.benchmarks.flatMap((benchmark, number) =>
    parts[number].length ? [{ name: benchmark.name, shares: shares(data, parts[number]) }] : [],
  );
}
