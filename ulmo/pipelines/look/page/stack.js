// The rows that share one time axis: overview, ruler, cursor; pointers, wheel, clicks and drags.

const CLICK_PIXELS = 4; // a pointer that moved less has clicked

const stack = byId("stack");
const rows = Object.fromEntries(
  ["overview", "ruler", "spectrogram", "tokens", "surprise", "lanes"].map((name) => [name, byId(name)]),
);

function drawRuler() {
  const { context, width } = prepared(rows.ruler);
  const step = timeStep(((view.to - view.from) / width) * 80);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  context.fillStyle = ink("soft");
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (let tick = Math.ceil(view.from / step); tick * step <= view.to; tick += 1) {
    const x = xOf(tick * step, width);
    context.fillRect(x, 15, 1, 7);
    const words = timeText(tick * step, digits, endS >= 60);
    const half = context.measureText(words).width / 2;
    context.fillText(words, Math.min(Math.max(x - half, 0), width - 2 * half), 8);
  }
}

const overviewPicture = make("canvas");

// The spectrogram of the whole recording, for drawOverview.
function paintOverview() {
  const [width, height] = [rows.overview.clientWidth, rows.overview.clientHeight];
  Object.assign(overviewPicture, { width, height });
  const table = colourTable(view.theme, byteOfDb(view.floor), byteOfDb(view.ceiling));
  const rowAt = (share) => rowOfHertz((1 - share) * highestShown());
  const box = { x: 0, y: 0, width, height };
  paintLevels(overviewPicture.getContext("2d"), startS, endS, box, table, rowAt);
}

// The whole recording, with what the other rows show of it, and the places of the code that is lit.
function drawOverview() {
  const { context, width, height } = prepared(rows.overview);
  if (overviewPicture.width) context.drawImage(overviewPicture, 0, 0, width, height);
  const scale = width / (endS - startS);
  if (view.lit !== null) {
    context.fillStyle = ink("cursor");
    for (const [column] of placesOf(view.lit)) {
      context.fillRect((columnStart(column) - startS) * scale, 0, 1.5, height);
    }
  }
  context.strokeStyle = ink("strong");
  context.lineWidth = 2;
  const left = (view.from - startS) * scale;
  const length = Math.max((view.to - view.from) * scale, 4);
  context.strokeRect(left + 1, 1, length - 2, height - 2);
  context.fillStyle = ink("cursor");
  context.fillRect((player.time - startS) * scale - 1, 0, 2, height);
}

function drawCursor() {
  const width = rows.spectrogram.clientWidth;
  const x = xOf(player.time, width);
  byId("cursor").style.transform = `translateX(${x}px)`;
  byId("cursor").hidden = x < 0 || x > width;
  byId("clock").textContent = `${timeText(player.time)} of ${timeText(endS, 1)}`;
}

// Where a pointer is: the row, the time, and the place from its top in pixels.
function placeOf(event) {
  const row = Object.keys(rows).find((name) => rows[name] === event.target);
  if (!row) return null;
  const bounds = event.target.getBoundingClientRect();
  const x = event.clientX - bounds.left;
  const y = event.clientY - bounds.top;
  const share = Math.min(Math.max(x / bounds.width, 0), 1);
  const time = row === "overview"
    ? startS + share * (endS - startS)
    : timeAt(share);
  return { row, time, y, share: y / bounds.height, event };
}

// Play from the column at a time, and show what was clicked.
function clicked({ row, time, y, share }) {
  const column = columnAt(time);
  if (row === "lanes") {
    clickLane(time, y);
    return;
  }
  const peak = row === "surprise" ? peakAt(time) : null;
  if (peak) {
    playPeak(peak);
    return;
  }
  player.play(column === null ? time : Math.max(columnStart(column), startS));
  reveal(player.time);
  if (row === "tokens" && column !== null) {
    view.band = bandOfShare(share);
    light(idAt(column, view.band));
  }
  if (row === "spectrogram") selectBoxAt(time, hertzOfShare(share));
}

let held = null; // where a pointer went down
const fingers = new Map(); // horizontal places of the pointers that are down, by their ids
let pinched = null; // two fingers: how far apart they were, and the window and time between them

// Two fingers zoom by their distance, and move by their middle.
function fingersNow() {
  const [one, other] = [...fingers.values()];
  const bounds = rows.spectrogram.getBoundingClientRect();
  const share = ((one + other) / 2 - bounds.left) / bounds.width;
  return { apart: Math.max(Math.abs(one - other), 20), share: Math.min(Math.max(share, 0), 1) };
}

