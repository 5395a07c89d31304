"""How recordings of today differ from those that tiles were made of, and what tiles lack."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ulmo.config import UserError, plain
from ulmo.jobs.inputs import InputFile
from ulmo.jobs.outcome import Prepared
from ulmo.preprocessing.store import AGAIN, GO_ON, TilesManifest
from ulmo.storage.faults import reading_error
from ulmo.storage.ledger import Ledger
from ulmo.storage.manifest import LedgerFiles
from ulmo.storage.names import portable
from ulmo.storage.packed import Index

PrepLedger = Ledger[TilesManifest, Prepared]

_NAMED = 3  # recordings of each kind in a message


class UnreadError(UserError):
    """Recordings that have tiles cannot be read now."""


class Lost(NamedTuple):
    """What a complete output lacks."""

    shards: frozenset[str]  # names of those that have rows in tiles.parquet
    tables: bool  # whether a table is missing or damaged; then nothing says which shards are

    def __bool__(self) -> bool:
        return bool(self.shards) or self.tables


def prep_ledger(folder: Path) -> PrepLedger:
    """The ledger of a folder of tiles. Raises UserError as Ledger does."""
    files = LedgerFiles.inside(folder, "prep")
    return Ledger(files, TilesManifest, Prepared, remedy=GO_ON, anew=AGAIN)


def refuse_unread(ledger: PrepLedger, folder: Path, unread: Mapping[str, str]) -> None:
    """Raise UnreadError if recordings that have tiles in `folder` cannot be read now.

    `unread` has the reason of each recording, or folder, that cannot be read, by its path below
    AUDIO_DIR. Their drive may be away, and then their tiles are all there is. Without the table of
    an output, nothing says which recordings have tiles: all may.
    """
    if not unread:
        return
    try:
        # A folder that cannot be looked into stands for what lay below it.
        tiled = (PurePosixPath(row.path) for row in _earlier(ledger) if row.tiles)
        places = (str(place) for path in tiled for place in (path, *path.parents))
        above = {place for place in places if place in unread}
    except UserError as error:
        if reading_error(error):
            raise
        lost = dict(unread)
    else:
        lost = {path: why for path, why in unread.items() if path in above}
    if lost:
        named = [f"{plain(path)} ({why})" for path, why in lost.items()]
        raise UnreadError(
            f"{folder} has tiles of recordings that cannot be read now "
            f"({_some('unreadable', named)}): connect their drive, or mend them, and run the same "
            "command again; to do without them, remove their files"
        )


def refuse_others(ledger: PrepLedger, folder: Path, files: Sequence[InputFile]) -> None:
    """Raise UserError unless the recordings that tiles were made of are still the same.

    Their times do not count: a copy of the recordings may have others.
    """
    here, there = Index(portable(file.path) for file in files), Index()
    changes: dict[str, list[str]] = {"changed": [], "gone": []}
    try:
        for row in ledger.rows():
            there[row.path] = 0
            place = here.get(row.path)
            if row.status == "refused":
                continue
            if place is None:
                changes["gone"].append(row.path)
            elif (row.bytes, row.ends_crc32c) != (files[place].size, files[place].ends):
                changes["changed"].append(row.path)
    except UserError as error:
        if reading_error(error):
            raise
        raise UserError(
            f"{folder} was made of other recordings, and has lost the table of them: name the "
            "folder that it was made of, as it was, or choose a new folder"
        ) from None
    if any(changes.values()):
        paths = (portable(file.path) for file in files)
        changes["added"] = sorted(path for path in paths if path not in there)
        words = "; ".join(_some(kind, paths) for kind, paths in changes.items() if paths)
        raise UserError(
            f"{folder} was made of other recordings ({words}): add --accept-changes to prepare "
            "what changed, or choose a new folder"
        )


def _earlier(ledger: PrepLedger) -> Iterator[Prepared]:
    """The rows of a complete output, or those in the journal of a job that did not end."""
    return ledger.rows() if ledger.manifest.complete else ledger.others(())


def _some(kind: str, paths: Sequence[str]) -> str:
    """How many recordings, and the first of them: "4 changed: a.wav, b.wav, c.wav and others"."""
    named = ", ".join(paths[:_NAMED]) + (" and others" if len(paths) > _NAMED else "")
    return f"{len(paths)} {kind}: {named}"
