// A chunk: a JSON list, then texts, with a NUL before each.
import { bytesOf } from "./columns";

export const SEPARATOR = "\0";

export function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(inflated).text();
}

export interface Chunk<Facts> {
  facts: Facts[];
  texts: string[];
}

export async function unpackChunk<Facts>(packed: string): Promise<Chunk<Facts>> {
  const [facts, ...texts] = (await inflate(bytesOf(packed))).split(SEPARATOR);
  return { facts: JSON.parse(facts) as Facts[], texts };
}
