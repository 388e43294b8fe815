import { useEffect, useMemo, useState } from "preact/hooks";
import { CUT, FORCED, type Columns } from "../columns";
import { inserted, splitReply } from "../reply";
import type { AnswerFacts } from "../texts";
import type { ReadText } from "./ItemView";
import { occurrences } from "../words";
import { TextView, TokenText, type TextMode } from "./TextView";

interface Props {
  data: Columns;
  answer: number;
  /** The item has several answers of this stage. */
  numbered: boolean;
  /** Absent while it is loading. */
  read: ReadText<AnswerFacts> | undefined;
  mode: TextMode;
  unfolded: boolean;
  words: string;
}

export function AnswerCard({ data, answer, numbered, read, mode, unfolded, words }: Props) {
  const { lane, sample, verdict, flags, think } = data.answers;
  const forced = Boolean(flags[answer] & FORCED);
  const judged = data.verdicts[verdict[answer]];
  return (
    <section class={`answer ${judged}`} aria-label={data.lanes[lane[answer]].name}>
      <header>
        <h3>
          {data.lanes[lane[answer]].name}
          {numbered && <small> sample {sample[answer] + 1}</small>}
        </h3>
        <span class={`chip ${judged}`}>{judged}</span>
        {forced && <span class="chip late">forced</span>}
        {Boolean(flags[answer] & CUT) && <span class="chip late">cut</span>}
        <span class="length">{think[answer].toLocaleString("en")} tokens of thought</span>
      </header>
      {read && <Facts facts={read.facts} />}
      {read ? <Body read={read} forced={forced} mode={mode} unfolded={unfolded} words={words} /> : <p class="loading">…</p>}
    </section>
  );
}

function Facts({ facts }: { facts: AnswerFacts }) {
  return (
    <p class="why">
      <b>{facts.extracted === null ? "no answer" : shortened(facts.extracted, 200)}</b> {facts.why}
      {facts.advantage !== undefined && <span class="number">advantage {facts.advantage.toFixed(2)}</span>}
      {Object.entries(facts.rewards ?? {}).map(([name, value]) => (
        <span class="number" key={name}>
          {name} {value === null ? "–" : value.toFixed(2)}
        </span>
      ))}
    </p>
  );
}

const shortened = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}…` : text);

interface BodyProps {
  read: ReadText<AnswerFacts>;
  forced: boolean;
  mode: TextMode;
  unfolded: boolean;
  words: string;
}

function Body({ read, forced, mode, unfolded, words }: BodyProps) {
  const { thought, answer } = useMemo(() => splitReply(read.text), [read]);
  // A thought with the words that were searched for is not folded.
  const opens = unfolded || occurrences(thought ?? "", words).length > 1;
  const [open, setOpen] = useState(opens);
  useEffect(() => setOpen(opens), [opens]);
  const { tokens } = read.facts;
  if (mode === "tokens" && tokens) return <TokenText text={read.text} tokens={tokens} />;
  const shown = mode === "tokens" ? "plain" : mode;
  const tag = inserted(read.text, forced);
  return (
    <>
      {thought !== null && (
        <details class="thought" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary>Thought</summary>
          {open && <TextView text={thought} mode={shown} words={words} />}
        </details>
      )}
      {tag === "</think>" && <p class="inserted">{tag} was inserted here: the thought had used up its budget</p>}
      {answer ? (
        <TextView text={answer} mode={shown} inserted={tag === "<answer>" ? tag : ""} words={words} />
      ) : (
        <p class="gone">no text after the thought</p>
      )}
    </>
  );
}
