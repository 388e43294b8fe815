import { useEffect, useMemo, useState } from "preact/hooks";
import { TOKENS, type Columns } from "../columns";
import type { Place } from "../query";
import { answerKey, isChange, laneNumber } from "../select";
import { loadChunk, type AnswerFacts, type QuestionFacts } from "../texts";
import { AnswerCard } from "./AnswerCard";
import { useKeys } from "./keys";
import { Question } from "./Question";
import type { TextMode } from "./TextView";

interface Props {
  data: Columns;
  item: number;
  /** The item after this one, whose texts are loaded ahead; or -1. */
  next: number;
  place: Place;
  setPlace: (place: Place) => void;
  step: (by: number) => void;
  close: () => void;
  where: string;
  mode: TextMode;
  setMode: (mode: TextMode) => void;
  unfolded: boolean;
  /** Of an item, which answers are looked for. */
  matches: (item: number) => (answer: number) => boolean;
}

const MODES: [TextMode, string][] = [
  ["formulas", "formulas"],
  ["plain", "plain"],
  ["tokens", "tokens"],
];

export function ItemView(props: Props) {
  const { data, item, place, setPlace, mode, setMode, matches } = props;
  const words = place.query.words;
  const all = useMemo(() => answersTo(data, item), [data, item]);
  const open = useMemo(() => openAnswers(data, all, place, matches(item)), [data, all, place, matches]);
  const texts = useTexts(data, item, open);
  useEffect(() => loadAhead(data, props.next, place, matches), [data, props.next, place, matches]);
  const show = (answers: number[]) => setPlace({ ...place, open: answers.map((answer) => answerKey(data, answer)) });
  const toggle = (answer: number) => {
    const left = open.filter((one) => one !== answer);
    show(left.length === open.length ? [...open, answer].sort((a, b) => a - b) : left.length ? left : open);
  };
  const keys: Record<string, () => void> = { a: () => (open.length < all.length ? show(all) : setPlace({ ...place, open: [] })) };
  all.slice(0, 9).forEach((answer, number) => (keys[number + 1] = () => toggle(answer)));
  useKeys(keys);
  const hasTokens = open.some((answer) => data.answers.flags[answer] & TOKENS);
  return (
    <article class="item">
      <nav class="steps" aria-label="items">
        <button type="button" class="back" onClick={props.close}>
          ← List
        </button>
        <button type="button" onClick={() => props.step(-1)} title="Previous (k)" aria-label="Previous item">
          ↑
        </button>
        <button type="button" onClick={() => props.step(1)} title="Next (j)" aria-label="Next item">
          ↓
        </button>
        <span class="where">{props.where}</span>
        <span class="modes" role="group" aria-label="Show texts as">
          {MODES.filter(([one]) => one !== "tokens" || hasTokens).map(([one, name]) => (
            <button type="button" key={one} aria-pressed={mode === one} onClick={() => setMode(one)}>
              {name}
            </button>
          ))}
        </span>
      </nav>
      {texts.question && (
        <Question
          benchmark={data.benchmarks[data.items.benchmark[item]].name}
          id={data.items.ids[item]}
          text={texts.question.text}
          facts={texts.question.facts}
          mode={mode}
          words={words}
        />
      )}
      {texts.failed && <p class="failed">{texts.failed}</p>}
      {all.length > 1 && (
        <div class="chooser" role="group" aria-label="Open answers">
          {all.map((answer, number) => (
            <button
              type="button"
              key={answer}
              aria-pressed={open.includes(answer)}
              class={data.verdicts[data.answers.verdict[answer]]}
              onClick={() => toggle(answer)}
              title={number < 9 ? `Key ${number + 1}` : undefined}
            >
              {data.lanes[data.answers.lane[answer]].name}
              {isOneOfSeveral(data, answer) && <small> {data.answers.sample[answer] + 1}</small>}
            </button>
          ))}
        </div>
      )}
      <div class="answers">
        {open.map((answer) => (
          <AnswerCard
            key={answer}
            data={data}
            answer={answer}
            numbered={isOneOfSeveral(data, answer)}
            read={texts.answers.get(answer)}
            mode={mode}
            unfolded={props.unfolded}
            words={words}
          />
        ))}
      </div>
    </article>
  );
}

function answersTo(data: Columns, item: number): number[] {
  const first = data.items.start[item];
  return Array.from({ length: data.items.start[item + 1] - first }, (_, place) => first + place);
}

/** Those that the address names; else both sides of a change, or what the filter asks for beside the last stage. */
function openAnswers(data: Columns, all: number[], place: Place, match: (answer: number) => boolean): number[] {
  const named = new Set(place.open);
  const kept = all.filter((answer) => named.has(answerKey(data, answer)));
  if (kept.length) return kept;
  const lanes = data.answers.lane;
  const firstOf = (lane: number) => all.find((answer) => lanes[answer] === lane);
  const { query } = place;
  const wanted = isChange(query)
    ? [laneNumber(data, query.from), laneNumber(data, query.to)].map(firstOf)
    : [all.find(match), query.stage ? undefined : firstOf(lanes[all[all.length - 1]])];
  const chosen = new Set(wanted.filter((answer) => answer !== undefined));
  return chosen.size ? [...chosen].sort((a, b) => a - b) : all.slice(0, 1);
}

function isOneOfSeveral(data: Columns, answer: number): boolean {
  const { lane, sample } = data.answers;
  return sample[answer] > 0 || (lane[answer + 1] === lane[answer] && sample[answer + 1] > sample[answer]);
}

export interface ReadText<Facts> {
  text: string;
  facts: Facts;
}

interface Texts {
  question: ReadText<QuestionFacts> | null;
  answers: Map<number, ReadText<AnswerFacts>>;
  failed: string;
}

async function textAt<Facts>(data: Columns, chunk: number, row: number): Promise<ReadText<Facts>> {
  const { facts, texts } = await loadChunk<Facts>(data.chunks[chunk]);
  return { text: texts[row], facts: facts[row] };
}

function useTexts(data: Columns, item: number, open: number[]): Texts {
  const [texts, setTexts] = useState<Texts>({ question: null, answers: new Map(), failed: "" });
  useEffect(() => {
    let current = true;
    const { items, answers } = data;
    const question = textAt<QuestionFacts>(data, items.chunk[item], items.row[item]);
    const replies = open.map(async (answer) => {
      return [answer, await textAt<AnswerFacts>(data, answers.chunk[answer], answers.row[answer])] as const;
    });
    Promise.all([question, Promise.all(replies)]).then(
      ([asked, read]) => current && setTexts({ question: asked, answers: new Map(read), failed: "" }),
      (error: Error) => current && setTexts((before) => ({ ...before, failed: error.message })),
    );
    return () => {
      current = false;
    };
  }, [data, item, open.join()]);
  return texts;
}

function loadAhead(data: Columns, item: number, place: Place, matches: Props["matches"]): void {
  if (item < 0) return;
  const answers = openAnswers(data, answersTo(data, item), { ...place, open: [] }, matches(item));
  for (const chunk of [data.items.chunk[item], ...answers.map((answer) => data.answers.chunk[answer])]) {
    loadChunk(data.chunks[chunk]).catch(() => {}); // said where it is shown
  }
}
