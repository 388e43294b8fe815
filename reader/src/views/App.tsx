import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Columns } from "../columns";
import { csvOf, download } from "../csv";
import { EMPTY, fromHash, toHash, type Place, type Query } from "../query";
import { chunksOf, Search, type Progress } from "../search";
import { answerTest, itemKey, itemNumber, matchTest, select } from "../select";
import { Filters } from "./Filters";
import { Help } from "./Help";
import { ItemList } from "./ItemList";
import { ItemView } from "./ItemView";
import { useKeys } from "./keys";
import { Overview } from "./Overview";
import { toggleTheme } from "./theme";
import type { TextMode } from "./TextView";

const IDLE: Progress = { done: 0, wanted: 0, failed: "" };
const STARTING: Progress = { done: 0, wanted: 1, failed: "" };
/** Milliseconds: a pause in typing after which texts are searched. */
const PAUSE = 150;
/** Between two lists of what was found: soon at first, then seldom, since each list costs time. */
const SOON = 150;
const SELDOM = 600;

export function App({ data }: { data: Columns }) {
  const [place, setPlace] = usePlace();
  const { search, progress, found } = useSearch(data, place.query);
  const hits = place.query.words.trim() ? search : null;
  // `found` grows as the search finds more.
  const selected = useMemo(() => select(data, place.query, hits), [data, place.query, hits, found]);
  const matches = useMemo(() => matchTest(data, place.query, hits), [data, place.query, hits, found]);
  const item = useMemo(() => itemNumber(data, place.item), [data, place.item]);
  const position = item < 0 ? -1 : selected.items.indexOf(item);
  const [mode, setMode] = useState<TextMode>("formulas");
  const [unfolded, setUnfolded] = useState(false);
  const [helps, setHelps] = useState(false);
  const words = useRef<HTMLInputElement>(null);

  const open = useCallback(
    (next: number) => setPlace({ ...place, item: next < 0 ? "" : itemKey(data, next), open: [] }),
    [data, place, setPlace],
  );
  const step = (by: number) => {
    const count = selected.items.length;
    if (count) open(selected.items[Math.max(0, Math.min(count - 1, position < 0 ? 0 : position + by))]);
  };
  const setQuery = (query: Query) => setPlace({ ...place, query });
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    "/": () => words.current?.focus(),
    t: () => setUnfolded(!unfolded),
    m: () => setMode(mode === "formulas" ? "plain" : mode === "plain" ? "tokens" : "formulas"),
    d: toggleTheme,
    "?": () => setHelps(!helps),
    Escape: () => (helps ? setHelps(false) : open(-1)),
  });
  const save = () => download("answers.csv", csvOf(data, selected, matches));

  return (
    <div class={`reader ${item < 0 ? "at-list" : "at-item"}`}>
      <header>
        <h1>
          <button type="button" class="plain" onClick={() => setPlace({ query: EMPTY, item: "", open: [] })}>
            {data.runs.join(", ")}
          </button>
        </h1>
        <span class="count" role="status">
          {data.answers.count.toLocaleString("en")} answers
        </span>
        <span class="tools">
          <button type="button" onClick={save} title="The listed answers as CSV">
            CSV
          </button>
          <button type="button" onClick={() => print()} title="Print this item">
            Print
          </button>
          <button type="button" onClick={toggleTheme} aria-label="Light or dark" title="Light or dark (d)">
            ◐
          </button>
          <button type="button" onClick={() => setHelps(true)} aria-label="Keys" title="Keys (?)">
            ?
          </button>
        </span>
      </header>
      <Filters data={data} query={place.query} change={setQuery} words={words} />
      <main>
        <ItemList data={data} selected={selected} position={position} open={open} progress={progress} />
        <section class="detail" aria-label="item">
          {item < 0 ? (
            <Overview data={data} selected={selected} query={place.query} change={setQuery} />
          ) : (
            <ItemView
              key={place.item}
              data={data}
              item={item}
              next={position < 0 ? -1 : (selected.items[position + 1] ?? -1)}
              place={place}
              setPlace={setPlace}
              step={step}
              close={() => open(-1)}
              where={position < 0 ? "not in the list" : `${(position + 1).toLocaleString("en")} of ${selected.items.length.toLocaleString("en")}`}
              mode={mode}
              setMode={setMode}
              unfolded={unfolded}
              matches={matches}
            />
          )}
        </section>
      </main>
      {helps && <Help close={() => setHelps(false)} />}
    </div>
  );
}

/** The place that the address names. Opening an item from the list is a step that "back" undoes. */
function usePlace(): [Place, (place: Place) => void] {
  const [place, keep] = useState(() => fromHash(location.hash));
  useEffect(() => {
    const follow = () => keep(fromHash(location.hash));
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  const go = useCallback(
    (next: Place) => {
      const opens = !place.item && next.item;
      history[opens ? "pushState" : "replaceState"](null, "", toHash(next));
      keep(next);
    },
    [place],
  );
  return [place, go];
}

function useSearch(data: Columns, query: Query) {
  const [progress, setProgress] = useState(IDLE);
  const [found, setFound] = useState(0);
  const timer = useRef(0);
  const search = useMemo(
    () =>
      new Search(data, (now) => {
        const show = () => {
          timer.current = 0;
          setProgress(now);
          setFound((count) => count + 1);
        };
        if (now.done === now.wanted) {
          clearTimeout(timer.current);
          show();
        } else if (!timer.current) {
          timer.current = window.setTimeout(show, now.done < now.wanted / 10 ? SOON : SELDOM);
        }
      }),
    [data],
  );
  // Before anything is painted: an empty list must not stand there for a moment.
  useLayoutEffect(() => {
    const words = query.words.trim();
    if (!words) {
      setProgress(IDLE);
      return;
    }
    setProgress(STARTING);
    const wait = setTimeout(() => {
      const within = select(data, { ...query, words: "" }, null);
      search.start(words, chunksOf(data, within.items, answerTest(data, query)));
    }, PAUSE);
    return () => clearTimeout(wait);
  }, [data, query, search]);
  return { search, progress, found };
}
