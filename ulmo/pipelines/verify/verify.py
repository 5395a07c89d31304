"""ulmo verify: tiles, tokens, a run or a bundle, told by what lies there; what is wrong with it."""

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ulmo.bundle.manifest import ENCODER, MANIFEST, WEIGHTS
from ulmo.config import UserError
from ulmo.pipelines.verify.run import check_bundle, check_run, mend_bundle, mend_run
from ulmo.pipelines.verify.tiles import check_tiles, mend_tiles
from ulmo.pipelines.verify.token_ledgers import is_ledger_file
from ulmo.pipelines.verify.tokens import check_tokens, holds_tokens, mend_tokens
from ulmo.preprocessing.store import SHARD
from ulmo.storage.checkpoint_files import OURS
from ulmo.storage.faults import READ, Check, Fault, Findings, Mend
from ulmo.storage.lock import LOCK, locked, refuse_held
from ulmo.storage.manifest import TABLE
from ulmo.storage.run_manifest import RUN_MANIFEST


class _Kind(NamedTuple):
    """One kind of output of ulmo's."""

    is_here: Callable[[Path], bool]
    check: Check
    mend: Mend


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda place: any(os.path.lexists(place / name) for name in names)


_KINDS = {
    "tiles": _Kind(_has("prep.json", "tiles.parquet"), check_tiles, mend_tiles),
    "run": _Kind(_has(RUN_MANIFEST, "checkpoints"), check_run, mend_run),
    "bundle": _Kind(_has(MANIFEST), check_bundle, mend_bundle),
    "tokens": _Kind(holds_tokens, check_tokens, mend_tokens),
}
"""In the order in which they are looked for."""


_DIR = re.compile(r"\b(RUN_)?DIR\b")
"""What stands for the folder in what there is to do."""
_PARTS = ("prep.json", "tiles.parquet", TABLE, RUN_MANIFEST, MANIFEST, WEIGHTS, ENCODER)
_PART = re.compile("|".join([*map(re.escape, _PARTS), SHARD.pattern, OURS.pattern]))
"""Names of files that are no output of their own."""


class Verified(NamedTuple):
    """What verifying came to."""

    place: Path
    kind: str
    counts: dict[str, int]
    faults: list[Fault]
    """Those that are left."""
    mended: list[str]
    """What `--repair` did."""


def verify(place: Path, *, repair: bool = False) -> Verified:
    """Check everything there; with `repair`, put right what can be put right without making it.

    Raises UserError if nothing of ulmo's lies there.
    """
    kind = kind_of(place)
    findings, mended = _check(place, kind), []
    folder = place if place.is_dir() else place.parent
    if findings.faults and not repair:
        refuse_held(folder / LOCK, folder)
    if findings.faults and repair:
        with locked(folder / LOCK, folder):
            mended = _KINDS[kind].mend(place, _check(place, kind).faults)
            findings = _check(place, kind)
    faults = [fault._replace(remedy=_named(fault.remedy, place)) for fault in findings.faults]
    return Verified(place, kind, findings.counts, faults, mended)


def _check(place: Path, kind: str) -> Findings:
    try:
        return _KINDS[kind].check(place)
    except OSError as error:
        raise _closed(error, place) from None


def _closed(error: OSError, place: Path) -> UserError:
    return UserError(f"{error.filename or place} cannot be read ({error.strerror}): {READ}")


def _named(remedy: str, place: Path) -> str:
    """What to do, with the folder in place of the word that stands for it."""
    return _DIR.sub(lambda _: shlex.quote(str(place)), remedy)


def kind_of(place: Path) -> str:
    """A key of _KINDS; UserError where nothing of ulmo's lies there, or a part of something."""
    try:
        is_folder = place.is_dir()
        if is_folder:
            next(place.iterdir(), None)
        elif not place.exists():
            what = "a folder of tiles, tokens, a run or a bundle"
            raise UserError(f"there is no {place}: name {what}")
    except OSError as error:
        raise _closed(error, place) from None
    if is_folder:
        for name, kind in _KINDS.items():
            if kind.is_here(place):
                return name
        raise UserError(
            f"{place} holds no tiles, tokens, run or bundle of ulmo's: name the folder that does"
        )
    if _PART.fullmatch(place.name) or is_ledger_file(place):
        raise UserError(f"{place} is a part of an output: name its folder, {_whole(place)}")
    return "tokens"


def _whole(part: Path) -> Path:
    """The folder of the output that a file is a part of."""
    above = part.absolute().parents
    for folder in above[:3]:
        if any(_KINDS[name].is_here(folder) for name in ("tiles", "run", "bundle")):
            return folder
    return above[0]
