// Finds words in chunks. It keeps what it was given, so that another search reads no file; as text while there is
// room, because unpacking takes ten times as long as searching, and the rest compressed.
import { bytesOf } from "./columns";
import { inflate } from "./unpack";
import { rowsWith } from "./words";

export interface SearchRequest {
  name: string;
  /** Absent if this worker was given the chunk before. */
  packed?: string;
  words: string;
  /** Characters of text that this worker may keep. */
  room: number;
}

export interface SearchReply {
  name: string;
  words: string;
  /** The numbers of the texts that contain the words. */
  rows: number[];
}

const texts = new Map<string, string>();
const compressed = new Map<string, Uint8Array<ArrayBuffer>>();
let characters = 0;

self.onmessage = async ({ data }: MessageEvent<SearchRequest>) => {
  const body = texts.get(data.name) ?? (await unpacked(data));
  self.postMessage({ name: data.name, words: data.words, rows: rowsWith(body, data.words) } satisfies SearchReply);
};

async function unpacked({ name, packed, room }: SearchRequest): Promise<string> {
  const bytes = packed === undefined ? compressed.get(name) : bytesOf(packed);
  const body = bytes ? await inflate(bytes) : "";
  if (characters + body.length <= room) {
    characters += body.length;
    texts.set(name, body);
  } else if (bytes) {
    compressed.set(name, bytes);
  }
  return body;
}
