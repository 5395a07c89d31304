"""Verifying bundles, and runs: settings, logs, checkpoints and the bundle; mending them."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ulmo.bundle import MANIFEST, read_bundle
from ulmo.config import UserError
from ulmo.pipelines.checkpoint_files import OURS, damaged_files, numbers, remove_others
from ulmo.pipelines.csvlog import BATCH_COLUMNS, EPOCH_COLUMNS
from ulmo.pipelines.faults import Fault, Findings, What, below, left_overs, remove_any
from ulmo.pipelines.run import RUN_MANIFEST, read_run
from ulmo.preprocessing.atomic import is_temporary

COPY = "copy the bundle again, from where it was whole"
RESUME = "ulmo-train TILES_DIR RUN_DIR --resume writes it again"
TRAIN = "train again, into a new folder"
FALL_BACK = "ulmo verify RUN_DIR --repair goes back to the checkpoint before"
BUNDLE, BEST = "tokenizer", "best"
LOGS = {"losses.csv": BATCH_COLUMNS, "epochs.csv": EPOCH_COLUMNS}


def check_bundle(folder: Path) -> Findings:
    """A bundle: all that reading it checks, which is every byte."""
    try:
        bundle = read_bundle(folder)
    except (UserError, OSError) as error:
        return Findings({}, [Fault(MANIFEST, "damaged", str(error), COPY)])
    size = len(bundle.packed) + len(bundle.encoder)
    return Findings({"files": 3, "bytes": size}, [])


def mend_bundle(folder: Path, faults: list[Fault]) -> list[str]:
    """Nothing can be mended of a bundle alone: it holds nothing twice."""
    return []


def check_run(folder: Path) -> Findings:
    """A run: train.json, logs, each file of its checkpoints, and its bundle."""
    faults = left_overs(folder, _temporaries(folder))
    try:
        read_run(folder)
    except (UserError, OSError) as error:
        faults.append(Fault(RUN_MANIFEST, "damaged", str(error), TRAIN))
    faults += _check_checkpoints(folder)
    for name, columns in LOGS.items():
        faults += _check_log(folder, name, columns)
    counts = {"checkpoints": sum(len(numbers(place)) for place in _places(folder))}
    if (folder / BUNDLE).is_dir():
        found = check_bundle(folder / BUNDLE)
        counts["bundles"] = 1
        faults += [
            fault._replace(path=f"{BUNDLE}/{fault.path}", remedy=RESUME) for fault in found.faults
        ]
    else:
        detail = "the run has not ended, or its tokenizer was removed"
        faults.append(Fault(BUNDLE, "unfinished", detail, RESUME))
    return Findings(counts, faults)


def mend_run(folder: Path, faults: list[Fault]) -> list[str]:
    """Go back to the checkpoint before one that is damaged, and remove what a kill left."""
    done = []
    for fault in faults:
        if fault.what == "left_over":
            remove_any(folder / fault.path)
            done.append(f"removed {fault.path}")
    for place in _places(folder):
        known, whole = _numbers(place), _whole(place)
        if known == whole:
            continue
        remove_others(place, whole)
        where = place.relative_to(folder).as_posix()
        left = f"went back to ckpt-{whole[-1]}" if whole else "none is whole, all removed"
        done.append(f"{where}: {left}")
    return done


def _places(folder: Path) -> tuple[Path, Path]:
    """Where the checkpoints of a run lie: the latest two, and the best epoch's."""
    return folder / "checkpoints", folder / "checkpoints" / BEST


def _numbers(place: Path) -> list[int]:
    """Of all checkpoints of which a file is there."""
    matches = (OURS.fullmatch(path.name) for path in place.glob("*"))
    return sorted({int(match[1]) for match in matches if match})


def _whole(place: Path) -> list[int]:
    return [number for number in numbers(place) if not damaged_files(place, number)]


def _check_checkpoints(folder: Path) -> Iterator[Fault]:
    """Every file of every checkpoint; a run that has begun has one."""
    for place in _places(folder):
        for number in _numbers(place):
            for path in damaged_files(place, number):
                what: What = "damaged" if path.exists() else "missing"
                detail = f"checkpoint {number} is not as it was written"
                yield Fault(below(path, folder), what, detail, FALL_BACK)
    if not numbers(folder / "checkpoints"):
        yield Fault("checkpoints", "missing", "there is no checkpoint to go back to", TRAIN)


def _check_log(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[Fault]:
    """A log: whole rows of numbers, their steps rising. A kill may cut the last one."""
    path = folder / name
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != columns:
                raise ValueError("its first line names other columns")
            _check_steps(rows, columns)
    except (ValueError, csv.Error) as error:
        yield Fault(name, "damaged", str(error), "its rows may be lost; the weights are not")


def _check_steps(rows: Iterator[list[str]], columns: tuple[str, ...]) -> None:
    place, last = columns.index("step"), -1
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise ValueError(f"line {number} has {len(row)} columns, not {len(columns)}")
        numbers = [float(cell) for cell in row if cell]
        if len(numbers) and int(row[place]) <= last:
            raise ValueError(f"line {number}: its step does not follow {last}")
        last = int(row[place])


def _temporaries(folder: Path) -> list[Path]:
    """Half-written files, and what a kill left while the bundle was written."""
    places = (folder, *_places(folder), folder / "pictures")
    found = [p for place in places if place.is_dir() for p in place.iterdir() if is_temporary(p)]
    beside = [folder / f".{BUNDLE}.new"]
    if (folder / BUNDLE).is_dir():
        beside.append(folder / f".{BUNDLE}.old")
    return sorted([*found, *(path for path in beside if path.exists())])
