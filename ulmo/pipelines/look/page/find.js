// The best matches of the selection: stretches of the page whose tokens stand for the same sound.

const MOST_MATCHES = 10;
const MOST_SOUGHT = 500; // columns of a selection: 20 s of the tokenizer that ships

let likeness = null; // for each band { place, size, scores }, see likeness.py
let matches = []; // each { from, to, share, same }
let sought = null; // the stretch that they match

async function loadLikeness() {
  if (!given.likeness) return;
  const packed = new Blob([bytesOf(given.likeness.scores)]).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  const steps = new Int8Array(await new Response(stream).arrayBuffer());
  let next = 0;
  likeness = given.likeness.codes.map((codesOfBand) => {
    const size = codesOfBand.length;
    const scores = new Float32Array(size * size);
    for (let row = 0; row < size; row += 1) {
      for (let column = row; column < size; column += 1) {
        const bits = steps[next] * given.likeness.step_bits;
        scores[row * size + column] = bits;
        scores[column * size + row] = bits;
        next += 1;
      }
    }
    return { place: new Map(codesOfBand.map((id, place) => [id, place])), size, scores };
  });
  byId("find-selection").hidden = false;
}

// The bands of which a selection holds a half, or which hold a half of the selection.
function bandsIn({ low, high }) {
  return Array.from({ length: tokens.bands }, (_, band) => band).filter((band) => {
    const [from, to] = tokens.edges_hz.slice(band, band + 2);
    const shared = Math.min(high, to) - Math.max(low, from);
    return shared > 0 && shared >= 0.5 * Math.min(to - from, high - low);
  });
}

// First column, and how many columns: those whose middle lies in a selection.
function columnsIn({ from, to }) {
  const half = tokens.column_s / 2;
  let [first, count] = [null, 0];
  for (let column = 0; column < tokens.columns; column += 1) {
    const middle = columnStart(column) + half;
    if (middle < from || middle >= to) continue;
    first ??= column;
    count += 1;
  }
  return { first: first ?? columnAt(from), count: Math.max(count, 1) };
}

// Bits for each column at which a stretch as long as the sought one may begin. The sought columns
// are compared one by one: a sound that is faster or slower is another sound.
function scoresOf(first, count, bands) {
  const found = new Float32Array(Math.max(tokens.columns - count + 1, 0));
  for (const band of bands) {
    const { place, size, scores } = likeness[band];
    const row = Int32Array.from({ length: tokens.columns }, (_, column) =>
      place.get(idAt(column, band)) ?? -1);
    for (let offset = 0; offset < count; offset += 1) {
      const base = row[first + offset] * size;
      if (base < 0) continue;
      for (let column = 0; column < found.length; column += 1) {
        const other = row[column + offset];
        if (other >= 0) found[column] += scores[base + other];
      }
    }
  }
  return found;
}

// Whether no time was left out between the columns of a stretch.
const isWhole = (column, count) =>
  !tokens.segments.some(([begin]) => begin > column && begin < column + count);

// The best matches of a stretch of time and frequency, the best first.
function findLike(stretch) {
  const { first, count } = columnsIn(stretch);
  const bands = bandsIn(stretch);
  if (first === null || !bands.length || count > MOST_SOUGHT) return [];
  const scores = scoresOf(first, count, bands);
  const self = scores[first];
  const taken = [first];
  const found = [];
  const ranked = [...scores.keys()].filter((column) => scores[column] > 0 && isWhole(column, count));
  ranked.sort((a, b) => scores[b] - scores[a] || a - b);
  for (const column of ranked) {
    if (found.length === MOST_MATCHES) break;
    if (taken.some((other) => Math.abs(other - column) < count)) continue;
    taken.push(column);
    let same = 0;
    for (const band of bands) {
      for (let offset = 0; offset < count; offset += 1) {
        same += idAt(column + offset, band) === idAt(first + offset, band);
      }
    }
    const from = columnStart(column);
    const to = columnStart(column + count - 1) + tokens.column_s;
    found.push({ from, to, share: Math.min(scores[column] / self, 1), same, of: count * bands.length });
  }
  return found;
}

function findSelection() {
  if (!likeness || !selection) return;
  sought = { ...selection };
  matches = findLike(sought);
  listMatches();
}

function forgetMatches() {
  [matches, sought] = [[], null];
  listMatches();
}

function listMatches() {
  const panel = byId("matches");
  panel.hidden = sought === null;
  if (sought) panel.replaceChildren(...matchWords());
  redraw();
}

function matchWords() {
  const { count } = columnsIn(sought);
  const bands = bandsIn(sought);
  const where = `${timeText(sought.from)} to ${timeText(sought.to)}`;
  if (!bands.length) return [`Nothing of ${where} is heard by the tokenizer: select lower frequencies.`];
  if (count > MOST_SOUGHT) {
    return [`That is too long: select at most ${Math.floor(MOST_SOUGHT * tokens.column_s)} s.`];
  }
  if (!matches.length) return [`Nothing on this page is like ${where}.`];
  const best = make("strong", { textContent: `Most like ${where} on this page` });
  const most = matches.length === MOST_MATCHES ? ` The ${MOST_MATCHES} most alike are listed.` : "";
  const words = `, at ${bandsText(bands[0], bands.at(-1))}. 100 % is the selection itself.${most}`;
  return [
    make("p", {}, best, words),
    make("p", { className: "group" },
      ...matches.map((match) => {
        const percent = `${Math.round(100 * match.share)} %`;
        const play = () => {
          player.play(match.from, match.to, byId("loop").checked);
          reveal(match.from);
        };
        const title = `${match.same} of ${match.of} tokens are the same`;
        return button(`\u25b6 ${columnTimeText(match.from)}, ${percent}`, play, { title });
      }),
      button("Play all", () => player.playAll(matches.map(({ from, to }) => [from, to])))),
  ];
}

// Where the matches are, below the ruler's ticks and on the overview.
function drawMatches() {
  if (!matches.length) return;
  const ruler = rows.ruler.getContext("2d");
  const overview = rows.overview.getContext("2d");
  const width = rows.ruler.clientWidth;
  const scale = rows.overview.clientWidth / (endS - startS);
  for (const { from, to } of matches) {
    for (const [context, left, length, top] of [
      [ruler, xOf(from, width), xOf(to, width) - xOf(from, width), 18],
      [overview, (from - startS) * scale, (to - from) * scale, rows.overview.clientHeight - 4],
    ]) {
      context.fillStyle = ink("strong");
      context.fillRect(left, top, Math.max(length, 2), 4);
    }
  }
}
