"""Writes tokens files and the files beside them, completely or not at all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import PLAIN, Format, Options
from ulmo.formats.header import Hashes, TokensHeader, header_json, read_headers, read_stored
from ulmo.formats.runs import RunFormat
from ulmo.formats.vocabulary import vocabulary_json
from ulmo.storage.plain_file import file_hash

# Ids are written as uint16.
STEM = ".tokens"
MOST_IDS = 1 << 16


class Outputs(NamedTuple):
    """The files of one output."""

    files: tuple[Path, ...]
    header: Path  # written last: if it exists, the others are complete
    vocabulary: Path  # written for a corpus


def output_paths(path: Path, file_format: str) -> Outputs:
    """All files of an output: x.tokens.bin and .idx, x.tokens.json, x.tokens.vocabulary.json.

    `path` must end as the format does, with or without `.tokens`; UserError if it does not.
    """
    suffixes = FORMATS[file_format].suffixes
    endings = [suffix.removeprefix(STEM) for suffix in suffixes]
    for ending in endings:
        if path.name.endswith(ending) and path.name != ending:
            stem = path.name.removesuffix(ending)
            return Outputs(
                files=tuple(path.with_name(stem + each) for each in endings),
                header=path.with_name(f"{stem}.json"),
                vocabulary=path.with_name(f"{stem}.vocabulary.json"),
            )
    raise UserError(f"{path} is no name for {file_format}: end it with {suffixes[0]}")


@contextmanager
def publish_tokens(
    path: Path, file_format: str, options: Options = PLAIN, *, corpus: bool = False
) -> Iterator[Format]:
    """A writer whose files appear when the block ends, or not at all if it fails.

    The header of older files is removed before the first file is replaced. With `corpus`, a
    vocabulary file is written for formats that models train on.
    """
    from ulmo.storage.atomic import publish, publish_together, remove

    outputs = output_paths(path, file_format)
    kind = FORMATS[file_format]

    def unseal() -> None:
        if not _is_of(outputs.header, writer.headers):
            remove(outputs.header)

    with publish_together(outputs.files, unseal) as files:
        writer = kind(files, options)
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.abandon()
            raise
    if corpus and kind.trains:
        with publish(outputs.vocabulary) as file:
            file.write(vocabulary_json(writer.header.codebook_size).encode())
    known = _known_hashes(outputs.header, writer.headers)
    hashes = {
        each.name.removeprefix(outputs.header.stem): file_hash(each) or "" for each in outputs.files
    }
    with publish(outputs.header) as file:
        file.write(header_json(writer.headers, {**known, **hashes}))


def _known_hashes(header: Path, headers: Sequence[TokensHeader]) -> Hashes:
    """Hashes in an existing header of the same tokens: files in other formats."""
    try:
        stored = read_stored(header)
    except (UserError, OSError):
        return {}
    return stored.hashes if stored.headers == tuple(headers) else {}


def _is_of(path: Path, headers: Sequence[TokensHeader]) -> bool:
    """Whether the header is of the same recordings, so that it can stay."""
    try:
        return read_headers(path) == tuple(headers)
    except (UserError, OSError):
        return False


def check_options(options: Options, file_format: str, vocabulary: int | None = None) -> None:
    """Refuse options that the format does not use, and ids that are not in the vocabulary."""
    if options == PLAIN:
        return
    if not issubclass(FORMATS[file_format], RunFormat):
        raise UserError(f"--ids and --min-columns choose runs to label, and {file_format} has none")
    if options.min_columns < 1:
        raise UserError("--min-columns must be at least 1")
    wrong = sorted(set(options.ids or ()).difference(range(vocabulary or MOST_IDS)))
    if wrong:
        last = (vocabulary or MOST_IDS) - 1
        raise UserError(f"--ids {wrong[0]} is no id of this tokenizer: they are 0 to {last}")
