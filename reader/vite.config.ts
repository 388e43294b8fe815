// One classic script and one style sheet: a browser loads no module, worker or font file from disk.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { sourcesHash } from "./sourcesHash.ts";

const here = import.meta.dirname;
const built = join(here, "../src/xreasoner/report/reader/built");

// Every browser that has DecompressionStream reads woff2; the other forms of each font are left out.
const onlyWoff2: Plugin = {
  name: "only-woff2",
  enforce: "pre",
  transform(code, id) {
    if (!id.endsWith("katex.css") && !id.endsWith("katex.min.css")) return null;
    return code.replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\(["'][^"']*["']\)/g, "");
  },
};

const finish: Plugin = {
  name: "finish",
  writeBundle() {
    copyFileSync(join(here, "index.html"), join(built, "index.html"));
    const licences = ["preact", "katex"].map((name) => {
      return `${name}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim()}\n`;
    });
    writeFileSync(join(built, "licences.txt"), `reader.js and reader.css contain these packages.\n\n${licences.join("\n\n")}`);
    writeFileSync(join(built, "sources.sha256"), `${sourcesHash(here)}\n`);
  },
};

export default defineConfig({
  plugins: [onlyWoff2, finish],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "iife" },
  build: {
    outDir: built,
    emptyOutDir: true,
    copyPublicDir: false,
    assetsInlineLimit: 1_000_000,
    target: "es2022",
    lib: {
      entry: join(here, "src/main.tsx"),
      formats: ["iife"],
      name: "xreasonerReaderPage",
      fileName: () => "reader.js",
      cssFileName: "reader",
    },
  },
});
