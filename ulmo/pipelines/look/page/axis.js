// What is shown: the window of time, the range of frequencies, colours. One redraw for all changes.

const LEAST_COLUMNS = 6; // of tokens, in the narrowest window

const view = {
  from: startS,
  to: endS,
  scale: "all", // all, log, heard
  floor: given.spectrogram.floor_db,
  ceiling: given.spectrogram.ceiling_db,
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  lit: null, // the id whose places light up
  band: 0, // of the keyboard's place on the token rows
  hasKeys: false, // whether that place is shown: after a key, until a click
};

const drawings = []; // functions that draw what changes with the window of time
const pictures = []; // functions that draw what changes with colours and widths alone
let isDue = false;
let arePicturesDue = false;

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (arePicturesDue) for (const draw of pictures) draw();
    arePicturesDue = false;
    for (const draw of drawings) draw();
  });
}

function redrawAll() {
  arePicturesDue = true;
  redraw();
}

function showWindow(from, to) {
  const least = Math.min(LEAST_COLUMNS * tokens.column_s, endS - startS);
  const length = Math.min(Math.max(to - from, least), endS - startS);
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(middle - length / 2, startS), endS - length);
  view.to = view.from + length;
  redraw();
}

// Zoom by a factor, above 1 to see less; the time `at` stays where it is.
function zoom(factor, at) {
  const least = Math.min(LEAST_COLUMNS * tokens.column_s, endS - startS);
  const length = Math.min(Math.max((view.to - view.from) / factor, least), endS - startS);
  const from = at - ((at - view.from) / (view.to - view.from)) * length;
  showWindow(from, from + length);
}

const pan = (seconds) => showWindow(view.from + seconds, view.to + seconds);

// Move the window so that a time is in it.
function reveal(time) {
  const length = view.to - view.from;
  if (time < view.from || time > view.to) showWindow(time - length / 4, time + (3 * length) / 4);
}

const xOf = (time, width) => ((time - view.from) / (view.to - view.from)) * width;
const timeAt = (share) => view.from + share * (view.to - view.from);

const highestShown = () => (view.scale === "heard" ? heardHz : topHz);
const lowestLog = () => topHz / 256; // a logarithmic axis begins above 0

// Places from the top (0) to the bottom (1) of the spectrogram.
function shareOfHertz(hertz) {
  const top = highestShown();
  if (view.scale !== "log") return 1 - hertz / top;
  return 1 - Math.log(Math.max(hertz, lowestLog()) / lowestLog()) / Math.log(top / lowestLog());
}

function hertzOfShare(share) {
  const top = highestShown();
  if (view.scale !== "log") return (1 - share) * top;
  return lowestLog() * (top / lowestLog()) ** (1 - share);
}

const rowOfHertz = (hertz) =>
  Math.min(Math.max(Math.floor((hertz / topHz) * levelRows), 0), levelRows - 1);

// A canvas as large as it is shown, and its context in CSS pixels.
function prepared(canvas) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
