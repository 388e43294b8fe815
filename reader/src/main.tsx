import { render } from "preact";
import "katex/dist/katex.min.css";
import "./reader.css";
import { unpackIndex, type PackedIndex } from "./columns";
import { chunkArrived } from "./texts";
import { App } from "./views/App";

const root = document.getElementById("reader") as HTMLElement;

function index(json: string): void {
  const data = unpackIndex(JSON.parse(json) as PackedIndex);
  document.title = `${data.runs.join(", ")} · answers`;
  root.replaceChildren();
  render(<App data={data} />, root);
}

// The functions that the files of data call.
Object.assign(window, { xreasonerReader: { index, chunk: chunkArrived } });
