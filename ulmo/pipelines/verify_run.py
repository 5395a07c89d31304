"""Verifying bundles, and runs: settings, logs, checkpoints and the bundle; mending them."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ulmo.bundle import MANIFEST, read_bundle
from ulmo.config import UserError
from ulmo.pipelines.checkpoints import (
    BEST,
    DIGESTS,
    STATE,
    checkpoint_files,
    damaged_files,
    fall_back,
    latest,
    note_again,
    read_digests,
)
from ulmo.pipelines.csvlog import BATCH_COLUMNS, EPOCH_COLUMNS
from ulmo.pipelines.faults import Fault, Findings, left_overs, remove_any
from ulmo.pipelines.run import RUN_MANIFEST, read_run
from ulmo.preprocessing.atomic import is_temporary

COPY = "copy the bundle again, from where it was whole"
RESUME = "ulmo-train TILES_DIR RUN_DIR --resume writes it again"
TRAIN = "train again, into a new folder"
FALL_BACK = "ulmo verify RUN_DIR --repair goes back to the checkpoint before"
BUNDLE = "tokenizer"
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
    checkpoints = folder / "checkpoints"
    faults += _check_checkpoints(checkpoints)
    for name, columns in LOGS.items():
        faults += _check_log(folder, name, columns)
    counts = {"checkpoint files": len(checkpoint_files(checkpoints))}
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
    checkpoints = folder / "checkpoints"
    try:
        damaged = damaged_files(checkpoints)
    except UserError:
        (checkpoints / DIGESTS).unlink()
        return [*done, f"removed checkpoints/{DIGESTS}: TensorFlow's own checksums are left"]
    for place in (checkpoints, checkpoints / BEST):
        hit = [name for name in damaged if (checkpoints / name).parent == place]
        if not hit:
            continue
        kept = fall_back(place)
        state = (place / STATE).relative_to(checkpoints).as_posix()
        note_again(checkpoints, [state])
        where = place.relative_to(folder).as_posix()
        done.append(f"{where}: went back to {kept}" if kept else f"{where}: none is whole, removed")
    return done


def _check_checkpoints(folder: Path) -> Iterator[Fault]:
    try:
        damaged = damaged_files(folder)
        digests = read_digests(folder)
    except (UserError, OSError) as error:
        remedy = "ulmo verify RUN_DIR --repair removes it"
        yield Fault(f"checkpoints/{DIGESTS}", "damaged", str(error), remedy)
        return
    for name in damaged:
        there = (folder / name).exists()
        detail = "it is not as it was written" if there else "it was written, and is gone"
        yield Fault(f"checkpoints/{name}", "damaged" if there else "missing", detail, FALL_BACK)
    if latest(folder) is None and not damaged:
        detail = "no checkpoint was written yet" if digests is None else "its state is unreadable"
        yield Fault(f"checkpoints/{STATE}", "missing", detail, TRAIN)


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
    places = (folder, folder / "checkpoints", folder / "checkpoints" / BEST, folder / "pictures")
    found = [p for place in places if place.is_dir() for p in place.iterdir() if is_temporary(p)]
    beside = [folder / f".{BUNDLE}.new"]
    if (folder / BUNDLE).is_dir():
        beside.append(folder / f".{BUNDLE}.old")
    return sorted([*found, *(path for path in beside if path.exists())])
