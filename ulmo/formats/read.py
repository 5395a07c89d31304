"""Reading tokens back: each recording's header and ids, checked against each other."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError, one_line, path_of
from ulmo.formats import FORMATS
from ulmo.formats.base import Format
from ulmo.formats.header import AGAIN, TokensHeader, check_hash, read_stored
from ulmo.formats.places import header_path
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


def read_tokens(path: Path | str) -> Tokens:
    """The tokens of one recording, or of a timeline, from a file of any format but labels.

    path: x.tokens.npy, .parquet, .jsonl, .csv, .bin, or Megatron's .idx, as ulmo wrote it.

    They are those that `encode` returned, but for their distances, which files do not hold (NaN).
    UserError if the file or its header is missing or damaged, if they disagree, or if it holds
    several recordings: `read_corpus` reads those.
    """
    found = list(islice(read_corpus(path), 2))
    if len(found) > 1:
        raise UserError(f"{path} holds several recordings: read them with ulmo.read_corpus")
    return found[0].tokens()


def read_corpus(path: Path | str) -> Iterator[StoredTokens]:
    """Yield each recording of a tokens file: .npy, .parquet, .jsonl, .csv, .bin, Megatron's .idx.

    Each is a header, ids (time, band) and `tokens()`, the same as Tokens. The file's header must
    agree with it. Raises UserError if either is missing or damaged, or if they disagree. One
    recording is in memory at a time.
    """
    path, kinds = path_of("path", path), readers()
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
