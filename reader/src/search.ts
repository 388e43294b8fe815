// A search for words through all texts, in workers. Each text is found by its chunk and row there.
import type { Columns } from "./columns";
import type { Hits } from "./select";
import type { SearchReply, SearchRequest } from "./searchWorker";
import SearchWorker from "./searchWorker?worker&inline";
import { loadPacked } from "./texts";

const MOST_WORKERS = 4;
/** Chunks that a worker has before it, so that it never waits for a file. */
const AHEAD = 3;
/** Characters of text that all workers together keep unpacked: 100,000 answers of 3,400 bytes fit. */
const ROOM = 400_000_000;

interface Helper {
  worker: Worker;
  has: Set<string>;
  asked: number;
}

export interface Progress {
  done: number;
  wanted: number;
  failed: string;
}

export class Search implements Hits {
  words = "";
  private readonly base: Uint32Array;
  private found: Uint8Array;
  private searched: Uint8Array;
  private helpers: Helper[] = [];
  private readonly number: Map<string, number>;
  private queue: number[] = [];
  private wanted = 0;
  private failed = "";

  constructor(
    private readonly data: Columns,
    private readonly changed: (progress: Progress) => void,
  ) {
    this.base = bases(data);
    this.number = new Map(data.chunks.map((name, number) => [name, number]));
    this.found = new Uint8Array(this.base[data.chunks.length]);
    this.searched = new Uint8Array(data.chunks.length);
  }

  has(chunk: number, row: number): boolean {
    return this.found[this.base[chunk] + row] === 1;
  }

  /** Searches the chunks that have not been searched for these words. */
  start(words: string, chunks: Iterable<number>): void {
    if (words !== this.words) this.forget(words);
    this.failed = "";
    this.queue = [...chunks].filter((chunk) => !this.searched[chunk]);
    this.wanted = this.queue.length;
    if (!this.helpers.length) {
      const count = Math.max(1, Math.min(MOST_WORKERS, navigator.hardwareConcurrency - 1));
      this.helpers = Array.from({ length: count }, () => this.helper());
    }
    this.report();
    for (const helper of this.helpers) this.feed(helper);
  }

  /** Of a chunk without the old words, longer ones that contain them are known not to be there. */
  private forget(words: string): void {
    const longer = this.words && words.toLowerCase().includes(this.words.toLowerCase());
    for (let chunk = 0; chunk < this.searched.length; chunk++) {
      const without = !this.found.subarray(this.base[chunk], this.base[chunk + 1]).includes(1);
      this.searched[chunk] = longer && this.searched[chunk] && without ? 1 : 0;
    }
    this.found.fill(0);
    this.words = words;
  }

  private helper(): Helper {
    const helper: Helper = { worker: new SearchWorker(), has: new Set(), asked: 0 };
    helper.worker.onmessage = ({ data }: MessageEvent<SearchReply>) => {
      helper.asked--;
      if (data.words === this.words) {
        const chunk = this.number.get(data.name) as number;
        this.searched[chunk] = 1;
        for (const row of data.rows) this.found[this.base[chunk] + row] = 1;
        this.report();
      }
      this.feed(helper);
    };
    return helper;
  }

  /** A chunk goes to the worker that has it, or else to any. */
  private feed(helper: Helper): void {
    while (helper.asked < AHEAD && this.queue.length) {
      const own = this.queue.findIndex((chunk) => helper.has.has(this.data.chunks[chunk]));
      const free = this.queue.findIndex((chunk) => !this.helpers.some((one) => one.has.has(this.data.chunks[chunk])));
      const place = own >= 0 ? own : free;
      if (place < 0) return; // what remains belongs to others
      const [chunk] = this.queue.splice(place, 1);
      helper.asked++;
      void this.ask(helper, this.data.chunks[chunk], this.words);
    }
  }

  private async ask(helper: Helper, name: string, words: string): Promise<void> {
    const request: SearchRequest = { name, words, room: ROOM / this.helpers.length };
    if (!helper.has.has(name)) {
      helper.has.add(name);
      try {
        request.packed = await loadPacked(name);
      } catch (error) {
        helper.has.delete(name);
        helper.asked--;
        this.failed = (error as Error).message;
        this.report();
        return;
      }
    }
    helper.worker.postMessage(request);
  }

  private report(): void {
    const waiting = this.queue.length + this.helpers.reduce((sum, helper) => sum + helper.asked, 0);
    this.changed({ done: Math.max(0, this.wanted - waiting), wanted: this.wanted, failed: this.failed });
  }
}

/** Where the rows of each chunk begin in one array of all texts. */
function bases(data: Columns): Uint32Array {
  const sizes = new Uint32Array(data.chunks.length);
  for (const { chunk, row } of [data.items, data.answers]) {
    for (let i = 0; i < chunk.length; i++) sizes[chunk[i]] = Math.max(sizes[chunk[i]], row[i] + 1);
  }
  const base = new Uint32Array(sizes.length + 1);
  for (let i = 0; i < sizes.length; i++) base[i + 1] = base[i] + sizes[i];
  return base;
}

/** The chunks with a text that could be found among these items. */
export function chunksOf(data: Columns, items: Uint32Array, fits: (answer: number) => boolean): Set<number> {
  const chunks = new Set<number>();
  for (const item of items) {
    chunks.add(data.items.chunk[item]);
    for (let answer = data.items.start[item]; answer < data.items.start[item + 1]; answer++) {
      if (fits(answer)) chunks.add(data.answers.chunk[answer]);
    }
  }
  return chunks;
}
