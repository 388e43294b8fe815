// The parts of a reply, by the same rules as chat/think.py.

const OPEN = "<think>";
const CLOSE = "</think>";

export interface Reply {
  /** null: the reply has no thought. */
  thought: string | null;
  answer: string;
}

export function splitReply(text: string): Reply {
  const opened = text.indexOf(OPEN);
  if (opened < 0 && !text.includes(CLOSE)) return { thought: null, answer: text };
  const inside = opened < 0 ? text : text.slice(opened + OPEN.length);
  const closed = inside.indexOf(CLOSE);
  if (closed < 0) return { thought: inside.trim(), answer: "" };
  return { thought: inside.slice(0, closed).trim(), answer: inside.slice(closed + CLOSE.length).trim() };
}

/** What a forced exit inserted, which the model did not choose. */
export function inserted(text: string, forced: boolean): string {
  if (!forced) return "";
  return text.includes(CLOSE) ? CLOSE : "<answer>";
}

export interface Piece {
  text: string;
  /** null: inserted, not sampled. */
  logprob: number | null;
}

/** `chars` counts code points, as Python does. */
export function piecesOf(text: string, chars: number[], logprobs: (number | null)[]): Piece[] {
  let start = 0;
  return chars.map((count, place) => {
    let end = start;
    for (let i = 0; i < count && end < text.length; i++) end += (text.codePointAt(end) as number) > 0xffff ? 2 : 1;
    const piece = { text: text.slice(start, end), logprob: logprobs[place] ?? null };
    start = end;
    return piece;
  });
}

/** From 0, what the model was sure of, to 4, what it gave less than one in a hundred. */
export function surprise(logprob: number): number {
  const p = Math.exp(logprob);
  return p >= 0.9 ? 0 : p >= 0.5 ? 1 : p >= 0.1 ? 2 : p >= 0.01 ? 3 : 4;
}
