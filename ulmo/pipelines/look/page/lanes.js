// What recurs: a lane for each class over time, and a card for each with sound and intervals.

const LANE_PIXELS = 24;

// After Okabe and Ito, for people who are colour-blind; their yellow is not seen on white.
const CLASS_COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#5b7fe0"];
const isAlone = (each) => each.number === null && each.kind !== "background";
const ALONE_COLOUR = "#8d959e"; // of what is in no class: no colour, as it is not of one kind
const classColour = (number) =>
  isAlone(classes[number]) ? ALONE_COLOUR : CLASS_COLOURS[number % CLASS_COLOURS.length];

function className(each, isLong = false) {
  if (isAlone(each)) return isLong ? "in no class" : "?";
  if (each.kind === "background") return isLong ? "background" : "hum";
  const word = each.kind === "impulses" ? (isLong ? "impulses " : "i") : isLong ? "class " : "";
  return `${word}${each.number}`;
}

// A name that is short enough for the edge of a narrow screen, in words.
function narrowName(each) {
  if (isAlone(each)) return "no class";
  if (each.number === null) return "hum";
  return `${each.kind === "impulses" ? "clicks" : "class"} ${each.number}`;
}

// What is played of an occurrence: it, and a little before and after.
function heardOf([from, to]) {
  const around = 1.5 * tokens.column_s;
  return [Math.max(from - around, startS), Math.min(to + around, endS)];
}

const playBox = (box) => {
  player.play(...heardOf(box), byId("loop").checked);
  reveal(box[0]);
};
const playClass = (each) => player.playAll(each.boxes.map(heardOf));

const MOST_LANES = 20;

// The classes that have a lane: the most frequent ones, in their order. What is in no class has one.
const laned = [...classes]
  .sort((a, b) => isAlone(b) - isAlone(a) || b.boxes.length - a.boxes.length)
  .slice(0, MOST_LANES)
  .sort((a, b) => classes.indexOf(a) - classes.indexOf(b));

function drawLanes() {
  rows.lanes.style.height = `${LANE_PIXELS * laned.length}px`;
  if (!laned.length) return;
  const { context, width } = prepared(rows.lanes);
  laned.forEach((each, lane) => {
    const top = lane * LANE_PIXELS;
    context.fillStyle = ink("panel");
    context.fillRect(0, top + 1, width, LANE_PIXELS - 2);
    context.fillStyle = classColour(classes.indexOf(each));
    for (const [from, to] of each.boxes) {
      if (to < view.from || from > view.to) continue;
      const left = xOf(from, width);
      context.fillRect(left, top + 4, Math.max(xOf(to, width) - left, 2), LANE_PIXELS - 8);
    }
  });
}

function labelLanes() {
  byId("lanes-name").replaceChildren(
    ...laned.map((each) => {
      const words = innerWidth > 600
        ? `${className(each, true)} \u00d7${each.boxes.length}`
        : narrowName(each);
      const label = button(words, () => playClass(each));
      label.title = `Play all of ${className(each, true)}`;
      label.setAttribute("aria-label", label.title);
      label.style.borderLeftColor = classColour(classes.indexOf(each));
      return label;
    }),
  );
}

function occurrenceAt(time, y) {
  const each = laned[Math.floor(y / LANE_PIXELS)];
  const slack = (3 * (view.to - view.from)) / rows.lanes.clientWidth; // three pixels
  const number = each?.boxes.findIndex(([from, to]) => time >= from - slack && time <= to + slack);
  return each && number >= 0 ? { each, number, box: each.boxes[number] } : null;
}

function clickLane(time, y) {
  const found = occurrenceAt(time, y);
  if (!found) {
    player.play(time);
    return;
  }
  const [from, to, low, high] = found.box;
  select({ from, to, low, high });
  playBox(found.box);
}

function laneTip(time, y) {
  const found = occurrenceAt(time, y);
  if (!found) return timeText(time);
  const { each, number, box } = found;
  const chance = each.false_per_hour[number];
  const more = isAlone(each) ? [matchText(each, number)] : [];
  if (chance !== null) more.push(oddsText(chance));
  return [
    `${className(each, true)}, ${number + 1} of ${each.boxes.length}: ${timeText(box[0])}, ` +
      `${lengthText(box[1] - box[0])}, ${rangeText(box[2], box[3])}`,
    ...more,
  ].join("\n");
}

