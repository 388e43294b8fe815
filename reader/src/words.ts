import { SEPARATOR } from "./unpack";

/** The numbers of the texts with these words: letters of either case, any white space where they have some. */
export function rowsWith(body: string, words: string): number[] {
  const escaped = words.trim().replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/\s+/g, "\\s+");
  const pattern = new RegExp(escaped, "gi");
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
