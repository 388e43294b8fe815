import { useEffect, useRef } from "preact/hooks";

/** Calls the function of a key, except while someone types. */
export function useKeys(actions: Record<string, () => void>): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const types = target.matches("input, select, textarea");
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (types && event.key !== "Escape") return;
      if (types) target.blur();
      else if (Object.hasOwn(latest.current, event.key)) {
        latest.current[event.key]();
        event.preventDefault();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
