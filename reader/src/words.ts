import { SEPARATOR } from "./unpack";

/** Not empty: letters of either case, any white space where the words have some. */
export function patternOf(words: string): RegExp {
  const escaped = words.trim().replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/\s+/g, "\\s+");
  return new RegExp(escaped, "gi");
}

/** A text in parts: every second one is an occurrence of the words. */
export function occurrences(text: string, words: string): string[] {
  if (!words.trim()) return [text];
  const parts: string[] = [];
  let end = 0;
  for (const match of text.matchAll(patternOf(words))) {
    parts.push(text.slice(end, match.index), match[0]);
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

/** The numbers of the texts with these words. */
export function rowsWith(body: string, words: string): number[] {
  const pattern = patternOf(words);
  const rows: number[] = [];
  let start = body.indexOf(SEPARATOR) + 1; // after the list of facts
  let row = 0;
  pattern.lastIndex = start;
  for (let found = pattern.exec(body); found; found = pattern.exec(body)) {
    for (let end = body.indexOf(SEPARATOR, start); end >= 0 && end < found.index; row++) {
      start = end + 1;
      end = body.indexOf(SEPARATOR, start);
    }
    rows.push(row);
    const end = body.indexOf(SEPARATOR, start);
    if (end < 0) break;
    pattern.lastIndex = end; // one occurrence in a text is enough
  }
  return rows;
}
