// The list of codes: what each decodes to, real snippets of it, and the codes most like it.

const CARDS_AT_ONCE = innerWidth > 600 ? 36 : 12;
const PATCHES_IN_ROW = 64; // of the picture of codes, as in codes.py

let codePixels = null; // the picture of what all codes decode to
let shownCards = CARDS_AT_ONCE;

async function loadCodes() {
  codePixels = await greyPixels(given.code_picture.webp);
}

// The middle frequency of where a code is used.
function pitchOf(code) {
  const edges = tokens.edges_hz;
  const middles = code.bands.map((count, band) => (count * (edges[band] + edges[band + 1])) / 2);
  return middles.reduce((sum, each) => sum + each, 0) / code.count;
}

const ORDERS = {
  use: (a, b) => b.count - a.count,
  rarity: (a, b) => a.count - b.count,
  pitch: (a, b) => pitchOf(a) - pitchOf(b),
  loudness: (a, b) => b.loudness - a.loudness,
  likeness: (a, b) => lightnessOf(a.colour) - lightnessOf(b.colour),
  id: (a, b) => a.id - b.id,
};

// What is looked for: a number without zeros before it; "" for all codes.
function searched() {
  const words = byId("search").value.trim();
  return /^\d+$/.test(words) ? String(Number(words)) : words;
}

// What is to be said of the number that is looked for, beside how many codes are shown.
function searchedText() {
  const words = searched();
  if (!words || codeById.has(Number(words))) return "";
  if (!/^\d+$/.test(words)) return "a code is a number; ";
  if (Number(words) >= tokens.unk) return `codes end at ${tokens.unk - 1}; `;
  return `code ${words} is not used here; `;
}

function foundCodes() {
  const words = searched();
  const found = words ? codes.filter((code) => String(code.id).startsWith(words)) : [...codes];
  const order = ORDERS[byId("sort").value];
  const isExact = (code) => String(code.id) === words;
  return found.sort((a, b) => isExact(b) - isExact(a) || order(a, b) || a.id - b.id);
}

function listCodes() {
  const found = foundCodes();
  byId("codes").className = "cards";
  byId("codes").replaceChildren(...found.slice(0, shownCards).map(codeCard));
  byId("codes-count").textContent = `${searchedText()}${Math.min(shownCards, found.length)} of ${found.length} shown`;
  byId("more").hidden = found.length <= shownCards;
  markLitCard();
}

function chip(id, words = String(id)) {
  const made = button(words, () => showCode(id), { className: "chip" });
  made.style.borderLeftColor = colourOf(id);
  made.setAttribute("aria-label", `Show code ${id}`);
  return made;
}

function codeCard(code) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = code.colour;
  const used = code.bands.flatMap((count, band) => (count ? [band] : []));
  const decoded = make("canvas", { role: "img", ariaLabel: `What code ${code.id} decodes to` });
  const times = code.places.map(([column]) => columnTimeText(columnStart(column)));
  const card = make("article", { className: "card", id: `code-${code.id}` },
    make("h3", {},
      swatch,
      button(`Code ${code.id}`, () => light(view.lit === code.id ? null : code.id),
        { title: "Light up all its places" }),
      make("span", { textContent: `${code.count} \u00d7, ${shareText(code.count / countOfTokens)}` })),
    make("p", { textContent: `Used at ${bandsText(used[0], used.at(-1))}.` }),
    make("div", { className: "pictures" },
      make("figure", {}, decoded, "decodes to"),
      ...code.places.map((place, number) => snippetButton(code, place, times[number]))),
    ...decodedButtons(code, used),
    make("p", { className: "group" }, "Most like it ", ...code.nearest.map((id) => chip(id))),
  );
  if (code.following.length) {
    const chips = code.following.map(([id, count]) => chip(id, `${id} (${count} \u00d7)`));
    card.append(make("p", { className: "group" }, "Followed by ", ...chips));
  }
  drawDecoded(decoded, code, used);
  return card;
}

