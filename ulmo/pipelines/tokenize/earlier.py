"""What earlier jobs made of the recordings of a folder, by the ledger's rows.

A recording that cannot be read now keeps the tokens that it has. Tokens of a recording that is
there, but under names that it had before, are removed once its new ones are there.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.formats.folder import TokenizeManifest, TokensLedger
from ulmo.formats.places import TOKENS
from ulmo.formats.publish import (
    Outputs,
    endings_of,
    is_parts,
    output_paths,
    read_whole,
    remove_leftovers,
    remove_tokens,
    stored_at,
    tokens_hash,
)
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.job import MAY_STAY, Result, is_there
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.storage.atomic import PassingOver
from ulmo.storage.names import path_of, path_text


class Earlier(NamedTuple):
    """Rows of earlier jobs that are not results of this one, the latest last."""

    folder: Path
    manifest: TokenizeManifest
    rows: list[Tokenized]

    @classmethod
    def of(cls, ledger: TokensLedger, folder: Path, done: Iterable[str]) -> "Earlier":
        """All rows of a ledger but those of the keys `done`, and of refused recordings.

        None of a folder of parts, which is removed once they are joined.
        """
        if is_parts(folder):
            return cls(folder, ledger.manifest, [])
        rows = [row for row in ledger.others(set(done)) if row.status != "refused"]
        return cls(folder, ledger.manifest, rows)

    @property
    def keys(self) -> list[str]:
        """The keys of the rows, which the ledger keeps until the job has ended."""
        return [row.key for row in self.rows]

    def row_to_keep(self, refused: Tokenized) -> Tokenized | None:
        """The row that stays in place of a refusal that may pass; None if no tokens are there."""
        if refused.reason not in MAY_PASS:
            return None
        rows = (row for row in reversed(self.rows) if row.path == refused.path)
        return next((row for row in rows if self._is_whole(row)), None)

    def remove_replaced(self, rows: Iterable[Tokenized]) -> None:
        """Remove outputs that the rows of this job do not name, of recordings that are there.

        A recording that was moved or renamed is there too: its row has the same facts. Nothing
        else is known of recordings that are gone, and their outputs stay.
        """
        rows = list(rows)
        named = {name for row in rows for name in row.outputs}
        there = {row.path for row in rows}
        settled = {row.path for row in rows if row.reason not in MAY_STAY}
        sounds = {_sound(row) for row in rows if row.outputs}
        for row in self.rows:
            if row.path in settled or (row.path not in there and _sound(row) in sounds):
                for name in reversed(row.outputs):
                    if name not in named:
                        self._remove(row, name)

    def _is_whole(self, row: Tokenized) -> bool:
        outputs = [self.folder / path_of(name) for name in row.outputs]
        return all(map(_is_inside, row.outputs)) and is_as_written(outputs, row, self.manifest)

    def _remove(self, row: Tokenized, name: str) -> None:
        """Remove an output of a row, and what a job that was killed here has left of it.

        One that has the tokens of another recording by now stays, and so does one that a newer ulmo
        wrote.
        """
        path, file_format = self.folder / path_of(name), self.manifest.file_format
        if not _is_inside(name):
            return
        with suppress(UserError), PassingOver():
            paths = output_paths(path, file_format)
            stored = stored_at(paths.header)
            recordings = {header.recording for header in stored.headers} if stored else {row.path}
            if is_there(file_format, path) and recordings == {row.path}:
                remove_tokens(paths, below=self.folder)
            remove_leftovers([path], file_format)


def stays(outputs: Outputs, results: Iterable[Result]) -> str:
    """Why an earlier file of all recordings stays as it is, for the user; empty if it does not.

    It does if it has tokens of a recording that cannot be read now.
    """
    refused = [result for result in results if result.outcome.reason in MAY_PASS]
    if not refused:
        return ""
    try:
        headers = read_whole(outputs).headers
    except (UserError, OSError, ValueError):
        return ""
    has = {header.recording for header in headers}
    has |= {segment.recording for header in headers for segment in header.segments}
    lost = [path_text(result.source) for result in refused if result.outcome.path in has]
    if not lost:
        return ""
    others = f" and {len(lost) - 1} more recordings" if len(lost) > 1 else ""
    return (
        f"{path_text(outputs.files[0])} stays as it was: it has tokens of {lost[0]}{others}, which "
        "cannot be read now: run the same command again when that is possible, or delete it, to "
        "have one without"
    )


def is_as_written(outputs: Iterable[Path], row: Tokenized, made: TokenizeManifest) -> bool:
    """Whether the outputs of a recording are those that a job of `made` wrote for its row."""
    there = []
    for output in outputs:
        try:
            there.append(read_whole(output_paths(output, made.file_format)))
            header = there[-1].header
        except (UserError, OSError, ValueError):
            return False
        found = (header.fingerprint, header.unk_quantile, header.recording, header.columns)
        if found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
            return False
    unknown = sum(stored.header.unknown for stored in there)
    digest = tokens_hash(there, endings_of(made.file_format)) if there else None
    return (unknown, digest) == (row.unknown, row.tokens_sha256)


def _is_inside(name: str) -> bool:
    """Whether the name of an output is one below the folder of tokens."""
    parts = path_of(name).parts
    return parts[0] == TOKENS and ".." not in parts


def _sound(row: Tokenized) -> tuple[Any, ...]:
    """What two recordings have in common only if one is the other, by all that a row says."""
    facts = row.model_dump(include={"bytes", "ends_crc32c", "frames", "columns", "unknown"})
    return (*facts.values(), row.sample_rate, row.channels, row.start_utc)
