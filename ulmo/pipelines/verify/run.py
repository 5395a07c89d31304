"""Verifying bundles, and runs: settings, logs, checkpoints and the bundle; mending them."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ulmo.bundle.bundle import REMEDY, read_bundle
from ulmo.bundle.manifest import ENCODER, MANIFEST, WEIGHTS
from ulmo.config import NewerError, TrainSettings, UserError
from ulmo.storage.atomic import is_temporary
from ulmo.storage.checkpoint_files import OURS, damaged_files, digests_path, numbers, remove_others
from ulmo.storage.csv_log import batch_columns, epoch_columns, read_log
from ulmo.storage.faults import (
    READ,
    Fault,
    Findings,
    What,
    below,
    fault_of,
    left_overs,
    remove_any,
)
from ulmo.storage.plain_file import open_plain
from ulmo.storage.run_manifest import RUN_MANIFEST, read_run

_RESUME = "ulmo-train TILES_DIR RUN_DIR --resume writes it again"
_TRAIN = "train again, into a new folder"
_LOST = (
    "nothing brings its rows back, the weights are not touched; "
    "ulmo-train TILES_DIR RUN_DIR --resume goes on with a new one"
)
_GONE = (
    "nothing brings them back: copy tokenizer/ of RUN_DIR, which has them where the run had ended; "
    "ulmo-train TILES_DIR RUN_DIR --resume goes on from the latest weights"
)
_FALL_BACK = "ulmo verify RUN_DIR --repair goes back to the checkpoint before"
BUNDLE, BEST = "tokenizer", "best"
_LOGS = {"losses.csv": batch_columns, "epochs.csv": epoch_columns}


def check_bundle(folder: Path) -> Findings:
    """A bundle: all that reading it checks, which is every byte."""
    try:
        bundle = read_bundle(folder)
    except NewerError:
        raise
    except (UserError, OSError) as error:
        return Findings({}, [fault_of(_named(folder, error), error, REMEDY)])
    size = len(bundle.packed) + len(bundle.encoder)
    return Findings({"files": 3, "bytes": size}, [])


def _named(folder: Path, error: Exception) -> str:
    """The file of a bundle that an error speaks of first."""
    places = {name: str(error).find(str(folder / name)) for name in (MANIFEST, WEIGHTS, ENCODER)}
    told = {name: place for name, place in places.items() if place >= 0}
    return min(told, key=lambda name: told[name]) if told else MANIFEST


def mend_bundle(folder: Path, faults: list[Fault]) -> list[str]:
    """Nothing can be mended of a bundle alone: it holds nothing twice."""
    return []


def check_run(folder: Path) -> Findings:
    """A run: train.json, logs, each file of its checkpoints, and its bundle.

    NewerError where a newer ulmo wrote one of them.
    """
    faults = left_overs(folder, _temporaries(folder))
    settings: TrainSettings | None = None
    try:
        settings = read_run(folder).train
    except NewerError:
        raise
    except (UserError, OSError) as error:
        faults.append(_manifest_fault(folder, error))
    faults += _check_checkpoints(folder)
    if settings is None or settings.autoencodes:
        faults += _check_best(folder)
    for name, columns in _LOGS.items():
        faults += _check_log(folder, name, columns(settings.objectives) if settings else None)
    counts = {"checkpoints": sum(len(numbers(place)) for place in _places(folder))}
    if (folder / BUNDLE).is_dir():
        found = check_bundle(folder / BUNDLE)
        counts["bundles"] = 1
        for fault in found.faults:
            remedy = READ if fault.what == "unreadable" else _RESUME
            faults.append(fault._replace(path=f"{BUNDLE}/{fault.path}", remedy=remedy))
    else:
        detail = "the run has not ended, or its tokenizer was removed"
        faults.append(Fault(BUNDLE, "unfinished", detail, _RESUME))
    return Findings(counts, faults)


def _manifest_fault(folder: Path, error: Exception) -> Fault:
    if os.path.lexists(folder / RUN_MANIFEST):
        return fault_of(RUN_MANIFEST, error, _TRAIN)
    return Fault(RUN_MANIFEST, "missing", "nothing tells what the run was made with", _TRAIN)


def mend_run(folder: Path, faults: list[Fault]) -> list[str]:
    """Go back to the checkpoint before one that is damaged, and remove what a kill left.

    A checkpoint that cannot be read stays: it may be whole.
    """
    done = []
    for fault in faults:
        if fault.what == "left_over":
            remove_any(folder / fault.path)
            done.append(f"removed {fault.path}")
    for place in _places(folder):
        known, kept = _numbers(place), _kept(place)
        if known == kept:
            continue
        remove_others(place, kept)
        where = place.relative_to(folder).as_posix()
        left = f"went back to ckpt-{kept[-1]}" if kept else "none is whole, all removed"
        done.append(f"{where}: {left}")
    return done


def _places(folder: Path) -> tuple[Path, Path]:
    """Where the checkpoints of a run lie: the latest two, and the best epoch's."""
    return folder / "checkpoints", folder / "checkpoints" / BEST


