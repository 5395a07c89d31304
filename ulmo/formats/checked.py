"""Ids of npy files, checked against their header while they are read: what is used was hashed."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np

from ulmo.arrays import Ids, Mask
from ulmo.config import UserError
from ulmo.formats.base import Format
from ulmo.formats.file_hash import check_read
from ulmo.formats.header import Stored, TokensHeader
from ulmo.formats.npy import open_npy
from ulmo.formats.places import header_path
from ulmo.storage.plain_file import is_of_process


class ChangedError(UserError):
    """A file is not as it was when its header was read, or when it was checked."""


def changed(path: Path) -> ChangedError:
    """The error for a file that somebody has replaced or written to."""
    return ChangedError(f"{path} was changed while it was read: run the same again")


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Raise ChangedError for a file that was whole before, and cannot be read or fails its checks.

    Those are ValueError.
    """
    try:
        yield
    except ValueError:
        raise changed(path) from None
    except OSError as error:
        if is_of_process(error):
            raise
        why = error.strerror or error
        raise ChangedError(f"{path} can no longer be read ({why}): run the same again") from None


def read_checked(
    path: Path, stored: Stored, sizes: Sequence[int | None] = (None,)
) -> Iterator[Ids]:
    """Yield the ids of an npy file in blocks (n, band). They are those that its header is of.

    stored: the header, of one recording.
    sizes: numbers of columns; no block reaches from one of these stretches into the next. None is
        all that are left.

    Raises ValueError for ids that do not fit the header, and at the end if the bytes that were read
    have another hash than the header names: nothing that is made of the ids may be used before.
    """
    header = _only(path, stored)
    columns = unknown = 0
    with open_npy(path) as npy:
        for size in sizes:
            for ids in npy.blocks(size):
                _check_ids(path, header, ids)
                if (column := misplaced(header, ids, columns)) is not None:
                    raise ValueError(f"column {column} of {path} is neither of a segment nor <gap>")
                columns += len(ids)
                unknown += int((ids == header.vocabulary.unk).sum())
                yield ids
        if (columns, unknown) != (header.columns, header.unknown):
            raise ValueError(
                f"{header_path(path.with_suffix(''))} describes other tokens ({header.columns} "
                f"columns, {header.unknown} <unk>; not {columns}, {unknown}): "
                "tokenize the recording again"
            )
        check_read(npy.sha256, stored, path.suffix)


def copy_npy(path: Path, stored: Stored, writer: Format) -> None:
    """Write one recording, whose tokens lie in an npy file and were found whole.

    Raises ChangedError if they are no longer those that the header is of.
    """
    header = _only(path, stored)
    writer.begin(header)
    for ids in _read_again(path, stored):
        writer.write(ids)
    writer.end(header)


def stretch_hashes(path: Path, stored: Stored, sizes: Sequence[int]) -> list[str]:
    """SHA-256 of the ids of each stretch, for `read_stretch`; ChangedError as `copy_npy`.

    sizes: columns of the stretches, which follow each other and are all of the file.
    """
    hashes = [sha256() for _ in sizes]
    number = done = 0
    for ids in _read_again(path, stored, sizes):
        while done == sizes[number]:
            number, done = number + 1, 0
        hashes[number].update(ids.data)
        done += len(ids)
    return [each.hexdigest() for each in hashes]


def read_stretch(
    path: Path, header: TokensHeader, digest: str, *, first: int, count: int
) -> Iterator[Ids]:
    """Yield the ids of some columns, whose SHA-256 is `digest`; ChangedError at the end if not."""
    running = sha256()
    with unchanged(path), open_npy(path) as npy:
        npy.skip(first)
        for ids in npy.blocks(count):
            _check_ids(path, header, ids)
            running.update(ids.data)
            yield ids
    if running.hexdigest() != digest:
        raise changed(path)


def _read_again(path: Path, stored: Stored, sizes: Sequence[int | None] = (None,)) -> Iterator[Ids]:
    with unchanged(path):
        yield from read_checked(path, stored, sizes)


def _only(path: Path, stored: Stored) -> TokensHeader:
    if len(stored.headers) > 1:
        raise ValueError(f"{path} does not hold the ids that its header describes")
    return stored.headers[0]


def _check_ids(path: Path, header: TokensHeader, ids: Ids) -> None:
    if ids.shape[1] != header.bands or ids.min() < 0 or ids.max() >= header.vocabulary.size:
        raise ValueError(f"{path} does not hold the ids that its header describes")


def misplaced(header: TokensHeader, ids: Ids, first: int = 0) -> int | None:
    """The first column of ids (n, band) that is neither of a segment nor `<gap>`; None: all are.

    first: the column in the stream that `ids` begins with.
    """
    if not header.segments:
        return None
    is_gap = (ids == header.vocabulary.gap).all(axis=1)
    (wrong,) = np.nonzero(~is_gap & _outside(header, first, len(ids)))
    return first + int(wrong[0]) if len(wrong) else None


def _outside(header: TokensHeader, first: int, count: int) -> Mask:
    """Whether each of `count` columns (n,) from `first` on lies in no segment."""
    outside = np.ones(count, np.bool_)
    index = bisect_right(header.segments, first, key=lambda segment: segment.column)
    for segment in islice(header.segments, max(index - 1, 0), None):
        if segment.column >= first + count:
            break
        end = segment.column + segment.columns - first
        outside[max(segment.column - first, 0) : max(end, 0)] = False
    return outside
