"""What recurs in hours of tokens: processor time and memory of the search for repeats.

    python -m benchmarks.long_repeats AUDIO_ROOT WORK --hours 24

Each hour has ids of its own, drawn from the order-1 model of each band of real noise, so that
nothing repeats but what is planted: `--calls` an hour, takes of classes of `benchmarks.planted`,
each with a third of its tokens replaced by the background. There are no levels, so that all of it
counts as sound: nothing is harder. Prints one row; run it once for each length.
"""

import resource
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted import NOISES
from benchmarks.repeats import planted_material
from benchmarks.report import names_of, parser_of
from ulmo.sequence import selection
from ulmo.sequence.calibration import make_decoys
from ulmo.sequence.repeats import Bounds, find_repeats
from ulmo.tokenizer import load_tokenizer

_COLUMNS = 90_000  # of an hour
_PIECE = 8192  # columns of one draw
_REPLACED = 1 / 3  # tokens of a take
_SEED = 3


def stream(hours: int, calls: int, options: Namespace) -> tuple[NDArray[np.int32], list[int]]:
    """Ids (columns, bands), and the columns in whose middle a take lies."""
    rng = np.random.default_rng(_SEED)
    pieces, takes = [], []
    for noise in options.noise:
        material, events = planted_material(noise, _SEED, options)
        column_s = material.column_s
        spans = [(round(e.start / column_s), round(e.end / column_s)) for e in events if e.repeated]
        takes += [material.ids[first:end] for first, end in spans]
        pieces.append(material.ids.astype(np.int64))
    drawn: list[NDArray[np.int64]] = []
    while sum(map(len, drawn)) < hours * _COLUMNS:
        drawn.append(make_decoys(pieces[len(drawn) // 11 % len(pieces)], rng))
    ids = np.concatenate(drawn)[: hours * _COLUMNS].astype(np.int32)
    slots = np.linspace(0, len(ids) - 100, hours * calls).astype(int)
    middles = []
    for slot in slots.tolist():
        take = takes[int(rng.integers(len(takes)))]
        kept = rng.random(take.shape) >= _REPLACED
        place = ids[slot : slot + len(take)]
        place[kept[: len(place)]] = take[: len(place)][kept[: len(place)]]
        middles.append(slot + len(take) // 2)
    return ids, middles


def main() -> None:
    """Measure, and print."""
    parser = parser_of(__doc__)
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--calls", type=int, default=467, help="In an hour.")
    parser.add_argument("--noise", type=names_of(NOISES), default=["sea", "forest", "rain"])
    parser.add_argument("--snr", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--bundle", type=Path, help="In place of the tokenizer that ships.")
    parser.add_argument("--bound", type=int, default=selection._BOUND, help="Columns compared.")
    options = parser.parse_args()
    selection._BOUND = options.bound
    ids, middles = stream(options.hours, options.calls, options)
    scores = load_tokenizer(options.bundle).bundle.scores()
    bounds: list[Bounds] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, computed = time.perf_counter(), time.process_time()
    rows = find_repeats(
        *(ids, np.ones(ids.shape, bool), scores),
        column_s=0.04,
        begins=range(0, len(ids), _COLUMNS),
        bounds=bounds.append,
    )
    seconds, computed = time.perf_counter() - begun, time.process_time() - computed
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    covered = np.zeros(len(ids), bool)
    for row in rows:
        covered[row.first : row.end] = True
    print(
        f"{options.hours} h, {options.calls} calls an hour: {len(rows)} rows, "
        f"{computed:.0f} CPU s, {seconds:.0f} s, "
        f"peak {after / 1024:.0f} MB ({before / 1024:.0f} before), "
        f"calls in rows {covered[middles].mean():.3f}, {bounds or 'nothing left out'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
