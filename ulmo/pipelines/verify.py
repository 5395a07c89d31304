"""ulmo verify: tiles, tokens, a run or a bundle, told by what lies there; what is wrong with it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ulmo.bundle import MANIFEST
from ulmo.config import UserError
from ulmo.pipelines.faults import Check, Fault, Mend
from ulmo.pipelines.lock import LOCK, locked
from ulmo.pipelines.run import RUN_MANIFEST
from ulmo.pipelines.verify_run import check_bundle, check_run, mend_bundle, mend_run
from ulmo.pipelines.verify_tiles import check_tiles, mend_tiles, prepare_again
from ulmo.pipelines.verify_tokens import check_tokens, holds_tokens, mend_tokens


class Kind(NamedTuple):
    """One kind of output of ulmo's."""

    is_here: Callable[[Path], bool]
    check: Check
    mend: Mend


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda place: any(os.path.lexists(place / name) for name in names)


KINDS = {
    "tiles": Kind(_has("prep.json", "tiles.parquet"), check_tiles, mend_tiles),
    "run": Kind(_has(RUN_MANIFEST, "checkpoints"), check_run, mend_run),
    "bundle": Kind(_has(MANIFEST), check_bundle, mend_bundle),
    "tokens": Kind(holds_tokens, check_tokens, mend_tokens),
}
"""In the order in which they are looked for."""


class Verified(NamedTuple):
    """What verifying came to."""

    place: Path
    kind: str
    counts: dict[str, int]
    faults: list[Fault]
    """Those that are left."""
    mended: list[str]
    """What `--repair` did."""


def verify(
    place: Path, *, repair: bool = False, audio: Path | None = None, workers: int = 1
) -> Verified:
    """Check all that lies there, and with `repair` put right what can be.

    `audio` is the folder that tiles were made of. UserError where nothing of ulmo's lies there.
    """
    if not place.exists():
        raise UserError(f"there is no {place}: name a folder of tiles, tokens, a run or a bundle")
    kind = kind_of(place)
    if audio is not None and (kind != "tiles" or not repair):
        raise UserError("--audio is for --repair of tiles: leave it out")
    check, mend = KINDS[kind].check, KINDS[kind].mend
    findings, mended = check(place), []
    if repair and findings.faults:
        folder = place if place.is_dir() else place.parent
        with locked(folder / LOCK, folder):
            mended = mend(place, findings.faults)
        if audio is not None and kind == "tiles":
            mended += prepare_again(place, audio, workers)
        findings = check(place)
    return Verified(place, kind, findings.counts, findings.faults, mended)


def kind_of(place: Path) -> str:
    """A key of KINDS."""
    if place.is_dir():
        for name, kind in KINDS.items():
            if kind.is_here(place):
                return name
        raise UserError(f"{place} holds no tiles, tokens, run or bundle of ulmo's")
    return "tokens"
