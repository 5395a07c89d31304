// The token rows: a cell for each token, in the colour of its code; the code that is lit.

const BAND_PIXELS = Math.min(Math.max(Math.round(240 / tokens.bands), 6), 24);
const LETTER_PIXELS = 13; // that a line of small letters needs

// A band, from the place from the top (0) to the bottom (1) of the token rows.
const bandOfShare = (share) =>
  Math.min(Math.max(Math.floor((1 - share) * tokens.bands), 0), tokens.bands - 1);

// The columns in the window: begin, end and number of each; of those within one pixel, the first.
function shownColumns() {
  const shown = [];
  const least = (view.to - view.from) / Math.max(rows.tokens.clientWidth, 1);
  let due = -Infinity;
  tokens.segments.forEach(([first, start], number) => {
    const end = tokens.segments[number + 1]?.[0] ?? tokens.columns;
    const from = Math.max(first, first + Math.floor((view.from - start) / tokens.column_s));
    const until = Math.min(end, first + Math.ceil((view.to - start) / tokens.column_s) + 1);
    for (let column = from; column < until; column += 1) {
      const begin = start + (column - first) * tokens.column_s;
      if (begin < due) continue;
      due = begin + least;
      shown.push([begin, begin + Math.max(tokens.column_s, least), column]);
    }
  });
  return shown;
}

const colourOf = (id) => codeById.get(id)?.colour ?? (id === tokens.unk ? "#808080" : "transparent");

// How light a colour (#rrggbb) looks, from 0 to 255.
function lightnessOf(colour) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue;
}

// Black or white, whichever is easier to read on a colour.
const inkOn = (colour) => (lightnessOf(colour) > 135 ? "#000" : "#fff");

function drawTokens() {
  rows.tokens.style.height = `${BAND_PIXELS * tokens.bands}px`;
  const { context, width, height } = prepared(rows.tokens);
  const cellHeight = height / tokens.bands;
  const cellWidth = (tokens.column_s / (view.to - view.from)) * width;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (const [from, to, column] of shownColumns()) {
    const left = xOf(from, width);
    const length = xOf(to, width) - left;
    for (let band = 0; band < tokens.bands; band += 1) {
      const id = idAt(column, band);
      const top = (tokens.bands - 1 - band) * cellHeight;
      context.globalAlpha = view.lit === null || view.lit === id ? 1 : 0.15;
      context.fillStyle = colourOf(id);
      context.fillRect(left, top, length + 0.6, cellHeight - 1);
      if (cellWidth >= 26 && cellHeight >= LETTER_PIXELS && colourOf(id).length === 7) {
        context.fillStyle = inkOn(colourOf(id));
        context.fillText(String(id), left + length / 2, top + cellHeight / 2);
      }
    }
  }
  context.globalAlpha = 1;
  drawBandMark(context, width, cellHeight);
}

// Where the keyboard is: the band at the cursor.
function drawBandMark(context, width, cellHeight) {
  if (document.activeElement !== stack && !view.hasKeys) return;
  const column = columnAt(player.time);
  if (column === null) return;
  const left = xOf(columnStart(column), width);
  const length = Math.max(xOf(columnStart(column) + tokens.column_s, width) - left, 6);
  const top = (tokens.bands - 1 - view.band) * cellHeight;
  context.strokeStyle = ink("ink");
  context.lineWidth = 2;
  context.strokeRect(left, top + 1, length, cellHeight - 3);
}

const shortHertz = (hertz) => (hertz < heardHz / 500 ? "0" : hertzText(Number(hertz.toPrecision(2))));

function labelBands() {
  const every = Math.ceil(LETTER_PIXELS / BAND_PIXELS);
  const bands = Array.from({ length: tokens.bands }, (_, band) => band);
  byId("tokens-name").replaceChildren(
    ...bands.filter((band) => band % every === 0).map((band) => {
      const word = innerWidth > 600 ? "from" : "\u2265";
      const label = make("span", { textContent: `${word} ${shortHertz(tokens.edges_hz[band])}` });
      label.title = bandsText(band);
      label.style.top = `${(tokens.bands - band - 0.5) * BAND_PIXELS}px`;
      return label;
    }),
  );
}

let placesOfLit = { id: null, places: [] };

// All places (column, band) of an id, in the order of time.
function placesOf(id) {
  if (placesOfLit.id !== id) {
    const places = [];
    for (let place = 0; place < ids.length; place += 1) {
      if (ids[place] === id) places.push([Math.floor(place / tokens.bands), place % tokens.bands]);
    }
    placesOfLit = { id, places };
  }
  return placesOfLit.places;
}

// Light up all places of an id; null for none.
function light(id) {
  view.lit = id;
  const panel = byId("lit");
  panel.hidden = id === null;
  if (id !== null) {
    const places = placesOf(id);
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = colourOf(id);
    const share = shareText(places.length / Math.max(countOfTokens, 1));
    const words = `${codeName(id)}: ${countText(places.length, "place")}, ${share} of the tokens here`;
    panel.replaceChildren(
      swatch,
      make("strong", { textContent: words }),
      button("Earlier", () => goToPlace(-1)),
      button("Later", () => goToPlace(1)),
      button("Play all", () => player.playAll(places.map(([column]) => snippet(column)))),
      ...(codeById.has(id) ? [button("In the list", () => showCode(id))] : []),
      button("Clear", () => light(null)),
    );
  }
  markLitCard();
  redraw();
}

// What is played for one token: it, and a little around it.
function snippet(column) {
  const start = columnStart(column);
  const { column_s: length } = tokens;
  return [Math.max(start - length, startS), Math.min(start + 4 * length, endS)];
}

// Go to the place of the lit code before (-1) or after (1) the cursor.
function goToPlace(direction) {
  if (view.lit === null) return;
  const now = player.time;
  const starts = placesOf(view.lit).map(([column, band]) => [columnStart(column), band]);
  const next = direction > 0
    ? starts.find(([start]) => start > now + 1e-6)
    : starts.findLast(([start]) => start < now - 1e-6);
  if (!next) return;
  view.band = next[1];
  player.pause();
  player.seek(next[0]);
  reveal(next[0]);
  redraw();
}
