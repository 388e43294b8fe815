// A list of any length: only the rows in view exist.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Columns } from "../columns";
import type { Progress } from "../search";
import type { Selected } from "../select";
import { Strip } from "./Strip";

const ROW = 62;
const AROUND = 6;

interface Props {
  data: Columns;
  selected: Selected;
  /** The place of the open item in the list, or -1. */
  position: number;
  open: (item: number) => void;
  progress: Progress;
}

export function ItemList({ data, selected, position, open, progress }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(800);
  const { items } = selected;
  useLayoutEffect(() => {
    const list = scroller.current as HTMLDivElement;
    const watch = new ResizeObserver(() => setHeight(list.clientHeight));
    watch.observe(list);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const list = scroller.current as HTMLDivElement;
    if (position < 0) return;
    if (position * ROW < list.scrollTop) list.scrollTop = position * ROW;
    else if ((position + 1) * ROW > list.scrollTop + list.clientHeight) {
      list.scrollTop = (position + 1) * ROW - list.clientHeight;
    }
  }, [position, items]);
  const first = Math.max(0, Math.min(Math.floor(top / ROW), items.length - 1) - AROUND);
  const last = Math.min(items.length, Math.ceil((top + height) / ROW) + AROUND);
  const rows = [];
  for (let place = first; place < last; place++) {
    const item = items[place];
    rows.push(
      <div
        key={item}
        role="option"
        id={`row-${place}`}
        class="row"
        tabIndex={-1}
        aria-selected={place === position}
        aria-setsize={items.length}
        aria-posinset={place + 1}
        style={{ top: `${place * ROW}px` }}
        onClick={() => open(item)}
      >
        <span class="title">{data.items.titles[item] || data.items.ids[item]}</span>
        <span class="below">
          <span class="id">
            {data.benchmarks[data.items.benchmark[item]].name} · {data.items.ids[item]}
          </span>
          <Strip data={data} item={item} />
        </span>
      </div>,
    );
  }
  return (
    <section class="list" aria-label="items">
      <p class="found" role="status">
        {counted(items.length, "item")}, {counted(selected.answers, "answer")}
        {progress.done < progress.wanted && (
          <span>
            {" "}
            · searching <progress max={progress.wanted} value={progress.done} />
          </span>
        )}
        {progress.failed && <span class="failed"> · {progress.failed}</span>}
      </p>
      <div
        ref={scroller}
        class="scroller"
        role="listbox"
        tabIndex={0}
        aria-label="items"
        aria-activedescendant={position < 0 ? undefined : `row-${position}`}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        onKeyDown={(event) => {
          const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
          const next = position < 0 ? 0 : position + by;
          if (by && next >= 0 && next < items.length) {
            open(items[next]);
            event.preventDefault();
          }
        }}
      >
        <div class="all" style={{ height: `${items.length * ROW}px` }}>
          {rows}
        </div>
        {items.length === 0 && progress.done === progress.wanted && <p class="none">No answer fits this filter.</p>}
      </div>
    </section>
  );
}

const counted = (count: number, what: string) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
