import type { QuestionFacts } from "../texts";
import { TextView, type TextMode } from "./TextView";

/** A picture of fewer pixels across is enlarged without blurring it. */
const SMALL = 300;

interface Props {
  benchmark: string;
  id: string;
  text: string;
  facts: QuestionFacts;
  mode: TextMode;
  words: string;
}

export function Question({ benchmark, id, text, facts, mode, words }: Props) {
  const shown = mode === "tokens" ? "formulas" : mode;
  return (
    <section class={`question ${facts.pictures.length ? "with-pictures" : ""}`} aria-label="question">
      {facts.pictures.length > 0 && (
        <div class="pictures">
          {facts.pictures.map((name, number) =>
            name === null ? (
              <p class="gone" key={number}>
                picture missing or unreadable
              </p>
            ) : (
              <img
                key={number}
                src={`pictures/${encodeURIComponent(name)}`}
                alt="picture of this question"
                onLoad={({ currentTarget: image }) => image.classList.toggle("small", image.naturalWidth < SMALL)}
              />
            ),
          )}
        </div>
      )}
      <div class="asked">
        <p class="id">
          {benchmark} · {id}
        </p>
        <TextView text={text} mode={shown} words={words} />
        {facts.choices.length > 0 && (
          <ol class="choices">
            {facts.choices.map((choice, number) => (
              <li key={number}>
                <TextView text={choice} mode={shown} inline />
              </li>
            ))}
          </ol>
        )}
        <p class="gold">
          key{" "}
          <b>
            <TextView text={facts.gold} mode={shown} inline />
          </b>
        </p>
        <p class="tags">
          {Object.entries(facts.tags)
            .map(([name, value]) => `${name} ${value}`)
            .join(" · ")}
        </p>
      </div>
    </section>
  );
}
