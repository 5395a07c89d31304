"""Verifying bundles and runs; going back to the last checkpoint that is whole."""

import math
from collections.abc import Iterator
from pathlib import Path

from ulmo.bundle.bundle import REMEDY, TOKENIZER_FOLDER, read_bundle
from ulmo.bundle.manifest import FILES, MANIFEST
from ulmo.config import NO_LIMITS, TrainSettings, UserError
from ulmo.storage.atomic import is_temporary, link_on_the_way
from ulmo.storage.checkpoint_files import (
    OURS,
    damaged_files,
    digests_path,
    may_be_whole,
    numbers,
    remove_others,
    what_is_wrong,
)
from ulmo.storage.csv_log import batch_columns, epoch_columns, log_lines, log_rows
from ulmo.storage.faults import (
    READ,
    Fault,
    Findings,
    Kind,
    fault_of,
    has_any,
    left_overs,
    name_in,
    remove_faulty,
)
from ulmo.storage.plain_file import lexists
from ulmo.storage.run_manifest import RUN_MANIFEST, read_run

_RESUME = "ulmo-train TILES_DIR RUN_DIR --resume writes it again"
_TRAIN = "train again, into a new folder"
_LOST = (
    "nothing brings its rows back, the weights are not touched; "
    "ulmo-train TILES_DIR RUN_DIR --resume goes on with a new one"
)
_GONE = (
    "nothing brings them back: copy tokenizer/ of RUN_DIR, which has them if the run had ended; "
    "ulmo-train TILES_DIR RUN_DIR --resume goes on from the latest weights"
)
_FALL_BACK = "ulmo verify RUN_DIR --repair goes back to the checkpoint before"
_UNKNOWN = (
    "copy it from a backup, or let ulmo-train TILES_DIR RUN_DIR --resume go on from the checkpoint "
    "before; --repair leaves the weights where they are"
)
_TOKENIZER, _BEST = "tokenizer", "best"
_LOGS = {"losses.csv": batch_columns, "epochs.csv": epoch_columns}


def _check_bundle(folder: Path) -> Findings:
    """Check a bundle: reading it checks every byte."""
    try:
        bundle = read_bundle(folder, NO_LIMITS)
    except (UserError, OSError) as error:
        return Findings({}, [fault_of(_named(folder, error), error, REMEDY)])
    size = len(bundle.packed) + len(bundle.encoder)
    return Findings({"files": 3, "bytes": size}, [])


def _named(folder: Path, error: Exception) -> str:
    """The file of a bundle that an error names first."""
    text = str(error)
    named = [name for name in FILES if str(folder / name) in text]
    return min(named, key=lambda name: text.find(str(folder / name)), default=MANIFEST)


def _check_run(folder: Path) -> Findings:
    """Check a run: train.json, logs, each file of its checkpoints, and its bundle.

    Raises NewerError if a newer ulmo wrote one of them.
    """
    faults = left_overs(folder, _temporaries(folder))
    settings: TrainSettings | None = None
    try:
        settings = read_run(folder).train
    except (UserError, OSError) as error:
        fault = Fault(RUN_MANIFEST, "missing", "nothing says what the run was made with", _TRAIN)
        if lexists(folder / RUN_MANIFEST):
            fault = fault_of(RUN_MANIFEST, error, _TRAIN)
        faults.append(fault)
    faults += _check_checkpoints(folder)
    if settings is None or settings.autoencodes:
        faults += _check_best(folder)
    for name, columns in _LOGS.items():
        faults += _check_log(folder, name, columns(settings.objectives) if settings else None)
    counts = {"checkpoints": sum(len(numbers(place)) for place in _places(folder))}
    if (folder / _TOKENIZER).is_dir():
        found = _check_bundle(folder / _TOKENIZER)
        counts["bundles"] = 1
        for fault in found.faults:
            remedy = READ if fault.what == "unreadable" else _RESUME
            faults.append(fault._replace(path=f"{_TOKENIZER}/{fault.path}", remedy=remedy))
    else:
        detail = "the run has not ended, or its tokenizer was removed"
        faults.append(Fault(_TOKENIZER, "unfinished", detail, _RESUME))
    return Findings(counts, faults)


