"""Recordings of any length as vectors of one: what a classifier is shown of latents and tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Mask


def mean_latents(latents: Sequence[Array]) -> Array:
    """Means over time (n, bands * EMB) of latents (time, bands, EMB), a band after another.

    The mean alone, silent columns too, as is usual for frame-wise representations (Turian et al.
    2022, "HEAR"). The bands are kept apart: what is heard low is another thing than the same
    heard high.
    """
    return np.array([of.reshape(len(of), -1).mean(axis=0) for of in latents], np.float32)


def histograms(ids: Sequence[Ids], sound: Sequence[Mask], codebook_size: int) -> Array:
    """Shares (n, bands * CB) of each code of each band among the sound tokens of a recording.

    `ids` and `sound`, True for tokens that are not silent, are (time, bands). Special tokens are
    none. One histogram a band, one after another, which add up to 1 together: of digits they told
    more than one over all bands (docs/evaluating.md). A recording without a sound token has
    zeros.
    """
    return np.array(
        [_histogram(grid, heard, codebook_size) for grid, heard in zip(ids, sound, strict=True)],
        np.float32,
    )


def _histogram(ids: Ids, sound: Mask, codebook_size: int) -> NDArray[np.float64]:
    bands = ids.shape[1]
    places = ids + codebook_size * np.arange(bands)
    heard = places[sound & (ids < codebook_size)]
    counts = np.bincount(heard, minlength=bands * codebook_size)
    return counts / max(len(heard), 1)
