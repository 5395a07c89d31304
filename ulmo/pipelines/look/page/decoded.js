// What a code decodes to, as sound: a sine for each bin of a band, as loud as the picture has it.

const SLOWER = 8; // than at the player's speed: 40 ms take a third of a second
const MOST_MADE_S = 2;
const MADE_RATE = 48000;
const MOST_BANDS = 4; // that have a button, the most used ones

// The bytes of a code's patch: for each frame, the bins of one band, the lowest first.
function patchOf(code, band) {
  const { width: frames, height: bins } = given.code_picture;
  const number = codes.indexOf(code);
  const left = (number % PATCHES_IN_ROW) * frames;
  const top = Math.floor(number / PATCHES_IN_ROW) * bins;
  const stride = Math.ceil(bins / tokens.bands);
  const end = Math.min((band + 1) * stride, bins);
  return Array.from({ length: frames }, (_, frame) =>
    Array.from({ length: end - band * stride }, (_, bin) => {
      const y = top + bins - 1 - (band * stride + bin);
      return codePixels.data[4 * (y * codePixels.width + left + frame)];
    }));
}

// A number from 0 to 1 that is the same each time: sines that begin together would click.
const phaseOf = (number) => (number * 0.6180339887) % 1;

// A mono sound of a code in a band, at MADE_RATE: as low as the player's speed makes it, and slower.
function madeSound(code, band) {
  const patch = patchOf(code, band);
  const [low, high] = tokens.edges_hz.slice(band, band + 2);
  const bins = patch[0].length;
  const seconds = Math.min((SLOWER * tokens.column_s) / player.speed, MOST_MADE_S);
  const length = Math.round(seconds * MADE_RATE);
  const samples = new Float32Array(length);
  const gainOf = (byte) => 10 ** (((byte / 255 - 1) * given.code_picture.range_db) / 20);
  for (let bin = 0; bin < bins; bin += 1) {
    const hertz = (low + ((bin + 0.5) / bins) * (high - low)) * player.speed;
    if (hertz >= MADE_RATE / 2 || hertz / player.speed > topHz) continue;
    const gains = patch.map((frame) => gainOf(frame[bin]));
    const step = (2 * Math.PI * hertz) / MADE_RATE;
    const phase = 2 * Math.PI * phaseOf(bin + 1);
    for (let place = 0; place < length; place += 1) {
      const at = Math.min(Math.max((place / length) * patch.length - 0.5, 0), patch.length - 1);
      const before = Math.floor(at);
      const after = Math.min(before + 1, patch.length - 1);
      const gain = gains[before] + (at - before) * (gains[after] - gains[before]);
      samples[place] += gain * Math.sin(step * place + phase);
    }
  }
  return faded(samples);
}

// As loud as any other, without clicks at its ends.
function faded(samples) {
  const peak = samples.reduce((most, each) => Math.max(most, Math.abs(each)), 1e-9);
  const edge = 0.01 * MADE_RATE;
  return samples.map((each, place) => {
    const inside = Math.min(place, samples.length - 1 - place) / edge;
    return (0.5 * each * Math.min(inside, 1)) / peak;
  });
}

// Buttons that play what a code decodes to, one for each band where it is used most.
function decodedButtons(code, used) {
  if (given.code_picture.range_db === null) return [];
  const most = [...used].sort((a, b) => code.bands[b] - code.bands[a]).slice(0, MOST_BANDS);
  const buttons = most.sort((a, b) => a - b).map((band) =>
    button(`\u25b6 ${bandsText(band)}`, () => player.playMade(madeSound(code, band), MADE_RATE),
      { className: "chip", ariaLabel: `Play what code ${code.id} decodes to at ${bandsText(band)}` }));
  return [make("p", { className: "group" }, "Decoded, slowly ", ...buttons)];
}
