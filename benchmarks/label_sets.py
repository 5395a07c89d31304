"""Sounds whose labels can be judged from another recording, and those whose labels cannot, and why.

Every corpus below AUDIO_ROOT is either a set (or several), or left out with a reason. A set needs
two labels that occur in two recordings each. A share is shown only for JUDGED items or more.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.heldout import ABX_SETS, MAX_ITEMS, MAX_SECONDS
from recipes.recipe import Recipe
from ulmo.arrays import Array
from ulmo.config import UserError
from ulmo.evaluation.abx import subsample
from ulmo.pipelines.evaluate.labelled import Sounds, find_labelled

LABELS = 2  # labels that two recordings have, at least
JUDGED = 20  # items, at least, for a share: one of 20 moves it by 5 points
TRIM_DB = 30  # sound that is quieter than the loudest 10 ms by this is cut off at both ends
# Labels that do not say what is heard.
NO_KIND = {"bat:mixed", "bat:unlabelled", "birds", "soundscape", "underwater_ambient"}


class LabelSet(NamedTuple):
    """Labelled items; `source` of an item is what its neighbour never shares."""

    title: str
    corpus: str
    by: str  # the word for a source
    items: list[Any]

    def read(self, root: Path, sample_rate: int) -> Sounds:
        """The sounds without the silence around them. UserError if one cannot be read."""
        found = Sounds.read(
            root / self.corpus, self.items, sample_rate=sample_rate, max_seconds=MAX_SECONDS
        )
        if found.refused:
            raise UserError(f"{self.corpus}: {found.refused[0].path} cannot be read")
        kept = [one._replace(samples=trim(one.samples, sample_rate)) for one in found.sounds]
        return found._replace(sounds=kept)

    def labels(self) -> dict[str, int]:
        """The labels that two sources have, and the number of their items."""
        sources: dict[str, set[str]] = defaultdict(set)
        items: dict[str, int] = defaultdict(int)
        for item in self.items:
            sources[item.label].add(item.source)
            items[item.label] += 1
        return {label: items[label] for label in sorted(sources) if len(sources[label]) > 1}


def trim(samples: Array, sample_rate: int) -> Array:
    """Samples (n,) from the first to the last 10 ms that are within TRIM_DB of the loudest."""
    size = sample_rate // 100
    blocks = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    power = np.square(blocks).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-TRIM_DB / 10))
    return samples[loud[0] * size : (loud[-1] + 1) * size]


# By file name: the labels of the three kits differ, and some of drumkit.xml are of another sound (a
# semi-open hi-hat is `Closed HH`, an open one `Pedal HH`).
STROKES = {
    "kick": r"bassdrum|_bd_|drum_bass|heavy_kick",
    "snare": r"_snare|_sd_",
    "stick": r"stick-rim|_rs_",
    "roll": r"_sr_|drum_roll",
    "tom": r"_tom|_t[12]_|_ft_",
    "closed hi-hat": r"hihat-closed|_hh_\d|cymbal_closed",
    "pedal hi-hat": r"_hh_p|cymbal_pedal",
    "open hi-hat": r"hihat-open|_ho_|cymbal_open",
    "crash": r"__crash\d?\.|_cc_",
    "ride": r"__ride\d|_rc_",
    "cowbell": r"_cb\.|cowbell",
}
# Excerpts that a tape joins: its noise changes between them. The files S_33, S_33b and FO-S33-R are
# one recording. All other types are of one excerpt.
EXCERPTS = {
    "FO-S33-R": "S33 R",
    "FO-S33-RJ-a": "S33 RJ 1",
    "FO-S33-RJ-b": "S33 RJ 1",
    "FO-S33-RJ-c": "S33 RJ 2",
    "FO-S33-RJ-d": "S33 RJ 3",
    "FO-S40-R-a": "S40 1",
    "FO-S40-R-b": "S40 2",
}


class _Known(NamedTuple):
    """How the items of a set follow from the rows of labels.csv."""

    title: str
    corpus: str
    by: str
    column: str | None = None  # of the source; None: the file
    # The label of a file, given its label; None: no item of the set.
    label: Callable[[str, str], str | None] = lambda name, label: label
    # The source of a file, given its label and its source.
    source: Callable[[str, str, str], str] = lambda name, label, source: source


def _letter(kind: str) -> Callable[[str, str], str | None]:
    """Labels in Latin letters of one kind of klettres."""
    return lambda name, label: label if f"_{kind}_" in name and label.isascii() else None


def _stroke(name: str, label: str) -> str | None:
    return next((kind for kind, names in STROKES.items() if re.search(names, name)), None)


SETS = {
    "digits": _Known("digits, another speaker", "fsdd", "speaker", "extra:speaker"),
    "takes": _Known("digits, another take", "fsdd", "take"),
    "esc10": _Known("ESC-10", "esc10", "uploader"),
    "letters": _Known(
        "letters' names", "klettres", "language", "extra:lang", label=_letter("alpha")
    ),
    "syllables": _Known("syllables", "klettres", "language", "extra:lang", label=_letter("syllab")),
    "percussion": _Known("percussion", "percussion", "kit", "extra:kit", label=_stroke),
    "calls": _Known(
        "killer whales' calls",
        "srkw_calls",
        "excerpt",
        # The files S_* begin with a voice that says the type.
        label=lambda name, label: label if name.startswith("FO-") else None,
        source=lambda name, label, source: EXCERPTS.get(name.partition(".")[0], label),
    ),
}


class Found(NamedTuple):
    """What can be judged, and what cannot."""

    shares: dict[str, LabelSet]  # of JUDGED items or more
    counts: dict[str, LabelSet]  # of fewer
    left_out: dict[str, str]  # set or corpus, and why


def find_sets(recipe: Recipe, root: Path, out: Path) -> Found:
    """All sets below AUDIO_ROOT; `divide` wrote the labels of what the recipe holds out."""
    found = Found({}, {}, {})
    known = {one.corpus for one in SETS.values()}
    learned = {corpus.folder for corpus in recipe.corpora}
    sets = {name: one for name, one in SETS.items() if (root / one.corpus).is_dir()}
    for corpus in sorted(path.parent.name for path in root.glob("*/labels.csv")):
        if corpus not in known and corpus in learned:
            found.left_out[corpus] = "since the tokenizer that ships learned from it"
        elif corpus not in known:
            sets[corpus] = _Known(corpus, corpus, "recording")
    for name, one in sets.items():
        items = LabelSet(one.title, one.corpus, one.by, _items(one, root, out))
        labels = items.labels()
        if len(labels) < LABELS:
            of = f"but {', '.join(labels)}" if labels else "at all"
            found.left_out[one.title] = f"since no label {of} has two recordings"
        else:
            (found.shares if sum(labels.values()) >= JUDGED else found.counts)[name] = items
    return found


def _items(known: _Known, root: Path, out: Path) -> list[Any]:
    corpus = root / known.corpus
    held = out / f"{known.corpus}.csv" if known.corpus in ABX_SETS else corpus / "labels.csv"
    uploaders = read_uploaders(corpus / "LICENSE.txt") if known.by == "uploader" else {}
    items = []
    for item in find_labelled(corpus, held, None, known.column):
        label = known.label(item.path.name, item.label)
        if label is None or label in NO_KIND or item.end_s is not None:
            continue  # parts of recordings have labels of their own
        source = known.source(item.path.name, label, item.source or item.path.as_posix())
        items.append(item._replace(label=label, source=uploaders.get(item.path.name, source)))
    kept = subsample(
        [item.label for item in items],
        [item.source for item in items] if known.column else None,
        max_items=MAX_ITEMS,
    )
    return [items[index] for index in kept]


def read_uploaders(licence: Path) -> dict[str, str]:
    """Who uploaded each file of ESC-10: clips of one person's uploads may be of one recording."""
    row = re.compile(r"\[(\d-\d+-[A-Z]\.ogg)\].*?freesound\.org/people/([^/]+)/")
    lines: Iterable[str] = licence.read_text(encoding="utf-8").splitlines()
    people = dict(match.groups() for match in map(row.search, lines) if match)
    with (licence.parent / "labels.csv").open(encoding="utf-8", newline="") as file:
        names = [line["file"] for line in csv.DictReader(file)]
    return {name: people[name.rpartition("_")[2]] for name in names}
