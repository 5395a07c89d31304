// Levels of the spectrogram: a byte for each column and row, and coarser ones for zooming out.

// Each entry holds half the columns of the one before; a column is the maximum of two, so that a
// short call stays visible. Column by column, the lowest frequency first.
const pyramid = [];
const levelRows = given.spectrogram.rows;

async function loadLevels() {
  const { pictures, columns } = given.spectrogram;
  const finest = new Uint8Array(columns * levelRows);
  let first = 0;
  for (const picture of pictures) {
    const grey = await greyPixels(picture);
    for (let y = 0; y < grey.height; y += 1) {
      const row = levelRows - 1 - y;
      for (let x = 0; x < grey.width; x += 1) {
        finest[(first + x) * levelRows + row] = grey.data[4 * (y * grey.width + x)];
      }
    }
    first += grey.width;
  }
  pyramid.push(finest);
  while (pyramid.at(-1).length > 512 * levelRows) pyramid.push(halved(pyramid.at(-1)));
}

// The pixels of a WebP picture, read without any request.
async function greyPixels(base64) {
  const blob = new Blob([bytesOf(base64)], { type: "image/webp" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function halved(levels) {
  const columns = levels.length / levelRows;
  const half = new Uint8Array(Math.ceil(columns / 2) * levelRows);
  for (let column = 0; column < columns; column += 1) {
    const from = column * levelRows;
    const to = (column >> 1) * levelRows;
    for (let row = 0; row < levelRows; row += 1) {
      if (levels[from + row] > half[to + row]) half[to + row] = levels[from + row];
    }
  }
  return half;
}

// Colours from faint to loud. Dark: magma; light: white to dark blue. Both also rise or fall evenly
// in lightness, so that they are read without colours, too.
const PALETTES = {
  dark: [
    [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122],
    [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191],
  ],
  light: [
    [255, 255, 255], [222, 238, 242], [172, 213, 224], [114, 180, 205], [73, 141, 184],
    [61, 98, 156], [61, 58, 118], [45, 29, 70], [18, 8, 26],
  ],
};

// A colour for each byte of a level, as a canvas has them, where `floor` and `ceiling` are bytes.
function colourTable(theme, floor, ceiling) {
  const anchors = PALETTES[theme];
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level += 1) {
    const share = Math.min(Math.max((level - floor) / Math.max(ceiling - floor, 1), 0), 1);
    const place = share * (anchors.length - 1);
    const lower = Math.min(Math.floor(place), anchors.length - 2);
    const [red, green, blue] = anchors[lower].map((value, part) =>
      Math.round(value + (anchors[lower + 1][part] - value) * (place - lower)));
    table[level] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return table;
}

const byteOfDb = (db) => {
  const { low_db: low, high_db: high } = given.spectrogram;
  return (255 * (db - low)) / (high - low);
};

const scratch = make("canvas");

// Draw the levels from `from` to `to` seconds into a box. `rowAt(share)` gives the row, from 0, of
// a place from the top (0) to the bottom (1) of the box.
function paintLevels(context, from, to, box, table, rowAt) {
  const columnS = given.spectrogram.column_s;
  const wanted = (to - from) / columnS;
  const fits = Math.max(Math.floor(Math.log2(wanted / box.width)), 0);
  const step = Math.min(fits, pyramid.length - 1);
  const levels = pyramid[step];
  const size = 2 ** step;
  const count = levels.length / levelRows;
  const first = Math.max(Math.floor((from - startS) / columnS / size), 0);
  const end = Math.min(Math.ceil((to - startS) / columnS / size) + 1, count);
  const columns = end - first;
  if (columns <= 0) return;
  const height = Math.max(Math.min(Math.round(box.height), 512), 1);
  const rows = Array.from({ length: height }, (_, y) => rowAt((y + 0.5) / height));
  const image = new ImageData(columns, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let x = 0; x < columns; x += 1) {
    const base = (first + x) * levelRows;
    for (let y = 0; y < height; y += 1) pixels[y * columns + x] = table[levels[base + rows[y]]];
  }
  scratch.width = columns;
  scratch.height = height;
  scratch.getContext("2d").putImageData(image, 0, 0);
  const scale = box.width / (to - from);
  const left = box.x + (startS + (first * size - 0.5) * columnS - from) * scale;
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  context.drawImage(scratch, left, box.y, columns * size * columnS * scale, box.height);
  context.restore();
}
