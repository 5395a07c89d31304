// A selection as a file: the tables of ulmo regions (docs/regions.md), or its sound.

const CSV_FIELDS = ["recording", "channel", "start_s", "end_s", "low_hz", "high_hz", "start_utc"];
const RAVEN_FIELDS = [
  "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
  "High Freq (Hz)", "Begin File", "Begin UTC",
];

// The time of a moment, as other tables of ulmo have it; empty if it is not known.
function utcAt(seconds) {
  if (!recording.start_utc) return "";
  const milliseconds = Date.parse(recording.start_utc) + 1000 * seconds;
  return new Date(milliseconds).toISOString().replace("Z", "000Z");
}

// Foreign text in a table: one that would be a formula has an apostrophe before it.
function csvCell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const tabless = (text) => text.replace(/[\t\r\n]/g, " ");

function csvTable({ from, to, low, high }) {
  const channel = recording.channel ?? "";
  const times = [from.toFixed(6), to.toFixed(6), low.toFixed(1), high.toFixed(1)];
  const row = [csvCell(recording.name), channel, ...times, utcAt(from)];
  return `${CSV_FIELDS.join(",")}\r\n${row.join(",")}\r\n`;
}

function ravenTable({ from, to, low, high }) {
  const channel = (recording.channel ?? 0) + 1;
  const box = [from.toFixed(9), to.toFixed(9), low.toFixed(6), high.toFixed(6)];
  const row = [1, "Spectrogram 1", channel, ...box, tabless(recording.name), utcAt(from)];
  return `${RAVEN_FIELDS.join("\t")}\n${row.join("\t")}\n`;
}

function audacityLabels({ from, to, low, high }) {
  const label = tabless(recording.name);
  return `${from.toFixed(6)}\t${to.toFixed(6)}\t${label}\n\\\t${low.toFixed(6)}\t${high.toFixed(6)}\n`;
}

// PCM of 24 bits at the recording's own speed and level, as far as Opus keeps them.
function wavFile({ from, to }) {
  const { slowed, gain_db: gain } = given.sound;
  const { buffer } = player;
  const rate = buffer.sampleRate;
  const first = Math.floor((from - startS) * slowed * rate);
  const end = Math.min(Math.ceil((to - startS) * slowed * rate), buffer.length);
  const samples = buffer.getChannelData(0).subarray(first, end);
  const bytes = new DataView(new ArrayBuffer(44 + 3 * samples.length));
  const letters = (place, text) => {
    for (const [number, letter] of [...text].entries()) {
      bytes.setUint8(place + number, letter.charCodeAt(0));
    }
  };
  letters(0, "RIFF");
  bytes.setUint32(4, 36 + 3 * samples.length, true);
  letters(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // one channel
  bytes.setUint32(24, rate * slowed, true);
  bytes.setUint32(28, 3 * rate * slowed, true);
  bytes.setUint16(32, 3, true);
  bytes.setUint16(34, 24, true);
  letters(36, "data");
  bytes.setUint32(40, 3 * samples.length, true);
  const scale = 10 ** (-gain / 20) * 8388607;
  samples.forEach((sample, number) => {
    const value = Math.round(Math.min(Math.max(sample * scale, -8388608), 8388607));
    bytes.setUint16(44 + 3 * number, value & 0xffff, true);
    bytes.setInt8(46 + 3 * number, value >> 16);
  });
  return bytes.buffer;
}

const SAVING = {
  csv: { ending: ".csv", type: "text/csv", make: csvTable },
  raven: { ending: ".selections.txt", type: "text/plain", make: ravenTable },
  audacity: { ending: ".labels.txt", type: "text/plain", make: audacityLabels },
  wav: { ending: ".wav", type: "audio/wav", make: wavFile },
};

function saveSelection(kind, chosen) {
  const { ending, type, make: write } = SAVING[kind];
  const blob = new Blob([write(chosen)], { type });
  const stem = recording.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_");
  const [from, to] = [chosen.from, chosen.to].map((time) => time.toFixed(COLUMN_DIGITS));
  const name = `${stem}_${from}-${to}s${ending}`;
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
