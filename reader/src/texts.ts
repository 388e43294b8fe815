// Loads chunks by <script>, since a page opened from disk can fetch nothing.
import { unpackChunk, type Chunk } from "./unpack";

const KEPT = 40;

interface Arriving {
  packed: Promise<string>;
  resolve: (packed: string) => void;
}

const arriving = new Map<string, Arriving>();

/** Called by the chunk's file. */
export function chunkArrived(name: string, packed: string): void {
  arriving.get(name)?.resolve(packed);
}

/** The chunk as its file has it: base64 of compressed bytes. */
export function loadPacked(name: string): Promise<string> {
  const known = arriving.get(name);
  if (known) return known.packed;
  const script = document.createElement("script");
  let resolve: (packed: string) => void = () => {};
  const packed = new Promise<string>((succeed, fail) => {
    resolve = succeed;
    script.onerror = () => fail(new Error(`text/${name}.js cannot be read; run xreasoner view again`));
  }).finally(() => {
    script.remove();
    arriving.delete(name);
  });
  arriving.set(name, { packed, resolve });
  script.src = `text/${name}.js`;
  document.head.append(script);
  return packed;
}

export interface QuestionFacts {
  gold: string;
  choices: string[];
  /** null: missing or unreadable. */
  pictures: (string | null)[];
  tags: Record<string, string>;
}

export interface AnswerFacts {
  extracted: string | null;
  why: string;
  rewards?: Record<string, number | null>;
  advantage?: number;
  tokens?: { chars: number[]; logprobs: (number | null)[] };
}

const loaded = new Map<string, Promise<Chunk<never>>>();

/** The chunks used last stay in memory. */
export function loadChunk<Facts>(name: string): Promise<Chunk<Facts>> {
  const known = loaded.get(name);
  loaded.delete(name);
  const chunk = known ?? loadPacked(name).then((packed) => unpackChunk<never>(packed));
  loaded.set(name, chunk);
  if (!known) chunk.catch(() => loaded.delete(name));
  for (const oldest of loaded.keys()) {
    if (loaded.size <= KEPT) break;
    loaded.delete(oldest);
  }
  return chunk as Promise<Chunk<Facts>>;
}
