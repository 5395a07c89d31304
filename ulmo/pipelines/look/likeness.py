"""How well codes of a page stand for each other, small enough that a browser can look for a sound.

Of the substitution scores, the page has those between codes that it uses in the same band, in
steps of half a bit: 20 s of speech need 20 kB.
"""

import zlib
from typing import Any

import numpy as np

from ulmo.arrays import Array, Ids
from ulmo.pipelines.look.html import as_base64

STEP_BITS = 0.5
_MOST_BYTES = 400_000  # of all scores, packed; a page without them cannot look for a sound


def likeness_values(ids: Ids, scores: Array | None) -> dict[str, Any] | None:
    """What a page needs to compare stretches; None without scores, or if they are too many.

    ids: (columns, bands). scores: log-odds in bits (bands, CB, CB) that one id stands for another.

    `scores` of the result are signed bytes, packed by zlib: for each band the upper triangle, row
    by row and with the diagonal, of the matrix of the codes that are listed for it.
    """
    if scores is None:
        return None
    codes, parts = [], []
    for band, table in enumerate(scores):
        used = np.unique(ids[:, band])
        used = used[used < len(table)]
        bits = table[np.ix_(used, used)].astype(np.float32)
        steps = np.rint((bits + bits.T) / 2 / STEP_BITS)  # symmetric, as repeats takes them
        parts.append(np.clip(steps, -128, 127).astype(np.int8)[np.triu_indices(len(used))])
        codes.append(used.tolist())
    packed = zlib.compress(np.concatenate(parts).tobytes(), 9)
    if len(packed) > _MOST_BYTES:
        return None
    return {"codes": codes, "step_bits": STEP_BITS, "scores": as_base64(packed)}
