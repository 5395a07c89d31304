"""Colours of codes: like codes look alike, also to people who do not tell red from green.

codebook (CB, EMB) -> three principal components -> lightness, blue to yellow, green to red -> sRGB
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_LIGHTNESS = (0.38, 0.90)  # of Oklab: dark enough on white, light enough on black
# Largest chroma on each axis of Oklab. Blue and yellow are seen by nearly all people, so that axis
# has the second component, and is the longest; green and red have the third.
_BLUE_YELLOW, _GREEN_RED = 0.16, 0.12
_LIGHT = 135  # of 255: from here on, black is easier to read, as on pages
UNKNOWN = (128, 128, 128)  # of `<unk>`; other special tokens have no colour, on pages too
_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def code_colours(codebook: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Red, green and blue (CB, 3) of each code.

    Components are taken by rank, so that colours are spread evenly. Oklab (Ottosson 2020) is a
    space in which equal distances look about equal.
    """
    ranks = _ranked_components(np.asarray(codebook, np.float64))  # (CB, 3) from 0 to 1
    low, high = _LIGHTNESS
    lab = np.stack(
        [
            low + (high - low) * ranks[:, 0],
            _GREEN_RED * (2 * ranks[:, 2] - 1),
            _BLUE_YELLOW * (2 * ranks[:, 1] - 1),
        ],
        axis=1,
    )
    linear = np.clip((lab @ _TO_CONES.T) ** 3 @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = np.rint(255 * encoded).astype(np.uint8)
    return colours


@cache
def colours_by_id() -> NDArray[np.uint8]:
    """Colours (65536, 3) of ids whose codebook is not known: fixed, but likeness says nothing."""
    return code_colours(np.random.default_rng(0).normal(size=(1 << 16, 3)))


def cell_colours(ids: NDArray[np.integer], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red, green, blue and opacity (*ids.shape, 4) of tokens, from those (CB, 3) of the codes.

    `<unk>` is grey. Other special tokens, and -1, have an opacity of 0: there is no sound.
    """
    unk = len(colours)
    table = np.zeros((unk + 2, 4), np.uint8)
    table[:unk, :3] = colours
    table[unk, :3] = UNKNOWN
    table[: unk + 1, 3] = 255
    cells: NDArray[np.uint8] = table[np.where(ids < 0, unk + 1, np.minimum(ids, unk + 1))]
    return cells


def _ranked_components(codebook: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (CB, 3), 0 to 1, of the codes in each of the first three principal components.

    A codebook of fewer dimensions has 0.5 in those that it lacks. The sign of a component is that
    of its largest weight, which a decomposition leaves open.
    """
    centred = codebook - codebook.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    ranks = np.full((len(codebook), 3), 0.5)
    for number, axis in enumerate(axes[:3]):
        values = np.round(centred @ (axis * np.sign(axis[np.argmax(np.abs(axis))])), 9)
        order = np.searchsorted(np.sort(values), values)
        ranks[:, number] = order / max(len(values) - 1, 1)
    return ranks


def ink_on(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever is easier to read on a colour (red, green and blue, 0 to 255).

    >>> ink_on((255, 255, 160)), ink_on((0, 60, 90))
    ('black', 'white')
    """
    red, green, blue = colour
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > _LIGHT else "white"
