"""Reading tokens back: each recording's header and ids, checked against each other."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ulmo.arrays import Ids
from ulmo.config import UserError, one_line
from ulmo.formats import FORMATS
from ulmo.formats.base import Format
from ulmo.formats.header import AGAIN, TokensHeader, check_hash, read_stored
from ulmo.formats.places import header_path


class StoredTokens(NamedTuple):
    """One recording's tokens."""

    header: TokensHeader
    ids: Ids  # (time, band)


def readers() -> dict[str, type[Format]]:
    """The format that reads a file, by the end of its name: .npy, .parquet, ..."""
    kinds = (kind for kind in FORMATS.values() if kind.readable)
    return {Path(kind.suffixes[-1]).suffix: kind for kind in kinds}


def read_tokens(path: Path | str) -> Iterator[StoredTokens]:
    """Yield each recording of a tokens file: .npy, .parquet, .jsonl, .csv, .bin, Megatron's .idx.

    The file's header must lie beside it and agree with it. Raises UserError if either is missing
    or damaged, or if they disagree. One recording is in memory at a time.
    """
    path, kinds = Path(path), readers()
    if path.suffix not in kinds:
        raise UserError(f"{path} cannot be read back: only {', '.join(kinds)} can")
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    stored = read_stored(header_path(path.with_suffix("")))
    headers = stored.headers
    try:
        check_hash(path, stored)
        for header, ids in zip(headers, kinds[path.suffix].read(path, headers), strict=True):
            yield StoredTokens(header, _checked(header, ids))
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): {AGAIN}") from None


def _checked(header: TokensHeader, ids: Ids) -> Ids:
    if ids.shape != (header.columns, header.bands):
        raise ValueError(f"its header says {header.columns} x {header.bands} ids")
    if ids.size and not (ids.min() >= 0 and ids.max() < header.vocabulary.size):
        raise ValueError(f"ids must be below {header.vocabulary.size}")
    if int((ids == header.vocabulary.unk).sum()) != header.unknown:
        raise ValueError(f"its header says that {header.unknown} ids are unknown")
    return ids
