"""The tokens of a recording for a picture: a coloured cell for each, in true time."""

from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.jobs.inputs import find_sources
from ulmo.listening.listen import Job, Wanted, listen
from ulmo.pictures.colours import cell_colours
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.tokenizer import Tokenizer


class TokenRows(NamedTuple):
    """The columns of tokens of a part of a recording."""

    ids: Ids  # (columns, bands); -1 where time was left out
    pixels: NDArray[np.uint8]  # (bands, columns, 4): red, green, blue and opacity of each
    start_s: float  # of the first column, in true seconds from the recording's first sample
    column_s: float
    frontend: FrontEnd  # what the tokenizer hears
    bins: int  # of a band

    @property
    def extent(self) -> tuple[float, float, int, int]:
        """Left and right edge in seconds, lower and upper edge in bins."""
        columns, bands = self.ids.shape
        end_s = self.start_s + columns * self.column_s
        return self.start_s, end_s, 0, bands * self.bins


def token_rows(
    tokenizer: Tokenizer, path: Path, channels: str, start_s: float, seconds: float
) -> TokenRows:
    """The tokens of a part of a recording, which is read from its begin: they are those of all.

    RefusedError if it cannot be read.
    """
    listened = listen(tokenizer, Wanted(channels), Job(find_sources([path])[0]))
    if listened.facts["status"] == "refused":
        raise RefusedError(listened.facts["reason"], listened.facts["detail"])
    (heard,) = listened.heard
    first = floor(start_s / heard.column_s)
    end = max(ceil((start_s + seconds) / heard.column_s), first + 1)
    places = heard.places
    inside = (places >= first) & (places < end)
    found, model = heard.ids[inside], tokenizer.manifest.model
    ids = np.full((end - first, found.shape[1]), -1, np.int32)
    ids[places[inside] - first] = found
    return TokenRows(
        ids,
        cell_colours(ids.T, tokenizer.colours),
        start_s=first * heard.column_s,
        column_s=heard.column_s,
        frontend=build_frontend(tokenizer.prep),
        bins=model.frequency_stride,
    )
