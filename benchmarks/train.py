"""Training beside PyTorch: tiles a second, and the time to the peer's final error.

    python -m benchmarks.train AUDIO_DIR --peers-python .peers/bin/python [--only speed,error]

Each part rewrites its section of docs/benchmarks.md.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.asked import ASKED
from benchmarks.learners import BATCH, MEASURES, THREADS, Point, Process
from benchmarks.report import beside, machine, names_of, parser_of, spread, table
from benchmarks.summary import add_outputs, publish
from ulmo.arrays import Indices
from ulmo.config import PrepSettings, TrainSettings
from ulmo.dataset import Split, split_by_recording
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.store import TileStore

VALIDATION_TILES = 256  # at most, evenly spaced
PAUSE = 2.0  # seconds before each turn, in which the threads of the last one stop spinning


class Training(NamedTuple):
    """A training to compare: a module of benchmarks/, and its arguments."""

    title: str
    module: str
    arguments: tuple[str, ...]


TRAININGS = {
    "ulmo": Training("**ulmo**", "benchmarks.train_ulmo", ()),
    "ulmo bf16": Training("ulmo, bf16", "benchmarks.train_ulmo", ("--bf16",)),
    "usual": Training("PyTorch, all strides 2", "benchmarks.train_peer", ("usual",)),
    "usual bf16": Training("the same, bf16", "benchmarks.train_peer", ("usual", "--bf16")),
    "plan": Training("PyTorch, ulmo's plan", "benchmarks.train_peer", ("ulmo",)),
    "plan bf16": Training("the same, bf16", "benchmarks.train_peer", ("ulmo", "--bf16")),
}
WAYS = ["ulmo", "usual"]  # unless others are asked for
PEERS = ("usual", "plan")  # the trainings whose final error ulmo has to reach


class Material(NamedTuple):
    """The data that all train on."""

    tiles: Path  # prepared tiles, which ulmo reads
    data: Path  # the same as plain arrays, which the peer maps, and the validation tiles' rows
    split: Split

    def start(self, name: str, python: str) -> Process:
        """The process of a training."""
        training = TRAININGS[name]
        arguments = (self.data, *training.arguments)
        if training.module.endswith("ulmo"):
            return Process(sys.executable, training.module, (self.tiles, *arguments))
        return Process(python, training.module, arguments)


def make_material(tiles: Path, data: Path) -> Material:
    """Split as ulmo-train does, and write the tiles as arrays."""
    store, settings = TileStore(tiles), TrainSettings()
    split = split_by_recording(store, settings.validation_fraction, settings.seed)
    count = min(VALIDATION_TILES, len(split.validation))
    chosen = split.validation[np.linspace(0, len(split.validation) - 1, count).astype(int)]
    np.save(data / "rows.npy", chosen)
    for name, rows in (("train", split.train), ("validation", chosen)):
        _write_tiles(data / f"{name}.npy", store, rows)
        np.save(data / f"{name}_valid.npy", store.valid_frames[rows])
    return Material(tiles, data, Split(split.train, chosen))


def _write_tiles(path: Path, store: TileStore, rows: Indices) -> None:
    shape = (len(rows), store.tile_size, store.tile_size, 1)
    tiles = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(rows), BATCH):
        tiles[start : start + BATCH] = store.read(rows[start : start + BATCH])
    tiles.flush()


def measure_speed(material: Material, options: argparse.Namespace) -> str:
    """Tiles per second of every training, in turn."""
    speeds: dict[str, list[float]] = {name: [] for name in options.ways}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(material.start(name, options.peers_python))
            for name in options.ways
        }
        for _ in range(options.turns):
            for name, process in processes.items():
                time.sleep(PAUSE)
                speeds[name].append(process.tiles_per_second(options.steps))
    typical = {name: median(found) for name, found in speeds.items()}
    rows = [
        [
            TRAININGS[name].title,
            f"{typical[name]:.1f}",
            spread(found, ".1f"),
            "" if name == "ulmo" else f"**{typical['ulmo'] / typical[name]:.2f}x**",
            str(ASKED["train speed"]) if name == "usual" else "",
        ]
        for name, found in speeds.items()
    ]
    header = ["training", "tiles/s", "turns", "ulmo : it", "asked"]
    return (
        f"**Speed.** Batches of {BATCH} tiles of {PrepSettings().tile_size}: reading, forward, "
        f"backward, Adam and codebook. Medians of {options.turns} turns of {options.steps} steps, "
        "each training in its own process.\n\n" + table(header, rows)
    )


def measure_error(material: Material, options: argparse.Namespace) -> str:
    """Seconds of training to a validation error, one training after the other."""
    curves: dict[str, list[Point]] = {}
    for name in ("ulmo", *(peer for peer in PEERS if peer in options.ways)):
        time.sleep(PAUSE)
        with material.start(name, options.peers_python) as process:
            curves[name] = process.train(options.seconds)
    ours = curves.pop("ulmo")
    rows = [["**ulmo**", *_ends(ours), "", "", ""]]
    for name, curve in curves.items():
        best = min(curve, key=lambda point: point.error)
        reached = reaches(ours, best.error)
        cells = [f"{reached:.0f} s", f"**{reached / best.seconds:.2f}**"] if reached else ["-", "-"]
        asked = str(ASKED["train time"]) if name == "usual" else ""
        rows.append([TRAININGS[name].title, *_ends(curve), *cells, asked])
    header = [
        *("training", "steps", "error at a quarter", "at half", "at the end", "its lowest"),
        *("ulmo reaches that after", "of its time", "asked"),
    ]
    split = material.split
    return (
        f"**Error.** {len(split.train)} tiles to train on, {len(split.validation)} of other "
        f"recordings to measure (mean squared error, normalised units, cells of valid frames), "
        f"{options.seconds:g} s of training each, float32, measured {MEASURES} times; k-means and "
        "the building of graphs count as training, validation does not.\n\n"
        + table(header, rows, parts=(5, 3))
    )


def reaches(curve: Sequence[Point], error: float) -> float | None:
    """Seconds to the first point with at most this error; None without one."""
    return next((point.seconds for point in curve if point.error <= error), None)


def _ends(curve: Sequence[Point]) -> list[str]:
    """Steps, and the error at a quarter, half, end, and the lowest."""
    places = (len(curve) // 4 - 1, len(curve) // 2 - 1, -1)
    lowest = min(point.error for point in curve)
    return [
        str(curve[-1].steps),
        *(f"{curve[place].error:.4f}" for place in places),
        f"{lowest:.4f}",
    ]


Part = Callable[[Material, argparse.Namespace], str]
PARTS: dict[str, Part] = {"speed": measure_speed, "error": measure_error}


def main() -> None:
    """Measure, and write the tables."""
    parser = parser_of(__doc__)
    parser.add_argument("audio", type=Path, help="Recordings, or an output of ulmo-prep.")
    some, only = names_of(TRAININGS), names_of(PARTS)
    parser.add_argument("--only", type=only, default=list(PARTS), help="Comma-separated parts.")
    parser.add_argument("--ways", type=some, default=WAYS, help="Trainings to compare.")
    parser.add_argument("--peers-python", default=sys.executable, help="The peers' Python.")
    parser.add_argument("--steps", type=int, default=20, help="Steps of a turn.")
    parser.add_argument("--turns", type=int, default=5, help="Turns of speed.")
    parser.add_argument("--seconds", type=float, default=90, help="Training time for the error.")
    add_outputs(parser)
    options = parser.parse_args()
    if "ulmo" not in options.ways:
        parser.error("--ways must include ulmo: all are compared with it")
    head = (
        f"{machine('ulmo', 'tensorflow', 'keras')} {os.cpu_count()} cores, {THREADS} threads for "
        f"each; {beside()} when it began."
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        tiles = options.audio
        if not (tiles / "prep.json").exists():
            tiles = Path(folder) / "tiles"
            prepare(options.audio, tiles, PrepSettings())
        material = make_material(tiles.resolve(), Path(folder).resolve())
        if peers := [name for name in options.ways if TRAININGS[name].module.endswith("peer")]:
            with material.start(peers[0], options.peers_python) as process:
                versions = ", ".join(f"{name} {its}" for name, its in process.versions.items())
            head += f" The peer's Python: {versions}; channels_last, fused Adam."
        for name in options.only:
            text = PARTS[name](material, options)
            publish(f"train {name}", f"{head}\n\n{text}", options.page)


if __name__ == "__main__":
    main()
