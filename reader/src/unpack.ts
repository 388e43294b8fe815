// A chunk: a JSON list, then texts, with a NUL before each.
import { bytesOf } from "./columns";

export const SEPARATOR = "\0";

/** Reads the stream itself: through Response it takes Chromium twice the time. */
export async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const { readable, writable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  const written = Promise.all([writer.write(bytes), writer.close()]);
  const reader = readable.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  await written;
  return text + decoder.decode();
}

export interface Chunk<Facts> {
  facts: Facts[];
  texts: string[];
}

export async function unpackChunk<Facts>(packed: string): Promise<Chunk<Facts>> {
  const [facts, ...texts] = (await inflate(bytesOf(packed))).split(SEPARATOR);
  return { facts: JSON.parse(facts) as Facts[], texts };
}
