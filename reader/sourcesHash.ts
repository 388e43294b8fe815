// Of everything the built files depend on; tests/report/test_reader_build.py computes the same.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = ["index.html", "package.json", "package-lock.json", "sourcesHash.ts", "tsconfig.json", "vite.config.ts"];

export function sourcesHash(folder: string): string {
  const inside = readdirSync(join(folder, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const hash = createHash("sha256");
  for (const name of [...FILES, ...inside].sort()) {
    hash.update(`${name}\0`).update(readFileSync(join(folder, name))).update("\0");
  }
  return hash.digest("hex");
}
