// What the page was given; its schema stands in payload.py.

const given = JSON.parse(byId("payload").textContent);

const { recording, tokens, codes, regions, classes } = given;
const startS = recording.start_s;
const endS = recording.start_s + recording.seconds;
const topHz = given.spectrogram.top_hz;
const heardHz = Math.min(tokens.edges_hz[tokens.bands], topHz);

function bytesOf(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
  return bytes;
}

const ids = new Uint32Array(bytesOf(tokens.ids).buffer); // column by column, low bands first
const idAt = (column, band) => ids[column * tokens.bands + band];

const codeById = new Map(codes.map((code) => [code.id, code]));
const countOfTokens = codes.reduce((sum, code) => sum + code.count, 0);

// A time with as many decimals as tell columns apart: 2 for columns of 40 ms, 3 for 4 ms.
const COLUMN_DIGITS = Math.max(Math.ceil(-Math.log10(tokens.column_s) - 1e-9), 1);
const columnTimeText = (seconds) => timeText(seconds, COLUMN_DIGITS);

// The time at which a column begins. Between segments, time was left out.
function columnStart(column) {
  const segment = tokens.segments.findLast(([first]) => first <= column) ?? [0, startS];
  return segment[1] + (column - segment[0]) * tokens.column_s;
}

// The column at a time; null where there is none.
function columnAt(time) {
  for (let number = tokens.segments.length - 1; number >= 0; number -= 1) {
    const [first, start] = tokens.segments[number];
    if (time < start) continue;
    const end = tokens.segments[number + 1]?.[0] ?? tokens.columns;
    const column = first + Math.floor((time - start) / tokens.column_s + 1e-9);
    return column < end ? column : null;
  }
  return null;
}

// The band of a frequency; null above what is heard.
function bandAt(hertz) {
  const band = tokens.edges_hz.findLastIndex((edge) => edge <= hertz);
  return band >= 0 && band < tokens.bands ? band : null;
}

function codeName(id) {
  if (codeById.has(id) || id < tokens.unk) return `code ${id}`;
  return id === tokens.unk ? "unknown (<unk>)" : "time left out (<gap>)";
}

// The frequencies from one band to another. Nothing is recorded above half the recording's rate.
function bandsText(lowest, highest = lowest) {
  const low = tokens.edges_hz[lowest];
  const high = Math.min(tokens.edges_hz[highest + 1], topHz);
  return low < high ? rangeText(low, high) : `above the ${hertzText(topHz)} of the recording`;
}

// What one token is, in words.
function tokenText(column, band) {
  const id = idAt(column, band);
  const code = codeById.get(id);
  const share = code ? `, ${shareText(code.count / countOfTokens)} of the tokens here` : "";
  return `${codeName(id)}, ${bandsText(band)}${share}`;
}
