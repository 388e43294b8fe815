// What models and benchmarks wrote, as text nodes and formulas: never as HTML.
import katex from "katex";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { segments } from "../formulas";
import { piecesOf, surprise } from "../reply";
import { occurrences } from "../words";

export type TextMode = "formulas" | "plain" | "tokens";

/** Characters and tokens shown at first: a browser lays out a megabyte slowly. */
const SHOWN_AT_FIRST = 20_000;
const TOKENS_AT_FIRST = 4_000;

interface Props {
  text: string;
  mode: "formulas" | "plain";
  inline?: boolean;
  /** Text at whose first place is said that the model did not write it. */
  inserted?: string;
  /** Words that were searched for. */
  words?: string;
}

export function TextView({ text, mode, inline = false, inserted = "", words = "" }: Props) {
  const [whole, setWhole] = useState(false);
  const shown = whole || text.length <= SHOWN_AT_FIRST ? text : text.slice(0, SHOWN_AT_FIRST);
  const Tag = inline ? "span" : "div";
  const split = inserted ? shown.indexOf(inserted) : -1;
  return (
    <Tag class="written">
      {split >= 0 ? (
        <>
          <Formatted text={shown.slice(0, split)} mode={mode} words={words} />
          <mark title="inserted by the forced exit, not written by the model">{inserted}</mark>
          <Formatted text={shown.slice(split + inserted.length)} mode={mode} words={words} />
        </>
      ) : (
        <Formatted text={shown} mode={mode} words={words} />
      )}
      {shown.length < text.length && (
        <button type="button" class="rest" onClick={() => setWhole(true)}>
          Show the other {(text.length - shown.length).toLocaleString("en")} characters
        </button>
      )}
    </Tag>
  );
}

function Formatted({ text, mode, words }: { text: string; mode: "formulas" | "plain"; words: string }) {
  const parts = useMemo(() => (mode === "formulas" ? segments(text) : []), [text, mode]);
  if (mode === "plain") return <Found text={text} words={words} />;
  return (
    <>
      {parts.map((part, number) =>
        part.kind === "text" ? (
          <Found key={number} text={part.text} words={words} />
        ) : (
          <Formula key={number} tex={part.tex} display={part.display} raw={part.raw} />
        ),
      )}
    </>
  );
}

function Found({ text, words }: { text: string; words: string }) {
  return (
    <>
      {occurrences(text, words).map((part, number) =>
        number % 2 ? (
          <mark key={number} class="found-words">
            {part}
          </mark>
        ) : (
          part
        ),
      )}
    </>
  );
}

function Formula({ tex, display, raw }: { tex: string; display: boolean; raw: string }) {
  const span = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const target = span.current as HTMLSpanElement;
    try {
      // render builds nodes; without trust no link, image or HTML comes of a formula.
      katex.render(tex, target, { displayMode: display, trust: false, strict: "ignore", maxExpand: 100, maxSize: 8 });
    } catch {
      target.textContent = raw; // not TeX that KaTeX reads, or nested too deeply
    }
  }, [tex, display, raw]);
  return <span ref={span} class={display ? "display" : "formula"} title={raw.length < 300 ? raw : undefined} />;
}

interface TokenProps {
  text: string;
  tokens: { chars: number[]; logprobs: (number | null)[] };
}

export function TokenText({ text, tokens }: TokenProps) {
  const [whole, setWhole] = useState(false);
  const pieces = useMemo(() => piecesOf(text, tokens.chars, tokens.logprobs), [text, tokens]);
  const shown = whole ? pieces : pieces.slice(0, TOKENS_AT_FIRST);
  return (
    <div class="written tokens">
      {shown.map(({ text: piece, logprob }, number) =>
        logprob === null ? (
          <mark key={number} title="inserted, not sampled">
            {piece}
          </mark>
        ) : (
          <span key={number} class={`p${surprise(logprob)}`} title={`p = ${Math.exp(logprob).toPrecision(2)}`}>
            {piece}
          </span>
        ),
      )}
      {shown.length < pieces.length && (
        <button type="button" class="rest" onClick={() => setWhole(true)}>
          Show the other {(pieces.length - shown.length).toLocaleString("en")} tokens
        </button>
      )}
      <p class="legend" aria-hidden="true">
        probability <span class="p0">above 0.9</span> <span class="p1">0.5</span> <span class="p2">0.1</span>{" "}
        <span class="p3">0.01</span> <span class="p4">below</span> <mark>inserted</mark>
      </p>
    </div>
  );
}
