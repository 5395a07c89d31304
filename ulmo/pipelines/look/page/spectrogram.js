// The spectrogram with its frequencies, regions, repeats, and the grid of tokens.

const TICKS = [0, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000];

function drawSpectrogram() {
  const { context, width, height } = prepared(rows.spectrogram);
  const table = colourTable(view.theme, byteOfDb(view.floor), byteOfDb(view.ceiling));
  const box = { x: 0, y: 0, width, height };
  paintLevels(context, view.from, view.to, box, table, (share) => rowOfHertz(hertzOfShare(share)));
  if (byId("show-grid").checked) drawGrid(context, width, height);
  drawHeard(context, width, height);
  if (byId("show-regions").checked) {
    for (const region of regions) drawBox(context, width, height, region.box, overInk(), 1);
  }
  if (byId("show-repeats").checked) {
    classes.forEach((each, number) => {
      for (const place of each.boxes) {
        if (each.kind === "impulses") drawImpulse(context, width, height, place, classColour(number));
        else drawBox(context, width, height, place, classColour(number), 2, className(each));
      }
    });
  }
  if (view.lit !== null) drawLitCells(context, width, height);
  if (selection !== null) {
    const { from, to, low, high } = selection;
    drawBox(context, width, height, [from, to, low, high], ink("strong"), 2);
  }
}

// Ink that is seen on the spectrogram's faint colours.
const overInk = () => (view.theme === "dark" ? "rgba(255,255,255,0.8)" : "rgba(0,0,0,0.7)");

function drawBox(context, width, height, [from, to, low, high], colour, thick, label = "") {
  if (to < view.from || from > view.to) return;
  const left = xOf(from, width);
  const length = Math.max(xOf(to, width) - left, 2);
  const top = Math.max(shareOfHertz(high), 0) * height;
  const bottom = Math.min(shareOfHertz(low), 1) * height;
  if (bottom <= 0) return; // above what is shown
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.strokeRect(left, top + thick / 2, length, bottom - top - thick);
  if (label && length > 12) {
    context.font = "bold 11px system-ui, sans-serif";
    const size = context.measureText(label).width + 6;
    if (size > length + 14) return;
    context.fillStyle = colour;
    context.fillRect(left, top, size, 14);
    context.fillStyle = "#000";
    context.textBaseline = "middle";
    context.fillText(label, left + 3, top + 7.5);
  }
}

// An impulse has a mark above and below it: boxes of a whole train would bury it.
function drawImpulse(context, width, height, [from, to, low, high], colour) {
  if (to < view.from || from > view.to) return;
  const left = xOf(from, width);
  const length = Math.max(xOf(to, width) - left, 2);
  context.fillStyle = colour;
  context.fillRect(left, Math.max(shareOfHertz(high), 0) * height, length, 7);
  context.fillRect(left, shareOfHertz(low) * height - 7, length, 7);
}

// Where the tokenizer stops to hear, if the picture goes on above.
function drawHeard(context, width, height) {
  if (heardHz >= highestShown() * 0.97) return;
  const y = shareOfHertz(heardHz) * height;
  context.strokeStyle = overInk();
  context.lineWidth = 1;
  context.setLineDash([6, 5]);
  context.beginPath();
  context.moveTo(0, y);
  context.lineTo(width, y);
  context.stroke();
  context.setLineDash([]);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "bottom";
  drawText(context, "no tokens above this line", 6, y - 3);
}

// Text with a halo, which is read on any level.
function drawText(context, words, x, y) {
  const isDark = view.theme === "dark";
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = isDark ? "#000" : "#fff";
  context.strokeText(words, x, y);
  context.fillStyle = isDark ? "#fff" : "#000";
  context.fillText(words, x, y);
}

function drawGrid(context, width, height) {
  context.fillStyle = view.theme === "dark" ? "rgba(255,255,255,0.3)" : "rgba(0,0,0,0.3)";
  const top = Math.max(shareOfHertz(heardHz), 0) * height;
  for (const edge of tokens.edges_hz.slice(0, -1)) {
    context.fillRect(0, shareOfHertz(edge) * height, width, 1);
  }
  const pixels = (tokens.column_s / (view.to - view.from)) * width;
  if (pixels < 5) return; // lines would bury the picture
  for (const [from] of shownColumns()) context.fillRect(xOf(from, width), top, 1, height - top);
}

function drawLitCells(context, width, height) {
  context.strokeStyle = ink("cursor");
  context.lineWidth = 1.5;
  for (const [column, band] of placesOf(view.lit)) {
    const from = columnStart(column);
    const to = from + tokens.column_s;
    if (to < view.from || from > view.to) continue;
    const top = shareOfHertz(Math.min(tokens.edges_hz[band + 1], topHz)) * height;
    const bottom = shareOfHertz(tokens.edges_hz[band]) * height;
    const left = xOf(from, width);
    context.strokeRect(left, top, Math.max(xOf(to, width) - left, 1), bottom - top);
  }
}

function labelFrequencies() {
  const gutter = byId("spectrogram-name");
  const height = rows.spectrogram.clientHeight;
  const step = roundStep((highestShown() / height) * 32);
  const count = Math.floor(highestShown() / step + 1e-9);
  const even = Array.from({ length: count + 1 }, (_, number) => number * step);
  const isShown = (tick) => tick >= lowestLog() && tick <= topHz;
  const ticks = view.scale === "log" ? TICKS.filter(isShown) : even;
  gutter.replaceChildren(
    ...ticks.map((tick) => {
      const place = Math.min(Math.max(shareOfHertz(tick) * height, 8), height - 8);
      const words = tick === 0 ? "0" : hertzText(tick);
      const label = make("span", { textContent: words });
      label.style.top = `${place}px`;
      return label;
    }),
  );
}

const isIn = ([from, to, low, high], time, hertz, slack) =>
  time >= from - slack && time <= to + slack && hertz >= low && hertz <= high;

// The repeat or region at a place: the shortest one.
function boxAt(time, hertz) {
  const slack = (2 * (view.to - view.from)) / rows.spectrogram.clientWidth; // two pixels
  const repeats = byId("show-repeats").checked
    ? classes.flatMap((each) => each.boxes.map((box) => ({ box, words: className(each, true) })))
    : [];
  const others = byId("show-regions").checked
    ? regions.map((region) => ({ box: region.box, words: regionText(region) }))
    : [];
  const found = [...repeats, ...others].filter(({ box }) => isIn(box, time, hertz, slack));
  found.sort((a, b) => a.box[1] - a.box[0] - (b.box[1] - b.box[0]));
  return found[0] ?? null;
}

function regionText(region) {
  const loud = region.snr_db === null ? "" : `, ${Math.round(region.snr_db)} dB above the background`;
  return `region of ${lengthText(region.box[1] - region.box[0])}${loud}`;
}

function selectBoxAt(time, hertz) {
  const found = boxAt(time, hertz);
  if (!found) return;
  const [from, to, low, high] = found.box;
  select({ from, to, low, high });
}

function spectrogramTip(time, hertz) {
  const lines = [`${timeText(time)}, ${hertzText(hertz)}`];
  const [column, band] = [columnAt(time), bandAt(hertz)];
  if (column !== null && band !== null) lines.push(tokenText(column, band));
  const found = boxAt(time, hertz);
  if (found) lines.push(found.words);
  return lines.join("\n");
}
