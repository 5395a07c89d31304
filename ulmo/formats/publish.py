"""Files of tokens and their headers, which appear complete or not at all."""

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

STEM = ".tokens"
MOST_IDS = 1 << 16  # ids are written as uint16


class Outputs(NamedTuple):
    """The files of one output."""

    files: tuple[Path, ...]
    header: Path  # written last: if it is there, the files are complete
    vocabulary: Path  # beside a corpus


def output_paths(path: Path, file_format: str) -> Outputs:
    """The files of one output: for x.tokens.bin also x.tokens.idx, and x.tokens.json beside them.

    Raises UserError unless `path` ends as the format does, with or without `.tokens`.
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
    """A writer whose files appear when the block ends, and not at all if it fails.

    An older header is removed before the first of its files is replaced. With `corpus`, the
    vocabulary is written as well, beside formats that models are trained on.
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
    """The hashes in an existing header of the same tokens: those of files in other formats."""
    try:
        stored = read_stored(header)
    except (UserError, OSError):
        return {}
    return stored.hashes if stored.headers == tuple(headers) else {}


def _is_of(path: Path, headers: Sequence[TokensHeader]) -> bool:
    """Whether an existing header describes the same recordings; then it stays."""
    try:
        return read_headers(path) == tuple(headers)
    except (UserError, OSError):
        return False


def check_options(options: Options, file_format: str, vocabulary: int | None = None) -> None:
    """Raise UserError for options that the format does not have, and for ids out of range."""
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
