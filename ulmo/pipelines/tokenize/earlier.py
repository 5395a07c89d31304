"""What earlier jobs made of the recordings of a folder, by the ledger's rows.

A recording that cannot be read now keeps the tokens that it has. Tokens of a recording that is
there, but under names that it had before, are removed once its new ones are there.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

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


class Earlier:
    """Rows of earlier jobs that are not results of this one.

    Rows of refused recordings are left out, and so are those of a folder of parts, which is removed
    once they are joined.
    """

    def __init__(self, ledger: TokensLedger, folder: Path, done: Iterable[str]) -> None:
        """`done` are the keys of the results of this job."""
        rows = () if is_parts(folder) else ledger.others(set(done))
        self._folder = folder
        self._manifest = ledger.manifest
        self._rows = [row for row in rows if row.status != "refused"]  # the latest last
        self._below: dict[Path, list[Tokenized]] = {}
        for row in self._rows:
            path = path_of(row.path)
            for each in (path, *path.parents):
                self._below.setdefault(each, []).append(row)

    @property
    def keys(self) -> list[str]:
        """The keys of the rows, which the ledger keeps until the job has ended."""
        return [row.key for row in self._rows]

    def rows_to_keep(self, refused: Tokenized) -> list[Tokenized]:
        """The rows that stay in place of a refusal that may pass: those whose tokens are whole.

        One of a recording; of a folder that cannot be looked into, one for each recording there.
        """
        if refused.reason not in MAY_PASS:
            return []
        rows = self._below.get(path_of(refused.path), [])
        kept = {row.path: row for row in rows if self._is_whole(row)}
        return list(kept.values())

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
        for row in self._rows:
            if row.path in settled or (row.path not in there and _sound(row) in sounds):
                for name in reversed(row.outputs):
                    if name not in named:
                        self._remove(row, name)

    def _is_whole(self, row: Tokenized) -> bool:
        outputs = [self._folder / path_of(name) for name in row.outputs]
        return all(map(_is_inside, row.outputs)) and is_as_written(outputs, row, self._manifest)

    def _remove(self, row: Tokenized, name: str) -> None:
        """Remove an output of a row, and what a job that was killed here has left of it.

        One that has the tokens of another recording by now stays, and so does one that a newer ulmo
        wrote.
        """
        path, file_format = self._folder / path_of(name), self._manifest.file_format
        if not _is_inside(name):
            return
        with suppress(UserError), PassingOver():
            paths = output_paths(path, file_format)
            stored = stored_at(paths.header)
            recordings = {header.recording for header in stored.headers} if stored else {row.path}
            if is_there(file_format, path) and recordings == {row.path}:
                remove_tokens(paths, below=self._folder)
            remove_leftovers([path], file_format)


def stays(outputs: Outputs, results: Iterable[Result]) -> str:
    """Why an earlier file of all recordings stays as it is, for the user; empty if it does not.

    It does if it has tokens of a recording that cannot be read now, or that lies in such a folder.
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
    paths = {each for path in map(path_of, has) for each in (path, *path.parents)}
    lost = [path_text(each.source) for each in refused if path_of(each.outcome.path) in paths]
    if not lost:
        return ""
    others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
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
    file = row.bytes, row.ends_crc32c, row.frames, row.sample_rate, row.channels, row.start_utc
    measured = row.peak_db, row.bandwidth_hz, row.share_above, row.columns, row.unknown
    return (*file, *measured)
