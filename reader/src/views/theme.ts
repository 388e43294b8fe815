const KEY = "xreasoner-reader-theme";
const root = document.documentElement;

try {
  const kept = localStorage.getItem(KEY);
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
} catch {
  // Some browsers give pages from disk no storage; then the system's theme holds.
}

export function toggleTheme(): void {
  const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, root.dataset.theme);
  } catch {
    // As above.
  }
}