// What an occurrence is most like, in words.
const matchText = (each, number) =>
  each.matches[number] ? `most like ${columnTimeText(each.matches[number][0])}` : "its parts are alike";

// How often chance gives something as sure, in words, from how many it gives in an hour.
function oddsText(perHour) {
  const onPage = (perHour * (endS - startS)) / 3600;
  if (onPage >= 0.95) {
    return `about ${Math.round(onPage)} such on a page of this length by chance`;
  }
  const hours = 1 / perHour;
  if (hours > 1000) return "less than one such in 1000 hours by chance";
  if (hours >= 1.95) return `about one such in ${Math.round(hours)} hours by chance`;
  return `about one such in ${countText(Math.max(Math.round(60 * hours), 1), "minute")} by chance`;
}

// The odds of a class: those of its surest occurrence.
function classOdds(each) {
  if (each.kind === "impulses") return "By chance, noise has at most about one such train in an hour.";
  if (each.number === null) return "";
  const known = each.false_per_hour.filter((one) => one !== null);
  return known.length ? `The surest of them: ${oddsText(Math.min(...known))}.` : "";
}

const FAST_S = 0.05; // a period below it is a rate to people

// How a class recurs, in words.
function recurrence(each) {
  const times = countText(each.boxes.length, "time");
  if (each.period) {
    const [period, jitter] = each.period;
    const rate = period < FAST_S ? `, ${Number((1 / period).toPrecision(3))} a second` : "";
    return `${times}, every ${lengthText(period)} (give or take ${lengthText(jitter)})${rate}`;
  }
  if (!each.intervals.length) return times;
  if (each.intervals.length === 1) {
    if (each.boxes.length !== 2) return times; // the other one is on another page
    return `It comes once more, ${lengthText(each.intervals[0])} later`;
  }
  return `${times}; the middle interval is ${lengthText(median(each.intervals))}, with no steady period`;
}

const MOST_ALONE = 12;

// What is in no class: each with what it is most like, the surest first.
function aloneCard(each, number) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = classColour(number);
  const bits = (place) => each.bits[place] ?? 0;
  const ranked = [...each.boxes.keys()].sort((a, b) => bits(b) - bits(a)).slice(0, MOST_ALONE);
  const most = ranked.length < each.boxes.length ? ` The ${MOST_ALONE} surest are listed.` : "";
  const play = ([from, to, low, high]) => {
    select({ from, to, low, high });
    playBox([from, to, low, high]);
  };
  const playButton = (box, words) => {
    const when = columnTimeText(box[0]);
    return button(`\u25b6 ${when}`, () => play(box), { ariaLabel: `${words} at ${when}` });
  };
  const isHere = (box) => box[0] >= startS && box[0] < endS;
  const lines = ranked.map((place) => {
    const match = each.matches[place];
    const words = match && isHere(match)
      ? ["most like ", playButton(match, "Play its match")]
      : [matchText(each, place)];
    const odds = each.false_per_hour[place];
    return make("p", { className: "group" }, playButton(each.boxes[place], "Play the sound"), ...words,
      ...(odds === null ? [] : [` (${oddsText(odds)})`]));
  });
  return make("article", { className: "card" },
    make("h3", {}, swatch, "In no class"),
    make("p", { textContent: "Each of these is like another place, or its own parts are alike, " +
      `but that does not make a class. Listen to both.${most}` }),
    ...lines);
}

