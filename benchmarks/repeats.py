"""Sounds that come back, found by `ulmo.sequence` and by what is there without it.

    python -m benchmarks.repeats AUDIO_ROOT WORK [--noise sea,forest,rain] [--snr 10] [--minutes 12]
        [--seeds 2027,3] [--method NAME] [--bundle FOLDER]

AUDIO_ROOT has the corpora fsdd, srkw_calls, klettres, and those of the noise. The tokenizer that
ships has heard speakers of fsdd: `--bundle` names one that was trained with the hold-out of
recipes/large.toml. Tokens and latents are kept in WORK. Constants were chosen on recordings of
seed 3; those of seed 2027 are fresh, except for hours of noise (docs/repeats.md).
Peers: windows of MFCC and deltas, compared by cosine in one product of matrices, or by librosa's
recurrence; columns of ids that come back exactly; and stumpy, if it is installed, on the energy of
each column, and on its MFCC. Each method is called once before it is timed, so that compiling does
not count.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.planted import NOISES, RATE, Event, plant, shaped_noise
from benchmarks.repeat_measures import SLACK_S, Found, as_row, judge
from benchmarks.report import ROOT, machine, names_of, parser_of, publish, table
from ulmo.jobs.spread import Spread
from ulmo.listening.channels import Wish, material_of
from ulmo.listening.listen import Wanted
from ulmo.listening.recordings import Sources
from ulmo.listening.repeats import QUIET_DB, SILENT
from ulmo.sequence.repeats import Repeat, find_repeats
from ulmo.tokenizer import load_tokenizer

PAGE = ROOT / "docs" / "repeats.md"
WINDOW_S = 0.48  # of the peers
APART_S = 1.0  # between a window and its match, for all
ONCE_S = 0.6  # windows so near to a better one are the same event
LOOSE = 1000 / 3  # false alarms an hour of the list that is ranked
RATES = (1, 10, 33, 100)  # false alarms an hour that are asked for in noise
_NGRAMS = (1, 2, 4, 8)  # columns
_LEVEL = 0.01  # RMS of noise without calls
_BEGINNING_S = 20.0  # of the recording on which a method is called first


class Material(NamedTuple):
    """A recording and its tokens."""

    samples: NDArray[np.float32]
    ids: NDArray[np.int32]  # (time, bands)
    heard: NDArray[np.bool_]  # (time, bands)
    latents: NDArray[np.float32]  # (time, bands * EMB)
    clear_db: NDArray[np.float32]  # (time,)
    column_s: float
    scores: NDArray[np.float32]  # (bands, CB, CB)


def tokenize(samples: NDArray[np.float32], options: Any, name: str) -> Material:
    """The tokens of a recording as `ulmo repeats` hears them, kept for this tokenizer."""
    tokenizer, work = load_tokenizer(options.bundle), options.work
    settings, prep = tokenizer.manifest.model, tokenizer.prep
    kept = work / f"{name}-{tokenizer.manifest.fingerprint[:8]}.npz"
    if not kept.exists():
        path = kept.with_suffix(".wav")
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        wanted = Wanted(bins=settings.frequency_stride, latents=True)
        wish = Wish(False, 1.0, wanted.clock, prep.full_scale, prep.time_expansion)
        sources = Sources.of(tokenizer, [path], wanted, spread=Spread(1))
        (material,) = sources.each(partial(material_of, wish), SILENT.begin)
        path.unlink()
        (one,) = material.channels
        np.savez(kept, ids=one.ids, heard=one.loud, latents=one.latents, clear_db=one.clear_db)
    with np.load(kept) as file:
        ids, heard, clear_db = file["ids"], file["heard"], file["clear_db"]
        latents = file["latents"].astype(np.float32)
    column_s = prep.hop_length * settings.time_stride / prep.sample_rate
    scores = tokenizer.bundle.scores()
    return Material(samples, ids, heard, latents, clear_db, column_s, scores)


def ulmo_repeats(material: Material, *, latents: bool, rate: float = LOOSE) -> list[Found]:
    """What `find_repeats` finds, the surest first."""
    rows = repeats_of(material, latents=latents, rate=rate)
    column = material.column_s
    middles = [(row.first + row.end) / 2 * column for row in rows]
    found = [
        Found(row.first * column, row.end * column, middles[row.match], row.group) for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda n: (rows[n].false_per_hour, -rows[n].bits))
    return [found[n] for n in order]


def repeats_of(material: Material, *, latents: bool, rate: float) -> list[Repeat]:
    """The rows of `find_repeats`."""
    return find_repeats(
        *(material.ids, material.heard, material.scores),
        column_s=material.column_s,
        false_per_hour=rate,
        latents=material.latents if latents else None,
        quiet=material.clear_db < QUIET_DB,
    )


def mfcc_windows(material: Material) -> list[Found]:
    """Windows of 13 MFCC and their deltas; the cosine with the most similar one ranks them."""
    import librosa

    hop = round(material.column_s * RATE)
    features = librosa.feature.mfcc(
        y=material.samples, sr=RATE, n_mfcc=13, n_fft=512, hop_length=hop, n_mels=40, center=False
    )
    deltas = librosa.feature.delta(features)
    both = np.concatenate([features / features.std(1)[:, None], deltas / deltas.std(1)[:, None]]).T
    size = round(WINDOW_S / material.column_s)
    windows = np.lib.stride_tricks.sliding_window_view(both, size, axis=0).reshape(-1, size * 26)
    windows = windows - windows.mean(axis=0)
    windows = (windows / (np.linalg.norm(windows, axis=1, keepdims=True) + 1e-9)).astype(np.float32)
    apart = round(APART_S / material.column_s)
    best, place = np.empty(len(windows)), np.empty(len(windows), np.int64)
    for first in range(0, len(windows), 1024):
        alike = windows[first : first + 1024] @ windows.T
        for row in range(len(alike)):
            alike[row, max(first + row - apart + 1, 0) : first + row + apart] = -2
        place[first : first + 1024] = alike.argmax(axis=1)
        best[first : first + 1024] = alike.max(axis=1)
    return _peaks(best, place, size, material.column_s)


def stumpy_energy(material: Material) -> list[Found]:
    """The matrix profile (Yeh et al. 2016) of the energy of each column in decibels."""
    import stumpy

    hop = round(material.column_s * RATE)
    count = len(material.samples) // hop
    power = np.square(material.samples[: count * hop].astype(np.float64)).reshape(count, hop)
    size = _stumpy_size(stumpy, material)
    profile = stumpy.stump(10 * np.log10(power.mean(axis=1) + 1e-12), size)
    distances, places = profile[:, 0].astype(float), profile[:, 1].astype(np.int64)
    return _peaks(-distances, places, size, material.column_s)


def stumpy_mfcc(material: Material) -> list[Found]:
    """The matrix profile of 13 MFCC together (mSTUMP, Yeh et al. 2017)."""
    import librosa
    import stumpy

    hop = round(material.column_s * RATE)
    features = librosa.feature.mfcc(
        y=material.samples, sr=RATE, n_mfcc=13, n_fft=512, hop_length=hop, n_mels=40, center=False
    )
    size = _stumpy_size(stumpy, material)
    distances, places = stumpy.mstump(features.astype(np.float64), size)
    return _peaks(-distances[-1], places[-1], size, material.column_s)


def _stumpy_size(stumpy: Any, material: Material) -> int:
    """Columns of a window, after stumpy was told how far matches are apart."""
    size = round(WINDOW_S / material.column_s)
    stumpy.config.STUMPY_EXCL_ZONE_DENOM = size * material.column_s / APART_S
    return size


def recurrence(material: Material) -> list[Found]:
    """The nearest neighbour of each window by librosa, of the same MFCC and deltas."""
    import librosa

    hop = round(material.column_s * RATE)
    features = librosa.feature.mfcc(y=material.samples, sr=RATE, n_mfcc=13, hop_length=hop)
    both = np.concatenate([features, librosa.feature.delta(features)])
    both /= both.std(axis=1, keepdims=True)
    size = round(WINDOW_S / material.column_s)
    stacked = librosa.feature.stack_memory(both, n_steps=size)[:, size - 1 :]
    apart = round(APART_S / material.column_s)
    nearest = librosa.segment.recurrence_matrix(
        stacked, k=1, width=apart, mode="distance", sparse=True, self=False
    ).tocsc()
    places, distances = np.zeros(stacked.shape[1], np.int64), np.full(stacked.shape[1], np.inf)
    has = np.diff(nearest.indptr) > 0
    places[has] = nearest.indices[nearest.indptr[:-1][has]]
    distances[has] = nearest.data[nearest.indptr[:-1][has]]
    return _peaks(-distances, places, size, material.column_s)


def ngrams(material: Material) -> list[Found]:
    """Columns of ids that come back exactly: the longer, and the rarer, the surer."""
    apart = round(APART_S / material.column_s)
    time = np.arange(len(material.ids))
    scores, places = np.zeros(len(time)), time.copy()
    for size in _NGRAMS:
        windows = np.lib.stride_tricks.sliding_window_view(material.ids, size, axis=0)
        _, first, kind, counts = np.unique(
            windows.reshape(len(windows), -1),
            axis=0,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        last = np.zeros(len(first), np.int64)
        np.maximum.at(last, kind, time[: len(kind)])
        here = time[: len(kind)]
        other = np.where(last[kind] - here >= apart, last[kind], first[kind])
        again = np.abs(other - here) >= apart
        scores[: len(kind)][again] = size + 1 / counts[kind][again]
        places[: len(kind)][again] = other[again]
    found = _peaks(scores, places, max(_NGRAMS), material.column_s)
    return [one for one in found if scores[round(one.start / material.column_s)] > 0]


def _peaks(
    scores: NDArray[np.floating], places: NDArray[np.int64], size: int, column_s: float
) -> list[Found]:
    """The best windows, none near to a better one."""
    near = round(ONCE_S / column_s)
    taken = np.zeros(len(scores), np.bool_)
    found = []
    for window in np.argsort(-scores, kind="stable").tolist():
        if not taken[window]:
            taken[max(window - near, 0) : window + near + 1] = True
            match = (places[window] + size / 2) * column_s
            found.append(Found(window * column_s, (window + size) * column_s, match, -1))
    return found


METHODS: dict[str, Callable[[Material], list[Found]]] = {
    "ulmo, ids and latents": partial(ulmo_repeats, latents=True),
    "ulmo, ids": partial(ulmo_repeats, latents=False),
    "MFCC windows, cosine": mfcc_windows,
    "stumpy, energy": stumpy_energy,
    "stumpy, MFCC": stumpy_mfcc,
    "librosa, recurrence": recurrence,
    "exact n-grams of ids": ngrams,
}


def planted_material(noise: str, seed: int, options: Any) -> tuple[Material, list[Event]]:
    """A planted recording and its truth."""
    planted = plant(options.audio_root, noise, options.snr, minutes=options.minutes, seed=seed)
    name = f"planted-{noise}-{options.snr:g}-{options.minutes:g}-{seed}"
    return tokenize(planted.samples, options, name), planted.events


def default_rate(found: list[Found], events: list[Event]) -> str:
    """Recall of events of classes, and precision, of what is found at the default rate."""
    figures = judge(found, events)
    known = [event for event in events if event.repeated]
    true = sum(
        any(event.start - SLACK_S <= one.middle <= event.end + SLACK_S for event in known)
        for one in found
    )
    return f"{figures.recall:.3f}, {true / max(len(found), 1):.3f}"


def alarms(noise: str, seed: int, options: Any) -> list[str]:
    """Events an hour that are found in noise without calls, for each rate that is asked."""
    minutes = options.noise_minutes
    rng = np.random.default_rng([seed, 77])
    wave = shaped_noise(options.audio_root, noise, round(minutes * 60 * RATE), rng)
    samples = np.clip(_LEVEL * wave, -1, 1)
    material = tokenize(samples, options, f"noise-{noise}-{minutes:g}-{seed}")
    rows = repeats_of(material, latents=True, rate=max(RATES))
    counts = [sum(row.false_per_hour <= rate for row in rows) for rate in RATES]
    return [f"{count * 60 / minutes:.0f}" for count in counts]


def _beginning(material: Material) -> Material:
    """The first seconds of a recording."""
    columns = round(_BEGINNING_S / material.column_s)
    return material._replace(
        samples=material.samples[: round(_BEGINNING_S * RATE)],
        ids=material.ids[:columns],
        heard=material.heard[:columns],
        latents=material.latents[:columns],
        clear_db=material.clear_db[:columns],
    )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure, and write the tables."""
    parser = parser_of(__doc__)
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--noise", type=names_of(NOISES), default=list(NOISES))
    parser.add_argument("--snr", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--noise-minutes", type=float, default=60)
    parser.add_argument("--seeds", type=_numbers, default=[2027, 3])
    parser.add_argument("--method", default="", help="Those named so; writes no page.")
    parser.add_argument("--bundle", type=Path, help="In place of the tokenizer that ships.")
    parser.add_argument("--print", action="store_true", help="Do not write the page.")
    options: argparse.Namespace = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows, quiet = [], []
    for noise, seed in product(options.noise, options.seeds):
        material, events = planted_material(noise, seed, options)
        for name, method in METHODS.items():
            if options.method not in name:
                continue
            try:
                method(_beginning(material))
            except ImportError:
                continue
            begun = time.process_time()
            rank = method(material)
            seconds = time.process_time() - begun
            figures = judge(rank, events)
            rows.append([f"{noise}, {seed}", name, *as_row(figures), f"{seconds:.0f}"])
            print(*rows[-1], flush=True)
        strict = default_rate(ulmo_repeats(material, latents=True, rate=1), events)
        quiet.append([f"{noise}, {seed}", strict, *alarms(noise, seed, options)])
        print(*quiet[-1], flush=True)
    header = ["noise, seed", "method", "AP", "match", "V", "start", "end", "recall", "CPU s"]
    found = table(header, rows, keys=2)
    asked = [f"{rate} asked" for rate in RATES]
    header = ["noise, seed", "recall, precision at 1 an hour", *asked]
    text = f"{machine('numpy', 'librosa')}\n\n{found}\n\n{table(header, quiet)}"
    if options.print or options.method:
        print(text)
    else:
        publish("repeats", text, PAGE)


if __name__ == "__main__":
    main()
