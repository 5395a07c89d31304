"""ulmo verify: what is wrong with tiles, tokens, a run or a bundle."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from ulmo.bundle.manifest import FILES
from ulmo.config import UserError
from ulmo.pipelines.verify.run import BUNDLE, RUN
from ulmo.pipelines.verify.tiles import TILES
from ulmo.pipelines.verify.token_ledgers import is_ledger_file, output_of
from ulmo.pipelines.verify.tokens import TOKENS
from ulmo.preprocessing.tile_rows import SHARD
from ulmo.storage.checkpoint_files import OURS
from ulmo.storage.faults import READ, Fault, Findings
from ulmo.storage.lock import LOCK, locked, refuse_held
from ulmo.storage.manifest import TABLE
from ulmo.storage.plain_file import followed
from ulmo.storage.run_manifest import RUN_MANIFEST

# In the order in which they are looked for.
_KINDS = {"tiles": TILES, "run": RUN, "bundle": BUNDLE, "tokens": TOKENS}
_DIR = re.compile(r"\b(RUN_)?DIR\b")  # stands for the folder in a remedy
_PARTS = ("prep.json", "tiles.parquet", TABLE, RUN_MANIFEST, *FILES)
# Names of files that are a part of an output.
_PART = re.compile("|".join([*map(re.escape, _PARTS), SHARD.pattern, OURS.pattern]))


class Verified(NamedTuple):
    """What was checked, repaired and found."""

    place: Path
    kind: str  # a key of _KINDS, or `recordings`
    counts: dict[str, int]
    faults: list[Fault]  # those that are left
    mended: list[str]  # what `--repair` did


def verify(place: Path, *, repair: bool = False) -> Verified:
    """Check everything there; with `repair`, remove what is damaged or left over.

    Raises UserError if nothing of ulmo's lies there.
    """
    place = followed(place)
    kind = _kind_of(place)
    findings, mended = _check(place, kind), []
    folder = place if place.is_dir() else place.parent
    if findings.faults and not repair:
        refuse_held(folder / LOCK, folder)
    if findings.faults and repair:
        with locked(folder / LOCK, folder):
            mended = _KINDS[kind].mend(place, _check(place, kind).faults)
            findings = _check(place, kind)
    named = shlex.quote(str(place))
    faults = [
        fault._replace(remedy=_DIR.sub(lambda _: named, fault.remedy)) for fault in findings.faults
    ]
    return Verified(place, kind, findings.counts, faults, mended)


def _check(place: Path, kind: str) -> Findings:
    try:
        return _KINDS[kind].check(place)
    except OSError as error:
        raise _closed(error, place) from None


def _closed(error: OSError, place: Path) -> UserError:
    return UserError(f"{error.filename or place} cannot be read ({error.strerror}): {READ}")


def _kind_of(place: Path) -> str:
    """A key of _KINDS. Raises UserError if nothing of ulmo's, or a part of an output, is there."""
    try:
        is_folder = place.is_dir()
        if is_folder:
            next(place.iterdir(), None)
        elif not place.exists():
            what = "a folder of tiles, tokens, a run or a bundle"
            raise UserError(f"there is no {place}: name {what}")
    except OSError as error:
        raise _closed(error, place) from None
    if is_folder and (output := output_of(place)) is not None:
        raise UserError(f"{place} is a part of an output: name its folder, {output}")
    if is_folder:
        for name, kind in _KINDS.items():
            if kind.is_here(place):
                return name
        raise UserError(
            f"{place} holds no tiles, tokens, run or bundle of ulmo's: name the folder that does; "
            "for recordings, use --audio"
        )
    if _PART.fullmatch(place.name) or is_ledger_file(place):
        raise UserError(f"{place} is a part of an output: name its folder, {_whole(place)}")
    return "tokens"


def _whole(part: Path) -> Path:
    """The folder of the output that a file is a part of."""
    above = part.absolute().parents
    for folder in above[:3]:
        if any(kind.is_here(folder) for kind in (TILES, RUN, BUNDLE)):
            return folder
    return above[0]
