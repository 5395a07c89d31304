// Keys. Those of the rows work while the rows have the focus, so that fields keep theirs.

const byColumns = (count) => {
  player.seek(player.time + count * tokens.column_s);
  reveal(player.time);
};
const byScreens = (share) => {
  player.seek(player.time + share * (view.to - view.from));
  reveal(player.time);
};
const toBand = (change) => {
  view.band = Math.min(Math.max(view.band + change, 0), tokens.bands - 1);
};

function lightAtCursor() {
  const column = columnAt(player.time);
  if (column === null) return;
  const id = idAt(column, view.band);
  light(view.lit === id ? null : id);
}

// What each key does, and the words for it; several names share an entry.
const KEYS = [
  { names: [" "], shown: "Space", words: "play and pause", act: playOrPause, isGlobal: true },
  { names: ["ArrowLeft"], shown: "\u2190", words: "a column of tokens back", act: () => byColumns(-1) },
  { names: ["ArrowRight"], shown: "\u2192", words: "a column of tokens on", act: () => byColumns(1) },
  { names: ["PageUp"], shown: "Page up", words: "a quarter of the window back", act: () => byScreens(-0.25) },
  { names: ["PageDown"], shown: "Page down", words: "a quarter of the window on", act: () => byScreens(0.25) },
  { names: ["Home"], shown: "Home", words: "to the begin", act: () => { player.seek(startS); reveal(startS); } },
  { names: ["End"], shown: "End", words: "to the end", act: () => { player.seek(endS); reveal(endS); } },
  { names: ["ArrowUp"], shown: "\u2191", words: "the band above", act: () => toBand(1) },
  { names: ["ArrowDown"], shown: "\u2193", words: "the band below", act: () => toBand(-1) },
  { names: ["Enter"], shown: "Enter", words: "light up all places of the code at the cursor", act: lightAtCursor },
  { names: ["p"], shown: "p", words: "to the place of that code before", act: () => goToPlace(-1) },
  { names: ["n"], shown: "n", words: "to the next place of that code", act: () => goToPlace(1) },
  { names: ["+", "="], shown: "+", words: "zoom in", act: () => zoom(1.5, player.time) },
  { names: ["-"], shown: "-", words: "zoom out", act: () => zoom(1 / 1.5, player.time) },
  { names: ["0"], shown: "0", words: "show all", act: () => showWindow(startS, endS) },
  { names: ["["], shown: "[", words: "the selection begins at the cursor", act: () => selectTo("from") },
  { names: ["]"], shown: "]", words: "the selection ends at the cursor", act: () => selectTo("to") },
  { names: ["l"], shown: "l", words: "loop, or not", act: () => byId("loop").click() },
  { names: ["Escape"], shown: "Esc", words: "no selection, and no code lit", act: () => { select(null); light(null); }, isGlobal: true },
  { names: ["/"], shown: "/", words: "find a code by its number", act: () => byId("search").focus(), isGlobal: true },
];

const takesKeys = (target) => target.matches("input, select, button, a, summary");

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = KEYS.find(({ names }) => names.includes(event.key));
  const onRows = event.target === stack;
  if (!key || (!onRows && !(key.isGlobal && (event.key === "Escape" || !takesKeys(event.target))))) return;
  event.preventDefault();
  key.act();
  redraw();
}

function listKeys() {
  byId("keys").append(
    ...KEYS.flatMap(({ shown, words }) => [
      make("dt", {}, make("kbd", { textContent: shown })),
      make("dd", { textContent: words }),
    ]),
    make("dt", { textContent: "Wheel" }),
    make("dd", { textContent: "zoom at the pointer; with Shift, or sideways, move" }),
    make("dt", { textContent: "Drag" }),
    make("dd", { textContent: "select on the spectrogram and the ruler; with Shift, move" }),
  );
  document.addEventListener("keydown", pressed);
}