def _numbers(place: Path) -> list[int]:
    """Of all checkpoints of which a file is there; OSError where that cannot be seen."""
    paths = place.iterdir() if place.is_dir() else ()
    matches = (OURS.fullmatch(path.name) for path in paths)
    return sorted({int(match[1]) for match in matches if match})


def _kept(place: Path) -> list[int]:
    """Of those that are whole, and of those that cannot be read."""
    return [number for number in _numbers(place) if _may_be_whole(place, number)]


def _may_be_whole(place: Path, number: int) -> bool:
    try:
        return not damaged_files(place, number) and number in numbers(place)
    except OSError:
        return True


def _check_checkpoints(folder: Path) -> Iterator[Fault]:
    """Every file of every checkpoint; a run that has begun has one."""
    for place in _places(folder):
        for number in _numbers(place):
            yield from _check_checkpoint(folder, place, number)
    if not numbers(folder / "checkpoints"):
        yield Fault("checkpoints", "missing", "there is no checkpoint to go back to", _TRAIN)


def _check_best(folder: Path) -> Iterator[Fault]:
    """Once an epoch was validated, the weights of the best one are there."""
    log = folder / "epochs.csv"
    if numbers(folder / "checkpoints" / BEST) or not log.is_file():
        return
    try:
        validated = np.isfinite(read_log(log).get("val_reconstruction", [])).any()
    except (OSError, ValueError, csv.Error):
        return  # told already, of the log itself
    if validated:
        yield Fault(f"checkpoints/{BEST}", "missing", "the best epoch's weights are gone", _GONE)


def _check_checkpoint(folder: Path, place: Path, number: int) -> Iterator[Fault]:
    try:
        damaged = damaged_files(place, number)
    except OSError as error:
        path = Path(error.filename or digests_path(place, number))
        yield fault_of(below(path, folder), error, _FALL_BACK)
        return
    for path in damaged:
        what: What = "damaged" if path.exists() else "missing"
        detail = f"checkpoint {number} is not as it was written"
        yield Fault(below(path, folder), what, detail, _FALL_BACK)


def _check_log(folder: Path, name: str, columns: tuple[str, ...] | None) -> Iterator[Fault]:
    """A log: whole rows of numbers, their steps rising. A kill may cut the last one.

    Its columns follow from train.json; None where that cannot be read. Only a run that has not
    gone on from its first checkpoint may be without a log.
    """
    path = folder / name
    if not os.path.lexists(path):
        if max(numbers(folder / "checkpoints"), default=0) > 1 or (folder / BUNDLE).is_dir():
            yield Fault(name, "missing", "the run has written it, and it is gone", _LOST)
        return
    try:
        with open_plain(path, remedy=_LOST) as file:
            rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
            names = tuple(next(rows, ()))
            if names != (columns or names) or "step" not in names:
                raise ValueError("its first line names other columns")
            _check_steps(rows, names)
    except (UserError, OSError, ValueError, csv.Error) as error:
        yield fault_of(name, error, _LOST)


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