function beginPinch() {
  const { apart, share } = fingersNow();
  pinched = { apart, time: timeAt(share), length: view.to - view.from };
  held = null;
  showTip(null);
}

function pinch() {
  const { apart, share } = fingersNow();
  const least = Math.min(LEAST_COLUMNS * tokens.column_s, endS - startS);
  const wanted = (pinched.length * pinched.apart) / apart;
  const length = Math.min(Math.max(wanted, least), endS - startS);
  const from = pinched.time - share * length;
  showWindow(from, from + length);
}

function forgetFinger(event) {
  fingers.delete(event.pointerId);
  if (!fingers.size) pinched = null;
}

function pointerDown(event) {
  const place = placeOf(event);
  if (!place || event.button !== 0) return;
  event.target.setPointerCapture(event.pointerId);
  view.hasKeys = false;
  fingers.set(event.pointerId, event.clientX);
  if (fingers.size === 2) beginPinch();
  if (pinched) return;
  held = { ...place, x: event.clientX, from: view.from, moved: false };
}

function pointerMove(event) {
  const place = placeOf(event);
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.clientX);
  if (pinched) {
    if (fingers.size === 2) pinch();
    return;
  }
  if (!held) {
    showTip(place);
    return;
  }
  held.moved ||= Math.abs(event.clientX - held.x) >= CLICK_PIXELS;
  if (!held.moved || !place) return;
  showTip(null);
  const width = event.target.clientWidth;
  const isMoving = (byId("drag").value === "move") !== event.shiftKey;
  if (held.row === "overview") {
    const half = (view.to - view.from) / 2;
    showWindow(place.time - half, place.time + half);
  } else if (["spectrogram", "ruler"].includes(held.row) && !isMoving) {
    selectBetween(held, place);
  } else {
    const moved = ((event.clientX - held.x) / width) * (view.to - view.from);
    showWindow(held.from - moved, held.from - moved + view.to - view.from);
  }
}

// Select from one place to another; on the ruler, or by a flat drag, all frequencies.
function selectBetween(one, other) {
  const [from, to] = [one.time, other.time].sort((a, b) => a - b);
  const isFlat = one.row === "ruler" || Math.abs(other.y - one.y) < CLICK_PIXELS;
  const shares = isFlat ? [0, 0] : [one.share, other.share];
  const hertz = shares.map((share) => hertzOfShare(Math.min(Math.max(share, 0), 1)));
  select({ from, to, low: Math.min(...hertz), high: Math.max(...hertz) });
}

function pointerUp(event) {
  if (held && !held.moved) clicked(held);
  held = null;
  forgetFinger(event);
  if (event.pointerType === "touch") showTip(null);
}

function wheeled(event) {
  const place = placeOf(event);
  if (!place || event.ctrlKey) return;
  const isWhole = view.from <= startS && view.to >= endS;
  if (isWhole && event.deltaY > 0 && !event.shiftKey) return; // the page scrolls on
  event.preventDefault();
  const pixels = event.deltaMode === 1 ? 30 : 1; // a line, or a pixel
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const moved = (event.deltaX || event.deltaY) * pixels;
    pan((moved / event.target.clientWidth) * (view.to - view.from));
  } else {
    zoom(Math.exp(-event.deltaY * pixels * 0.002), place.time);
  }
}

// What is under the pointer, beside it.
function showTip(place) {
  const words = place && tipText(place);
  const tip = byId("tip");
  tip.hidden = !words;
  if (!words) return;
  tip.textContent = words;
  const { clientX, clientY } = place.event;
  const left = Math.min(clientX + 14, innerWidth - tip.offsetWidth - 6);
  const isLow = clientY + 24 + tip.offsetHeight > innerHeight;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${isLow ? clientY - tip.offsetHeight - 12 : clientY + 18}px`;
}

function tipText({ row, time, share, y }) {
  const when = timeText(time);
  if (row === "tokens") {
    const column = columnAt(time);
    if (column === null) return `${when}: time that was left out`;
    return `${timeText(columnStart(column))}: ${tokenText(column, bandOfShare(share))}`;
  }
  if (row === "spectrogram") return spectrogramTip(time, hertzOfShare(share));
  if (row === "surprise") return surpriseTip(time);
  if (row === "lanes") return laneTip(time, y);
  return when;
}

function listenToPointers() {
  stack.addEventListener("pointerdown", pointerDown);
  stack.addEventListener("pointermove", pointerMove);
  stack.addEventListener("pointerup", pointerUp);
  stack.addEventListener("pointercancel", (event) => {
    held = null;
    forgetFinger(event);
  });
  stack.addEventListener("pointerleave", () => showTip(null));
  stack.addEventListener("wheel", wheeled, { passive: false });
}
