// The selection: a stretch of time and frequency, by drag, by keys, or by numbers.

let selection = null; // { from, to, low, high }

// Select a stretch; null for none. One without height has all frequencies.
function select(stretch) {
  const isFlat = stretch !== null && stretch.low >= stretch.high;
  const wanted = isFlat ? { ...stretch, low: 0, high: topHz } : stretch;
  selection = wanted;
  byId("selection").hidden = wanted === null;
  if (wanted === null) forgetMatches();
  if (wanted !== null) {
    byId("from").value = wanted.from.toFixed(3);
    byId("to").value = wanted.to.toFixed(3);
    byId("low").value = Math.round(wanted.low);
    byId("high").value = Math.round(wanted.high);
  }
  redraw();
}

function drawSelection() {
  const marked = byId("marked");
  marked.hidden = selection === null;
  if (selection === null) return;
  const width = rows.spectrogram.clientWidth;
  const left = Math.max(xOf(selection.from, width), -2);
  const right = Math.min(xOf(selection.to, width), width + 2);
  marked.hidden = right < 0 || left > width;
  marked.style.left = `${left}px`;
  marked.style.width = `${Math.max(right - left, 1)}px`;
}

// Put the begin or the end of the selection to the cursor.
function selectTo(edge) {
  const time = player.time;
  const old = selection ?? { from: time, to: Math.min(time + 1, endS), low: 0, high: topHz };
  const changed = { ...old, [edge]: time };
  if (changed.from > changed.to) changed[edge === "from" ? "to" : "from"] = time;
  select(changed);
}

function playSelection() {
  if (selection && selection.to > selection.from) {
    player.play(selection.from, selection.to, byId("loop").checked);
  }
}

// Play from the cursor; in a loop, the selection, or else the window.
function playOrPause() {
  if (player.isPlaying) player.pause();
  else if (byId("loop").checked && selection) playSelection();
  else if (byId("loop").checked) player.play(view.from, view.to, true);
  else player.play(player.time);
}

function readSelection() {
  const value = (name) => Number(byId(name).value);
  const inside = (time) => Math.min(Math.max(time, startS), endS);
  const [low, high] = [value("low"), value("high")].sort((a, b) => a - b);
  const from = inside(value("from"));
  const wanted = { from, to: Math.max(inside(value("to")), from), low, high };
  if (low === high) select(wanted);
  else selection = wanted;
  redraw();
}

function listenToSelection() {
  byId("selection").addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["from", "to", "low", "high"]) {
    byId(name).addEventListener("change", readSelection);
  }
  byId("play-selection").onclick = playSelection;
  byId("find-selection").onclick = findSelection;
  byId("clear-selection").onclick = () => select(null);
  byId("zoom-selection").onclick = () => {
    const around = 0.05 * (selection.to - selection.from);
    showWindow(selection.from - around, selection.to + around);
  };
  for (const each of document.querySelectorAll("[data-save]")) {
    each.onclick = () => saveSelection(each.dataset.save, selection);
  }
}
