// Keys. They act wherever the focus is, but in fields, which keep theirs.

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

const toTime = (time) => {
  player.seek(time);
  reveal(time);
};
// Esc stops what plays; what was selected and lit is cleared by the next one.
const stopOrClear = () => {
  if (player.isHeard) {
    player.pause();
    return;
  }
  select(null);
  light(null);
};

// The key, what the page calls it, what it does in words, and what it does.
const KEYS = [
  [" ", "Space", "play and pause", playOrPause],
  ["ArrowLeft", "\u2190", "a column of tokens back", () => byColumns(-1)],
  ["ArrowRight", "\u2192", "a column of tokens on", () => byColumns(1)],
  ["PageUp", "Page up", "a quarter of the window back", () => byScreens(-0.25)],
  ["PageDown", "Page down", "a quarter of the window on", () => byScreens(0.25)],
  ["Home", "Home", "to the start", () => toTime(startS)],
  ["End", "End", "to the end", () => toTime(endS)],
  ["ArrowUp", "\u2191", "the band above", () => toBand(1)],
  ["ArrowDown", "\u2193", "the band below", () => toBand(-1)],
  ["Enter", "Enter", "light up all places of the code at the cursor", lightAtCursor],
  ["p", "p", "to the place of that code before", () => goToPlace(-1)],
  ["n", "n", "to the next place of that code", () => goToPlace(1)],
  ["u", "u", "play what is unusual next", () => stepPeak(1)],
  ["U", "Shift u", "play what is unusual before", () => stepPeak(-1)],
  ["+", "+", "zoom in", () => zoom(1.5, player.time)],
  ["-", "-", "zoom out", () => zoom(1 / 1.5, player.time)],
  ["0", "0", "show all", () => showWindow(startS, endS)],
  ["[", "[", "the selection begins at the cursor", () => selectTo("from")],
  ["]", "]", "the selection ends at the cursor", () => selectTo("to")],
  ["f", "f", "find the selection elsewhere on this page", findSelection],
  ["l", "l", "loop on or off", () => byId("loop").click()],
  ["Escape", "Esc", "stop what plays; when nothing plays, no selection and no code lit", stopOrClear],
  ["/", "/", "find a code by its number", () => byId("search").focus()],
];
const PRESS = [" ", "Enter"]; // a button that has the focus takes these
const SCROLL = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"];

const isField = (target) => target.matches("input:not([type=checkbox]), select, textarea");
const isPressed = (target) => target.matches("button, a, summary, input");
const areRowsSeen = () => {
  const { top, bottom } = stack.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
};

// Whether a key acts: in fields, Esc alone does; where no row is seen, some keys scroll the page.
function isHeard(name, target) {
  if (name === "Escape") return true;
  if (isField(target) || (PRESS.includes(name) && isPressed(target))) return false;
  return !SCROLL.includes(name) || areRowsSeen();
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const wanted = event.key === "=" ? "+" : event.key; // without Shift
  const found = KEYS.find(([name]) => name === wanted && isHeard(name, event.target));
  if (!found) return;
  event.preventDefault();
  view.hasKeys = true;
  found[3]();
  redraw();
}

const isOffered = (name) => (surprise || !"uU".includes(name)) && (given.likeness || name !== "f");

function listKeys() {
  byId("keys").append(
    ...KEYS.filter(([name]) => isOffered(name)).flatMap(([, shown, words]) => [
      make("dt", {}, make("kbd", { textContent: shown })),
      make("dd", { textContent: words }),
    ]),
    make("dt", { textContent: "All keys" }),
    make("dd", {
      textContent: "act at once, but not in a text field, a list of choices or a slider, where Esc " +
        "alone does. Space and Enter press a button that has the focus. Where the rows are not " +
        "on the screen, arrows up and down, Page up, Page down, Home and End scroll the page",
    }),
    make("dt", { textContent: "Wheel" }),
    make("dd", { textContent: "zoom at the pointer; with Shift, or sideways, move" }),
    make("dt", { textContent: "Two fingers" }),
    make("dd", { textContent: "zoom and move, on a screen that is touched" }),
    make("dt", { textContent: "Drag" }),
    make("dd", { textContent: "select on the spectrogram and the ruler; with Shift, move" }),
  );
  document.addEventListener("keydown", pressed);
}
