"use strict";
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
document.getElementById("theme").addEventListener("click", () => {
  const isDark = (root.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
});

const filters = [...document.querySelectorAll("[data-filter]")];
const cards = [...document.querySelectorAll(".card")];

function wanted() {
  return Object.fromEntries(filters.map((one) => [one.dataset.filter, one.type === "checkbox" ? one.checked : one.value]));
}

function showMatching() {
  const want = wanted();
  const words = want.words.trim().toLowerCase();
  let items = 0, answers = 0;
  for (const card of cards) {
    const right = (!want.benchmark || card.dataset.benchmark === want.benchmark)
      && (!want.why || card.dataset.why === want.why)
      && (!words || card.textContent.toLowerCase().includes(words));
    let inside = 0;
    for (const answer of card.querySelectorAll(".answer")) {
      const fits = right && (!want.stage || answer.dataset.stage === want.stage)
        && (!want.verdict || answer.dataset.verdict === want.verdict)
        && (!want.forced || answer.dataset.forced === "1");
      answer.hidden = !fits;
      inside += fits ? 1 : 0;
    }
    card.hidden = inside === 0;
    items += inside ? 1 : 0;
    answers += inside;
  }
  document.getElementById("count").textContent = `${items} items, ${answers} answers`;
}

if (cards.length) {
  filters.forEach((one) => one.addEventListener("input", showMatching));
  cards[0].querySelectorAll(".answer").forEach((answer) => { answer.open = true; });
  showMatching();
}