function classCard(each, number) {
  if (isAlone(each)) return aloneCard(each, number);
  const lows = each.boxes.map((box) => box[2]);
  const highs = each.boxes.map((box) => box[3]);
  const range = rangeText(Math.min(...lows), Math.max(...highs));
  const lengths = each.boxes.map(([from, to]) => to - from);
  const medoid = each.boxes[each.medoid];
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = classColour(number);
  const title = className(each, true);
  const length = each.kind === "impulses" ? "" : `, ${lengthText(median(lengths))} long`;
  const picture = make("canvas", { role: "img", ariaLabel: `Spectrogram of ${title}` });
  const bars = make("canvas", { role: "img", ariaLabel: `Intervals of ${title}` });
  pictures.push(() => {
    drawMedoid(picture, medoid, classColour(number));
    if (bars.isConnected) drawIntervals(bars, each);
  });
  return make("article", { className: "card" },
    make("h3", {}, swatch, title[0].toUpperCase() + title.slice(1)),
    make("p", { textContent: `${recurrence(each)}. ${range}${length}. ${classOdds(each)}` }),
    make("div", { className: "pictures" },
      make("figure", {}, picture, `at ${timeText(medoid[0])}`),
      ...(each.intervals.length > 1 ? [make("figure", {}, bars, "intervals")] : []),
    ),
    make("p", { className: "group" },
      button("Play", () => playBox(medoid), { ariaLabel: `Play ${title}` }),
      button("Play all", () => playClass(each), { ariaLabel: `Play all of ${title}` }),
      button("Earlier", () => step(each, -1), { ariaLabel: `Play the one of ${title} before` }),
      button("Later", () => step(each, 1), { ariaLabel: `Play the next one of ${title}` }),
    ),
  );
}

// Play the occurrence before (-1) or after (1) the one that was played last.
const lastPlayed = new Map();
function step(each, direction) {
  const count = each.boxes.length;
  const number = ((lastPlayed.get(each) ?? each.medoid) + direction + count) % count;
  lastPlayed.set(each, number);
  const [from, to, low, high] = each.boxes[number];
  select({ from, to, low, high });
  playBox(each.boxes[number]);
}

function sized(canvas, width, height) {
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  return prepared(canvas);
}

function drawMedoid(canvas, [from, to, low, high], colour) {
  const { context, width, height } = sized(canvas, 190, 96);
  const around = Math.max((to - from) * 0.4, 4 * tokens.column_s);
  const [begin, end] = [Math.max(from - around, startS), Math.min(to + around, endS)];
  const top = Math.min(Math.max(2 * high, heardHz), topHz);
  const table = colourTable(view.theme, byteOfDb(view.floor), byteOfDb(view.ceiling));
  const box = { x: 0, y: 0, width, height };
  paintLevels(context, begin, end, box, table, (share) => rowOfHertz((1 - share) * top));
  const x = (time) => ((time - begin) / (end - begin)) * width;
  const y = (hertz) => (1 - hertz / top) * height;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.strokeRect(x(from), y(high) + 1, x(to) - x(from), y(low) - y(high) - 2);
}

function drawIntervals(canvas, each) {
  const { context, width, height } = sized(canvas, 110, 96);
  const values = each.intervals;
  if (!values.length) return;
  const most = 3 * median(values);
  const bars = new Array(22).fill(0);
  for (const value of values) {
    if (value < most) bars[Math.floor((value / most) * bars.length)] += 1;
  }
  const highest = Math.max(...bars);
  context.fillStyle = ink("soft");
  bars.forEach((bar, number) => {
    const tall = (bar / highest) * (height - 20);
    context.fillRect((number / bars.length) * width, height - 16 - tall, width / bars.length - 1, tall);
  });
  context.fillRect(0, height - 16, width, 1);
  context.font = "11px system-ui, sans-serif";
  context.fillText("0", 0, height - 3);
  const words = lengthText(most);
  context.fillText(words, width - context.measureText(words).width, height - 3);
}

function listClasses() {
  const real = classes.filter((each) => each.number !== null).length;
  const alone = classes.find(isAlone);
  const impulse = classes.some((each) => each.kind === "impulses")
    ? " An impulse is a sound of a few milliseconds, such as a click."
    : "";
  const most = laned.length < classes.length ? ` The ${MOST_LANES} most frequent have a lane.` : "";
  byId("repeats-words").textContent = real
    ? `${real} ${real === 1 ? "class" : "classes"} of sounds that come back. Some may be there by ` +
      `chance: listen to them. Click on a lane above to hear one of them.${impulse}${most}`
    : `No class of sounds was found that comes back in this recording.` +
      (alone ? " Some sounds have one place that is like them: they are in no class." : "");
  byId("repeats").className = "cards";
  byId("repeats").append(...classes.map(classCard));
}
