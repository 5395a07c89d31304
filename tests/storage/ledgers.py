"""All that have a ledger, a job over each, and kills at every change of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.pipelines.recordings import TINY
from ulmo.config import AugmentSettings, ClockSettings
from ulmo.formats.base import ALL_RUNS
from ulmo.formats.folder import TokenizeManifest
from ulmo.jobs.outcome import Outcome, Prepared, Tokenized
from ulmo.preprocessing.store import TilesManifest
from ulmo.storage.journal import Journal
from ulmo.storage.ledger import Ledger
from ulmo.storage.manifest import LedgerFiles, LedgerManifest
from ulmo.storage.open_folder import OpenFolder

KEYS = ("k0", "k1", "k2", "k3", "k4")


def tokens_of(tokenizer: str = "ab" * 32, timezone: str = "UTC") -> TokenizeManifest:
    clock = ClockSettings(timezone=timezone)
    plain = {"unk_quantile": None, "file_format": "npy", "channels": "mix", **ALL_RUNS._asdict()}
    return TokenizeManifest(tokenizer=tokenizer, clock=clock, **plain)


class User(NamedTuple):
    """What has a ledger: its files, manifest and rows, and how many rows a key has."""

    files: Callable[[Path], LedgerFiles]
    row: type[Outcome]
    manifest: LedgerManifest
    others: dict[str, LedgerManifest]  # by what an error message says of them
    rows_of_a_key: int

    def open(self, folder: Path) -> Ledger[Any, Any]:
        return Ledger(
            self.files(folder), type(self.manifest), self.row, remedy="go on", anew="begin anew"
        )

    def resumed(self, folder: Path) -> Ledger[Any, Any]:
        return self.open(folder).resume(self.manifest, folder)

    def rows(self, key: str) -> list[Outcome]:
        """The rows of a key; each key has others."""
        return [
            self.row(
                path=f"{key}/{number}.wav",
                bytes=1000 * number,
                ends_crc32c=7,
                status="refused" if number else "ok",
                detail=key * 20,
                sample_rate=8000,
                flags=("silent",) * number,
                start_utc=None if number else 1_600_000_000_123_456,
                duration_s=1 / 3,
                key=key,
            )
            for number in range(self.rows_of_a_key)
        ]

    def run(self, folder: Path, keys: Any = KEYS) -> list[str]:
        """A job, as commands do it; the keys that it did."""
        ledger = self.resumed(folder)
        if ledger.is_finished(keys) and all(map(ledger.done, keys)):
            return []
        done = [key for key in keys if ledger.done(key)]
        missing = [key for key in keys if key not in done]
        with ledger.writing(done):
            for key in missing:
                ledger.add(key, self.rows(key))
            ledger.finish(row for key in keys for row in ledger.done(key))
        return missing


TILES = TilesManifest(settings=TINY, plan="p")
USERS = {
    "tiles": User(
        lambda folder: LedgerFiles.inside(folder, "prep"),
        Prepared,
        TILES,
        {
            "overlap there 0, here 3": TILES.model_copy(
                update={"settings": TINY.model_copy(update={"overlap": 3})}
            ),
            "views there 1, here 4": TILES.model_copy(update={"augment": AugmentSettings(views=4)}),
        },
        3,
    ),
    "tokens": User(
        lambda folder: LedgerFiles.inside(folder, "tokenize"),
        Tokenized,
        tokens_of(),
        {
            "tokenizer there 'abababab', here 'cdcdcdcd'": tokens_of("cd" * 32),
            "clock there .*UTC.*, here .*01:00": tokens_of(timezone="+01:00"),
        },
        1,
    ),
    "timeline": User(
        lambda folder: LedgerFiles.beside(folder / "t.tokens.npy", "tokenize"),
        Tokenized,
        tokens_of(),
        {"tokenizer there": tokens_of("cd" * 32)},
        1,
    ),
}


def rows_of(user: User, keys: Any) -> list[Outcome]:
    return [row for key in keys for row in user.rows(key)]


def at_each_change(patch: pytest.MonkeyPatch, react: Callable[[], None]) -> None:
    """Call `react` before each move, removal and line, and after half of a line."""

    def before(function):
        def changed(*arguments, **options):
            react()
            return function(*arguments, **options)

        return changed

    def add(journal, *entry):
        react()
        place = journal._path.stat().st_size
        written(journal, *entry)
        whole = journal._path.read_bytes()
        journal._path.write_bytes(whole[: (place + len(whole)) // 2])
        react()
        journal._path.write_bytes(whole)

    written = Journal.add
    patch.setattr(Journal, "add", add)
    for owner, name in ((OpenFolder, "move"), (OpenFolder, "remove"), (Path, "unlink")):
        patch.setattr(owner, name, before(getattr(owner, name)))
