"""What a page says of each code that a recording uses."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.pipelines.look.columns import Shown
from ulmo.pipelines.look.spectrogram import as_webp
from ulmo.tokenizer import Tokenizer

MOST_CODES = 2000  # that are listed, the most used first: more are no list that anyone reads
_PLACES = 3  # snippets of each code
_LEAST_APART = 5  # columns from one snippet to the next: what is played of each
_APART = 1 / 6  # of the columns from a code's first place to its last, between two snippets
_NEAREST, _FOLLOWING = 5, 3
_QUALITY = 70  # of the picture of what codes decode to
_ROW = 64  # codes in a row of that picture


class CodePicture(NamedTuple):
    """What codes decode to: patches in rows of 64, in the order of the list."""

    webp: bytes
    width: int  # of a patch: frames of a column of tokens
    height: int  # bins of all bands; the last row of a patch is the lowest frequency
    range_db: float | None  # from black to white; None: the picture has no levels in dB


def describe_codes(tokenizer: Tokenizer, shown: Shown) -> tuple[list[dict[str, Any]], CodePicture]:
    """The codes in use, the most used first, and a picture of what each decodes to."""
    codebook = tokenizer.codebook
    ids, size = shown.ids, len(codebook)
    counts = np.bincount(ids[ids < size], minlength=size)
    order = np.argsort(-counts, kind="stable")[: min(int((counts > 0).sum()), MOST_CODES)]
    colours, nearest = tokenizer.colours, _nearest(codebook, order)
    following, places = _following(ids, size), _places(shown, codebook)
    patches = tokenizer.decode_codes(order)
    loudness = patches.mean(axis=2)  # (n, M)
    stride = tokenizer.manifest.model.frequency_stride
    listed = []
    for number, code in enumerate(order.tolist()):
        bands = (ids == code).sum(axis=0).tolist()
        levels = np.add.reduceat(loudness[number], np.arange(0, loudness.shape[1], stride))
        used = [band for band, count in enumerate(bands) if count]
        listed.append(
            {
                "id": code,
                "count": int(counts[code]),
                "bands": bands,
                "colour": "#{:02x}{:02x}{:02x}".format(*colours[code].tolist()),
                "nearest": nearest[number],
                "following": following.get(code, []),
                "places": places.get(code, []),
                "loudness": round(float(max(levels[band] / stride for band in used)), 2),
            }
        )
    is_in_db = tokenizer.manifest.normalization is not None
    is_in_db &= tokenizer.prep.normalization != "pcen"
    return listed, _picture(patches, is_in_db=is_in_db)


def _nearest(codebook: Array, order: NDArray[np.int64]) -> list[list[int]]:
    """For each code of `order`, those of the same list whose vectors are nearest, by Euclid."""
    vectors = codebook[order].astype(np.float64)
    squares = (vectors**2).sum(axis=1)
    found = []
    for number, vector in enumerate(vectors):
        distances = squares - 2 * vectors @ vector
        distances[number] = np.inf
        near = np.argsort(distances, kind="stable")[:_NEAREST]
        found.append([int(order[each]) for each in near if each != number])
    return found


def _following(ids: Ids, size: int) -> dict[int, list[list[int]]]:
    """For each code, what most often follows it in its band: ids and counts, without itself."""
    pairs = np.stack([ids[:-1].ravel(), ids[1:].ravel()], axis=1)
    pairs = pairs[(pairs[:, 0] < size) & (pairs[:, 1] < size) & (pairs[:, 0] != pairs[:, 1])]
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    found: dict[int, list[list[int]]] = {}
    for number in np.lexsort((unique[:, 1], -counts)).tolist():
        first, second = unique[number].tolist()
        listed = found.setdefault(first, [])
        if len(listed) < _FOLLOWING:
            listed.append([second, int(counts[number])])
    return found


def _places(shown: Shown, codebook: Array) -> dict[int, list[list[int]]]:
    """For each code, up to three places (column, band) where it is most like itself, spread out.

    That is where the latent is nearest to the code; without latents, places are by chance. Places
    so near that they sound the same are one: a code may have fewer than three.
    """
    ids, size = shown.ids, len(codebook)
    columns, bands = np.nonzero(ids < size)
    codes = ids[columns, bands]
    if shown.latents is not None and shown.latents.shape[2] == codebook.shape[1]:
        rank = np.square(shown.latents[columns, bands] - codebook[codes]).sum(axis=1)
    else:
        rank = np.random.default_rng(0).permutation(len(codes)).astype(np.float32)
    first, last = np.full(size, len(ids)), np.zeros(size, np.int64)
    np.minimum.at(first, codes, columns)
    np.maximum.at(last, codes, columns)
    apart = np.maximum(_APART * (last - first), _LEAST_APART)
    found: dict[int, list[list[int]]] = {}
    for number in np.argsort(rank, kind="stable").tolist():
        code, place = int(codes[number]), [int(columns[number]), int(bands[number])]
        kept = found.setdefault(code, [])
        if len(kept) == _PLACES:
            continue
        if all(abs(place[0] - other[0]) >= apart[code] for other in kept):
            kept.append(place)
    return {code: sorted(kept) for code, kept in found.items()}


def _picture(patches: Array, *, is_in_db: bool) -> CodePicture:
    """Patches (n, bins, frames) as one grey picture, all on one scale."""
    count, height, width = patches.shape
    low, high = np.percentile(patches, [1, 99.5]) if count else (0.0, 1.0)
    grey = np.clip(np.rint((patches - low) * (255 / max(high - low, 1e-6))), 0, 255)
    rows = -(-max(count, 1) // _ROW)
    sheet = np.zeros((rows * height, _ROW * width), np.uint8)
    for number, patch in enumerate(grey[:, ::-1].astype(np.uint8)):
        row, column = divmod(number, _ROW)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = patch
    range_db = round(float(high - low), 1) if is_in_db else None
    return CodePicture(as_webp(sheet, _QUALITY), width, height, range_db)
