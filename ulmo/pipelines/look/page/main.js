// Puts the page together.

const SPEEDS = [[0.05, "1/20"], [0.1, "1/10"], [1, "1"], [8, "8"]];

function showHeader() {
  byId("name").textContent = recording.name;
  byId("lines").append(
    ...recording.lines.map(({ text, warn }) =>
      make("li", { textContent: text, className: warn ? "warn" : "" })),
  );
}

// Links to other pages, where pages are served.
function showLinks() {
  if (!given.links) return;
  const words = { all: "All recordings", earlier: "Earlier part", later: "Later part" };
  byId("links").hidden = false;
  byId("links").append(
    ...Object.entries(words)
      .filter(([name]) => given.links[name])
      .map(([name, text]) => make("a", { href: given.links[name], textContent: text })),
  );
}

function applyTheme() {
  document.documentElement.dataset.theme = view.theme;
}

function setUpBar() {
  byId("play").onclick = playOrPause;
  byId("speed").append(
    ...SPEEDS.map(([value, words]) => make("option", { value, textContent: words })),
  );
  byId("speed").value = String(player.speed);
  byId("speed").onchange = () => player.setSpeed(Number(byId("speed").value));
  byId("nearer").onclick = () => zoom(1.5, player.time);
  byId("farther").onclick = () => zoom(1 / 1.5, player.time);
  byId("whole").onclick = () => showWindow(startS, endS);
  if (matchMedia("(pointer: coarse)").matches) byId("drag").value = "move";
  byId("scale").onchange = () => {
    view.scale = byId("scale").value;
    labelFrequencies();
    redrawAll();
  };
  for (const name of ["regions", "repeats", "grid"]) byId(`show-${name}`).onchange = redraw;
  byId("theme").onclick = () => {
    view.theme = view.theme === "dark" ? "light" : "dark";
    applyTheme();
    listCodes();
    redrawAll();
  };
  byId("view").open = innerWidth > 600;
  const { low_db: lowest, high_db: highest } = given.spectrogram;
  for (const name of ["floor", "ceiling"]) {
    const slider = byId(name);
    [slider.min, slider.max, slider.value] = [lowest, highest, view[name]];
    const show = () => { byId(`${name}-shown`).textContent = `${view[name]} dB`; };
    slider.oninput = () => {
      view[name] = Number(slider.value);
      show();
      redrawAll();
    };
    slider.onchange = listCodes;
    show();
  }
}

// What is at the cursor, for people who do not use a pointer.
function readOut() {
  const column = columnAt(player.time);
  const when = timeText(player.time);
  const utc = recording.start_utc ? `, ${utcAt(player.time).slice(11, 23)} UTC` : "";
  const what = column === null ? "no token" : tokenText(column, view.band);
  const bits = column === null ? "" : columnBitsText(column);
  const words = [what, ...(bits ? [`${bits} in this column`] : [])].join("; ");
  byId("readout").ariaLive = player.isPlaying ? "off" : "polite"; // nobody can follow it by ear
  byId("readout").textContent = `Cursor at ${when}${utc}: ${words}`;
}

function showPlaying() {
  byId("play").textContent = player.isPlaying ? "Pause" : "Play";
  document.documentElement.dataset.playing = player.isPlaying ? "yes" : "no";
  redraw();
}

// While it plays, the cursor moves; the window follows it.
function follow() {
  if (!player.isPlaying) return;
  if (player.time > view.to && view.to < endS) {
    showWindow(player.time, player.time + view.to - view.from);
  }
  redraw();
}

async function start() {
  applyTheme();
  showHeader();
  showLinks();
  setUpBar();
  listKeys();
  labelBands();
  labelSurprise();
  labelLanes();
  listenToPointers();
  listenToSelection();
  listenToCodes();
  await Promise.all([loadLevels(), loadCodes(), loadLikeness()]);
  listClasses();
  pictures.push(paintOverview);
  drawings.push(drawRuler, drawSpectrogram, drawTokens, drawSurprise, drawLanes, drawSelection);
  drawings.push(drawOverview, drawMatches, drawCursor, readOut, follow);
  labelFrequencies();
  listCodes();
  new ResizeObserver(() => { labelFrequencies(); redrawAll(); }).observe(stack);
  stack.addEventListener("focus", redraw);
  stack.addEventListener("blur", redraw);
  player.onChange = showPlaying;
  redrawAll();
  await player.load();
  document.documentElement.dataset.ready = "yes";
}

// For tests, and for whoever looks at a page in a browser's console.
window.ulmo = {
  given, player, view, idAt, columnStart, columnAt, xOf, light, select, showWindow, surprise,
  findLike, madeSound,
};

start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = `This page cannot be shown here: ${error.message}. Try a newer browser.`;
});