// A real place of a code: its picture, which plays it.
function snippetButton(code, [column, band], when) {
  const picture = make("canvas");
  const made = button("", () => player.play(...snippet(column), byId("loop").checked),
    { ariaLabel: `Play code ${code.id} at ${when}` });
  made.append(picture, `\u25b6 ${when}`);
  drawSnippet(picture, column, band);
  return made;
}

// Hertz of a place from the top (0) to the bottom (1) of a picture whose bands are equally high.
function hertzOfBands(share) {
  const place = (1 - share) * tokens.bands;
  const band = Math.min(Math.floor(place), tokens.bands - 1);
  const [low, high] = tokens.edges_hz.slice(band, band + 2);
  return low + (place - band) * (high - low);
}

function drawSnippet(canvas, column, band) {
  const { context, width, height } = drawn(canvas, 66, 72);
  const start = columnStart(column);
  const [from, to] = [start - 4 * tokens.column_s, start + 5 * tokens.column_s];
  const table = colourTable(view.theme, byteOfDb(view.floor), byteOfDb(view.ceiling));
  const box = { x: 0, y: 0, width, height };
  paintLevels(context, from, to, box, table, (share) => rowOfHertz(hertzOfBands(share)));
  context.strokeStyle = overInk();
  context.lineWidth = 1;
  const [cell, tall] = [width / 9, height / tokens.bands];
  context.strokeRect(4 * cell, (tokens.bands - 1 - band) * tall + 0.5, cell, tall - 1);
}

// A canvas that is not in the page yet, with its context in CSS pixels.
function drawn(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

// What a code decodes to, in each band where it is used; the other bands are left empty.
function drawDecoded(canvas, code, used) {
  const { context, width, height } = drawn(canvas, 44, 72);
  const { width: frames, height: bins } = given.code_picture;
  const number = codes.indexOf(code);
  const left = (number % PATCHES_IN_ROW) * frames;
  const top = Math.floor(number / PATCHES_IN_ROW) * bins;
  const image = new ImageData(frames, bins);
  const pixels = new Uint32Array(image.data.buffer);
  const table = colourTable(view.theme, 0, 255);
  const stride = Math.ceil(bins / tokens.bands);
  for (let y = 0; y < bins; y += 1) {
    if (!used.includes(Math.floor((bins - 1 - y) / stride))) continue;
    for (let x = 0; x < frames; x += 1) {
      pixels[y * frames + x] = table[codePixels.data[4 * ((top + y) * codePixels.width + left + x)]];
    }
  }
  scratch.width = frames;
  scratch.height = bins;
  scratch.getContext("2d").putImageData(image, 0, 0);
  context.strokeStyle = ink("line");
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  context.drawImage(scratch, 0, 0, width, height);
}

function markLitCard() {
  for (const card of byId("codes").children) {
    card.classList.toggle("lit", card.id === `code-${view.lit}`);
  }
}

// Go to a code in the list, and light it up.
function showCode(id) {
  byId("search").value = String(id);
  listCodes();
  light(id);
  byId(`code-${id}`)?.scrollIntoView({ block: "center" });
  byId(`code-${id}`)?.querySelector("button").focus({ preventScroll: true });
}

function listenToCodes() {
  byId("codes-words").textContent =
    `${codes.length} codes are used here. Similar codes have similar colours. Each has what it decodes to, ` +
    "and up to three places in the recording where it fits best: press one to hear it. What it decodes " +
    "to can be heard, too, as sines, eight times as slow as the speed above; all are as loud as each other.";
  const again = () => {
    shownCards = CARDS_AT_ONCE;
    listCodes();
  };
  byId("search").addEventListener("input", again);
  byId("search").addEventListener("keydown", (event) => {
    const id = Number(byId("search").value);
    if (event.key === "Enter" && codeById.has(id)) light(id);
  });
  byId("sort").addEventListener("change", again);
  byId("more").addEventListener("click", () => {
    shownCards += CARDS_AT_ONCE;
    listCodes();
  });
}