def _mend_run(folder: Path, faults: list[Fault]) -> list[str]:
    """Go back to the checkpoint before one that is damaged, and remove what a killed job left.

    A checkpoint that cannot be read stays, and so does one whose hashes are damaged or gone: it
    may be whole. A folder with files of others stays, too.
    """
    done = remove_faulty(
        folder,
        faults,
        lambda fault: fault.what == "left_over",
        is_whole=lambda path: TOKENIZER_FOLDER.foreign_name(path) is not None,
    )
    for place in _places(folder):
        if link_on_the_way(place, folder):
            continue  # its files are elsewhere, and stay
        known = _numbers(place)
        kept = [number for number in known if may_be_whole(place, number)]
        if known == kept:
            continue
        remove_others(place, kept, below=folder)
        where = place.relative_to(folder).as_posix()
        gone = ", ".join(f"ckpt-{number}" for number in known if number not in kept)
        left = f"ckpt-{kept[-1]} is the latest" if kept else "no other is left"
        done.append(f"{where}: removed {gone}, {left}")
    return done


def _places(folder: Path) -> tuple[Path, Path]:
    """Where the checkpoints of a run lie: the latest two, and the best epoch's."""
    return folder / "checkpoints", folder / "checkpoints" / _BEST


def _numbers(place: Path) -> list[int]:
    """Numbers of the checkpoints that have a file. Raises OSError if that cannot be seen."""
    paths = place.iterdir() if place.is_dir() else ()
    matches = (OURS.fullmatch(path.name) for path in paths)
    return sorted({int(match[1]) for match in matches if match})


def _check_checkpoints(folder: Path) -> Iterator[Fault]:
    """Check every file of every checkpoint; a run that has begun has one."""
    for place in _places(folder):
        for number in _numbers(place):
            yield from _check_checkpoint(folder, place, number)
    if not numbers(folder / "checkpoints"):
        yield Fault("checkpoints", "missing", "there is no checkpoint to go back to", _TRAIN)


def _check_best(folder: Path) -> Iterator[Fault]:
    """Once an epoch was validated, the weights of the best one are there."""
    log = folder / "epochs.csv"
    if numbers(folder / "checkpoints" / _BEST) or not log.is_file():
        return
    try:
        found = (row.get("val_reconstruction", math.nan) for row in log_rows(log))
        validated = any(map(math.isfinite, found))
    except (OSError, ValueError):
        return  # a fault of the log itself, which is reported there
    if validated:
        yield Fault(f"checkpoints/{_BEST}", "missing", "the best epoch's weights are gone", _GONE)


def _check_checkpoint(folder: Path, place: Path, number: int) -> Iterator[Fault]:
    try:
        damaged = damaged_files(place, number)
    except OSError as error:
        path = Path(error.filename or digests_path(place, number))
        yield fault_of(name_in(path, folder), error, _FALL_BACK)
        return
    for path in damaged:
        what = what_is_wrong(path)
        if path == digests_path(place, number):
            detail = f"it has the hashes of checkpoint {number}, which may be whole"
            yield Fault(name_in(path, folder), what, detail, _UNKNOWN)
        else:
            detail = f"checkpoint {number} is not as it was written"
            yield Fault(name_in(path, folder), what, detail, _FALL_BACK)


def _check_log(folder: Path, name: str, columns: tuple[str, ...] | None) -> Iterator[Fault]:
    """Check a log: whole rows of numbers with rising steps. A kill may cut the last row.

    `columns` follow from train.json; None if that cannot be read. Only a run that has not gone on
    from its first checkpoint may be without a log.
    """
    path = folder / name
    if not lexists(path):
        if max(numbers(folder / "checkpoints"), default=0) > 1 or (folder / _TOKENIZER).is_dir():
            yield Fault(name, "missing", "the run has written it, and it is gone", _LOST)
        return
    try:
        rows = (line.removesuffix("\n").split(",") for line in log_lines(path))
        names = tuple(next(rows, ()))
        if names != (columns or names) or "step" not in names:
            raise ValueError("its first line names other columns")
        _check_steps(rows, names)
    except (UserError, OSError, ValueError) as error:
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
    beside = [folder / f".{_TOKENIZER}.new"]
    if (folder / _TOKENIZER).is_dir():
        beside.append(folder / f".{_TOKENIZER}.old")
    return sorted([*found, *(path for path in beside if path.exists())])


BUNDLE = Kind(has_any(MANIFEST), _check_bundle)
RUN = Kind(has_any(RUN_MANIFEST, "checkpoints"), _check_run, _mend_run)
