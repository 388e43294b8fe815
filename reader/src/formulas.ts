// Finds the formulas in a text that a model wrote.

export type Segment = { kind: "text"; text: string } | { kind: "formula"; tex: string; display: boolean; raw: string };

/** Longer ones stay text: rendering is not linear. */
export const LONGEST = 1_500;
/** In one text; what follows stays text. */
export const MOST = 300;

const ENVIRONMENTS = "align|aligned|equation|gather|cases|array|[pbvBV]?matrix";
const PATTERN = new RegExp(
  [
    String.raw`\$\$(?<dollars>[^$]{1,${LONGEST}})\$\$`,
    String.raw`\\\[(?<bracket>[^]{1,${LONGEST}}?)\\\]`,
    String.raw`\\\((?<paren>[^]{1,${LONGEST}}?)\\\)`,
    String.raw`(?<environment>\\begin\{(?<name>(?:${ENVIRONMENTS})\*?)\}[^]{1,${LONGEST}}?\\end\{\k<name>\})`,
    // Not "$5 and $10": no space inside the dollars, and no digit after them.
    String.raw`(?<![\\$\w])\$(?<dollar>[^\s$](?:[^$\n]{0,400}?[^\s$\\])?)\$(?![\d$])`,
    // \boxed{...} outside of a formula, with one more pair of braces inside.
    String.raw`(?<boxed>\\boxed\{(?:[^{}]|\{[^{}]{0,300}\}){0,300}\})`,
  ].join("|"),
  "g",
);

export function segments(text: string): Segment[] {
  const found: Segment[] = [];
  let end = 0;
  let count = 0;
  for (const match of text.matchAll(PATTERN)) {
    if (++count > MOST) break;
    const groups = match.groups as Record<string, string | undefined>;
    const tex = groups.dollars ?? groups.bracket ?? groups.paren ?? groups.environment ?? groups.dollar ?? groups.boxed;
    if (match.index > end) found.push({ kind: "text", text: text.slice(end, match.index) });
    const display = [groups.dollars, groups.bracket, groups.environment].some((one) => one !== undefined);
    found.push({ kind: "formula", tex: tex as string, display, raw: match[0] });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ kind: "text", text: text.slice(end) });
  return found;
}
