// Finds words in chunks. It keeps what it was given compressed, so that another search reads no file.
import { bytesOf } from "./columns";
import { inflate } from "./unpack";
import { rowsWith } from "./words";

export interface SearchRequest {
  name: string;
  /** Absent if this worker was given the chunk before. */
  packed?: string;
  words: string;
}

export interface SearchReply {
  name: string;
  words: string;
  /** The numbers of the texts that contain the words. */
  rows: number[];
}

const kept = new Map<string, Uint8Array<ArrayBuffer>>();

self.onmessage = async ({ data }: MessageEvent<SearchRequest>) => {
  if (data.packed !== undefined) kept.set(data.name, bytesOf(data.packed));
  const bytes = kept.get(data.name);
  const body = bytes ? await inflate(bytes) : "";
  self.postMessage({ name: data.name, words: data.words, rows: rowsWith(body, data.words) } satisfies SearchReply);
};
