"""Reading tokens back: each recording's header and ids, checked against each other."""

import warnings
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError, WholeFileError, one_line, printable
from ulmo.config.arguments import path_argument
from ulmo.formats import FORMATS
from ulmo.formats.base import Format
from ulmo.formats.checked import changed
from ulmo.formats.file_hash import check_hash
from ulmo.formats.header import AGAIN, TokensHeader, is_header, read_stored
from ulmo.formats.places import STEM, header_path
from ulmo.formats.sources import find_tokens, take_whole
from ulmo.storage.plain_file import followed, signature_at
from ulmo.tokens import Tokens


class StoredTokens(NamedTuple):
    """One recording's tokens, as its file and header have them."""

    header: TokensHeader
    ids: Ids  # (time, band)

    def tokens(self) -> Tokens:
        """The same as `encode` gives; distances are not stored, and are NaN."""
        header = self.header
        is_even = header.gaps == "keep"
        return Tokens(
            ids=self.ids,
            distances=np.full(self.ids.shape, np.nan, np.float32),
            sample_rate=header.sample_rate,
            hop=header.hop,
            edges_hz=np.array(header.edges_hz),
            frames=header.frames,
            start=header.start,
            start_utc=header.start_utc,
            fingerprint=header.fingerprint,
            unk_quantile=header.unk_quantile,
            samples=None if is_even else np.array([*map(header.sample, range(len(self.ids)))]),
        )


def readers() -> dict[str, type[Format]]:
    """The format that reads a file, by the end of its name: .npy, .parquet, ..."""
    kinds = (kind for kind in FORMATS.values() if kind.readable)
    return {Path(kind.suffixes[-1]).suffix: kind for kind in kinds}


def is_half(path: Path, there: Collection[Path]) -> bool:
    """Whether a file is read with another of those there: Megatron's .bin, with its .idx."""
    return path.suffix == ".bin" and path.with_suffix(".idx") in there


def read_tokens(path: Path | str, *, partial: bool = False) -> Tokens:
    """The tokens of one recording, or of a timeline, from a file of any format but labels.

    path: x.tokens.npy, .parquet, .jsonl, .csv, .bin, or Megatron's .idx, as ulmo wrote it; or a
        folder with one such file, for which `partial` is as in `read_corpus`.

    They are those that `encode` returned, but for their distances, which files do not hold (NaN).
    UserError if the file or its header is missing or damaged, if they disagree, or if it holds
    several recordings: `read_corpus` reads those.
    """
    found = list(islice(read_corpus(path, partial=partial), 2))
    if len(found) > 1:
        raise UserError(f"{path} holds several recordings: read them with ulmo.read_corpus")
    return found[0].tokens()


def read_corpus(path: Path | str, *, partial: bool = False) -> Iterator[StoredTokens]:
    """Yield each recording of a tokens file: .npy, .parquet, .jsonl, .csv, .bin, Megatron's .idx.

    path: the file; or a folder, of which all files of tokens are read, in the order of their names:
        of an output of ulmo-tokenize those that its recordings.parquet names; a warning says how
        many others there are.
    partial: take what is there of a folder whose job has not ended, or whose files are gone, with a
        warning. Such a folder is refused by default, as what it lacks would not be noticed.

    Each is a header, ids (time, band) and `tokens()`, the same as Tokens. The file's header must
    agree with it. Raises UserError if either is missing or damaged, or if the file is written to
    while it is read; and WholeFileError if they disagree though the file has the hash in its
    header. No link is followed but `path` itself. One recording is in memory at a time.
    """
    path, kinds = followed(path_argument("path", path)), readers()
    if path.is_dir():
        yield from _read_folder(path, partial)
        return
    if not path.suffix and not path.exists():
        raise UserError(f"{path} is neither a file nor a folder")
    if path.suffix not in kinds:
        raise UserError(f"{path} cannot be read back: only {', '.join(kinds)} can")
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    yield from _read_file(path)


def _read_folder(folder: Path, partial: bool) -> Iterator[StoredTokens]:
    kinds = readers()

    def is_tokens(path: Path) -> bool:
        if path.suffix not in kinds or not path.stem.endswith(STEM):
            return False
        # Without a header of ulmo's, what is hidden is another program's, such as ._x.tokens.npy.
        header = header_path(folder / path.with_suffix(""))
        return path.name[0] != "." or (header.is_file() and is_header(header))

    found = find_tokens(folder, is_tokens)
    (source,), lines = take_whole([found], FORMATS, partial=partial)
    for line in lines:
        warnings.warn(printable(line), stacklevel=3)
    if not source.files:
        raise UserError(f"{folder} holds no tokens: make them with ulmo-tokenize")
    for path in source.files:
        if path in source.closed:
            raise UserError(f"{path} cannot be looked into: let yourself read it (chmod, chown)")
        if not is_half(path, source.files):
            yield from _read_file(path)


def _read_file(path: Path) -> Iterator[StoredTokens]:
    kinds = readers()
    files = {path, path.with_suffix(".bin")} if path.suffix == ".idx" else {path}
    found = {each: signature_at(each) for each in files}  # readers open a file by its name, again

    def refuse_changed() -> None:
        if any(signature_at(each) != signature for each, signature in found.items()):
            raise changed(path)

    stored = read_stored(header_path(path.with_suffix("")))
    headers = stored.headers
    try:
        check_hash(path, stored)
    except ValueError as error:
        refuse_changed()
        raise UserError(f"{path} is damaged ({one_line(error)}): {AGAIN}") from None
    try:
        for header, ids in zip(headers, kinds[path.suffix].read(path, headers), strict=True):
            checked = _checked(header, ids)
            refuse_changed()
            yield StoredTokens(header, checked)
    except (ValueError, RecursionError) as error:
        refuse_changed()
        state = "is as it was written, but does not fit its header"
        raise WholeFileError(f"{path} {state} ({one_line(error)}): {AGAIN}") from None


def _checked(header: TokensHeader, ids: Ids) -> Ids:
    if ids.shape != (header.columns, header.bands):
        raise ValueError(f"its header says {header.columns} x {header.bands} ids")
    if ids.size and not (ids.min() >= 0 and ids.max() < header.vocabulary.size):
        raise ValueError(f"ids must be below {header.vocabulary.size}")
    if int((ids == header.vocabulary.unk).sum()) != header.unknown:
        raise ValueError(f"its header says that {header.unknown} ids are unknown")
    return ids
