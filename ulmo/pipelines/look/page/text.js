// Words and elements. Foreign text, such as a recording's name, becomes text and never HTML.

const byId = (id) => document.getElementById(id);

// An element with some properties, and children: elements or texts.
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const button = (words, action, properties = {}) =>
  make("button", { type: "button", textContent: words, onclick: action, ...properties });

// 12.345 s, or 1:02.345 from a minute on, or always. `digits` follow the point.
function timeText(seconds, digits = 3, isClock = false) {
  if (seconds < 60 && !isClock) return `${seconds.toFixed(digits)} s`;
  const minutes = Math.floor(seconds / 60);
  const left = (seconds - 60 * minutes).toFixed(digits);
  return `${minutes}:${left.padStart(digits ? digits + 3 : 2, "0")}`;
}

// How long something lasts: 340 ms, 1.20 s.
const lengthText = (seconds) =>
  seconds < 1 ? `${Number((1000 * seconds).toPrecision(3))} ms` : `${seconds.toFixed(2)} s`;

const hertzText = (hertz) =>
  hertz < 1000 ? `${Math.round(hertz)} Hz` : `${Number((hertz / 1000).toPrecision(3))} kHz`;

const rangeText = (low, high) =>
  high < 1000
    ? `${Math.round(low)} to ${Math.round(high)} Hz`
    : `${(low / 1000).toFixed(1)} to ${(high / 1000).toFixed(1)} kHz`;

// A share as people write it; never 0 % for what is there.
function shareText(share) {
  const percent = 100 * share;
  if (percent >= 10) return `${percent.toFixed(0)} %`;
  return percent >= 0.1 ? `${percent.toFixed(1)} %` : "less than 0.1 %";
}

const countText = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// The middle of some numbers.
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Round steps between ticks: the least of 1, 2, 5 times a power of ten that is `least` or more.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((each) => each * power >= least * (1 - 1e-9));
}

// The same for times, which have quarters of a minute.
const timeStep = (least) =>
  least <= 10 ? roundStep(least) : [15, 30, 60, 120, 300].find((each) => each >= least) ?? 600;
