import { useEffect, useRef } from "preact/hooks";

const KEYS = [
  ["j, k", "next and previous item"],
  ["1 … 9", "open or close an answer of the item"],
  ["a", "open all answers, or only two"],
  ["t", "unfold or fold thoughts"],
  ["m", "formulas, plain text, tokens by probability"],
  ["/", "search"],
  ["d", "light or dark"],
  ["Esc", "back to the list"],
] as const;

export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={close} aria-label="Keys">
      <h2>Keys</h2>
      <dl>
        {KEYS.map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p class="squares">
        <i class="square right" /> right <i class="square wrong" /> wrong <i class="square missing" /> no answer{" "}
        <i class="square" /> not scored <i class="square wrong late" /> round: forced or cut
      </p>
      <p>The address keeps the filter, the item and the open answers: copy it to show them to others.</p>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
