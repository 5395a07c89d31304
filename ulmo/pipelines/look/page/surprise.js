// Surprise: the bits of each column of tokens, and the moments that are unusual here.

const PEAK_PIXELS = 8; // from a peak, where a click still means it
const BEFORE_PEAK = 8; // columns that are played before a peak, and after it
const AFTER_PEAK = 16;

const numbersOf = (base64) => new Float32Array(bytesOf(base64).buffer);
const surprise = given.surprise && {
  bits: numbersOf(given.surprise.bits),
  gain: numbersOf(given.surprise.gain),
  peaks: given.surprise.peaks.map((peak) => ({ ...peak, start: columnStart(peak.column) })),
  step: 1, // bits from one tick to the next, of three
};
if (surprise) surprise.step = roundStep(Math.max(3, ...surprise.bits.filter(Number.isFinite)) / 3);

// Bits of the window for each pixel, the most of its columns: with all of the past, and with the
// last 1,024 tokens alone.
function bitsOfPixels(width) {
  const found = { all: new Float32Array(width), near: new Float32Array(width) };
  tokens.segments.forEach(([first, start], number) => {
    const end = tokens.segments[number + 1]?.[0] ?? tokens.columns;
    const from = Math.max(first, first + Math.floor((view.from - start) / tokens.column_s));
    const until = Math.min(end, first + Math.ceil((view.to - start) / tokens.column_s) + 1);
    for (let column = from; column < until; column += 1) {
      const begin = start + (column - first) * tokens.column_s;
      const left = Math.max(Math.floor(xOf(begin, width)), 0);
      const right = Math.min(Math.max(xOf(begin + tokens.column_s, width), left + 1), width);
      const bits = surprise.bits[column];
      if (Number.isNaN(bits)) continue;
      for (let x = left; x < right; x += 1) {
        if (bits < found.all[x]) continue;
        found.all[x] = bits;
        found.near[x] = bits + Math.max(surprise.gain[column] || 0, 0);
      }
    }
  });
  return found;
}

function drawSurprise() {
  if (!surprise) return;
  const { context, width, height } = prepared(rows.surprise);
  const y = (bits) => height * (1 - Math.min(bits / (3 * surprise.step), 1));
  context.fillStyle = ink("panel");
  context.fillRect(0, 0, width, height);
  const { all, near } = bitsOfPixels(Math.ceil(width));
  for (const [values, colour] of [[near, ink("line")], [all, ink("soft")]]) {
    context.fillStyle = colour;
    values.forEach((bits, x) => context.fillRect(x, y(bits), 1, height - y(bits)));
  }
  context.fillStyle = ink("line");
  for (const tick of [1, 2]) context.fillRect(0, y(tick * surprise.step), width, 1);
  context.fillStyle = ink("strong");
  for (const { column, start } of surprise.peaks) {
    context.beginPath();
    const middle = xOf(start + tokens.column_s / 2, width);
    context.arc(middle, Math.max(y(surprise.bits[column]), 5), 5, 0, 2 * Math.PI);
    context.fill();
  }
}

function peakAt(time) {
  const slack = (PEAK_PIXELS * (view.to - view.from)) / rows.surprise.clientWidth;
  const distance = (peak) => Math.abs(peak.start + tokens.column_s / 2 - time);
  const nearest = [...surprise.peaks].sort((a, b) => distance(a) - distance(b))[0];
  return nearest && distance(nearest) <= slack ? nearest : null;
}

let lastPeak = -1; // that was played

function playPeak(peak) {
  lastPeak = surprise.peaks.indexOf(peak);
  const [from, to] = [-BEFORE_PEAK, AFTER_PEAK].map((count) => peak.start + count * tokens.column_s);
  player.play(Math.max(from, startS), Math.min(to, endS), byId("loop").checked);
  reveal(peak.start);
}

// Play the peak before (-1) or after (1) the one that was played last.
function stepPeak(direction) {
  const count = surprise?.peaks.length;
  if (!count) return;
  const next = lastPeak < 0 && direction < 0 ? count - 1 : lastPeak + direction;
  playPeak(surprise.peaks[(next + count) % count]);
}

const bitsText = (bits) => `${bits.toFixed(bits < 10 ? 1 : 0)} bits`;

// The bits of a column, in words; nothing where it has none.
function columnBitsText(column) {
  const bits = surprise?.bits[column];
  return Number.isFinite(bits) ? bitsText(bits) : "";
}

function surpriseTip(time) {
  const column = columnAt(time);
  const words = column === null ? "" : columnBitsText(column);
  if (!words) return `${timeText(time)}: no bits`;
  const gain = surprise.gain[column];
  const saved = gain >= 0.1 ? `\nthe longer memory saves ${bitsText(gain)}` : "";
  const peak = peakAt(time);
  const unusual = peak
    ? `\nunusual here: ${bitsText(peak.above)} above what was usual; click to hear it`
    : "";
  return `${timeText(columnStart(column))}: ${words}${saved}${unusual}`;
}

// The axis, and a button for each peak.
function labelSurprise() {
  for (const name of ["surprise", "surprise-name", "peaks"]) byId(name).hidden = !surprise;
  if (!surprise) return;
  byId("surprise-name").replaceChildren(
    ...[0, 1, 2, 3].map((step) => {
      const unit = step < 3 ? "" : innerWidth > 600 ? " bits a column" : " bits";
      const label = make("span", { textContent: `${Number((step * surprise.step).toFixed(3))}${unit}` });
      label.style.top = `${[92, 67, 35, 9][step]}%`;
      return label;
    }),
  );
  const { peaks } = surprise;
  byId("peaks").replaceChildren(
    peaks.length ? "Unusual here:" : "No moment here is far from what is usual.",
    ...peaks.map((peak) => {
      const when = columnTimeText(peak.start);
      const words = `Play what is unusual at ${when}: ${bitsText(peak.above)} above what was usual`;
      return button(when, () => playPeak(peak), { title: words, ariaLabel: words });
    }),
  );
}
