"""The stretches of sound in recordings that are not background.

recording -> levels of cells, ids -> regions (sequence.regions) -> rows
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.events import Place
from ulmo.listening.cells import SILENCE_DB
from ulmo.listening.classes import NO_CLASSES, Classes
from ulmo.listening.listen import Listened
from ulmo.listening.recordings import Begin, Sources
from ulmo.sequence.regions import DEFAULT, RegionSettings, find_regions
from ulmo.storage.names import portable


class Regions(NamedTuple):
    """The regions of a recording; none if it was refused, or is nothing but background."""

    facts: dict[str, Any]  # status, reason, detail and others, as in recordings.parquet
    rows: Sequence[dict[str, Any]] = ()
    places: Sequence[Place] = ()
    file_s: float = 0.0  # length of the file


def found_regions(
    sources: Sources,
    classes: Classes = NO_CLASSES,
    settings: RegionSettings = DEFAULT,
    begin: Begin = lambda _: lambda *_: None,
) -> Iterator[Regions]:
    """The regions of each recording, in their order."""
    tokenizer = sources.tokenizer
    ids = tokenizer.unk_quantile is not None
    sources = sources._replace(wanted=sources.wanted._replace(ids=ids))
    grid = Grid(tokenizer.edges_hz, tokenizer.vocabulary.unk, tokenizer.prep.time_expansion)
    yield from sources.each(partial(_regions_of, settings, grid, classes), begin)


class Grid(NamedTuple):
    """The bands of tokens, and the id of `<unk>`.

    time_expansion: all lengths in RegionSettings are those of the slowed sound.
    """

    edges_hz: NDArray[np.float64]  # (bands + 1,)
    unk: int
    time_expansion: float

    def unk_share(self, ids: Ids, low_hz: float, high_hz: float) -> float | None:
        """Share of ids (n, bands) between two frequencies that are `<unk>`; None without ids."""
        inside = (self.edges_hz[1:] > low_hz) & (self.edges_hz[:-1] < high_hz)
        return float((ids[:, inside] == self.unk).mean()) if inside.any() else None


def _regions_of(
    settings: RegionSettings, grid: Grid, classes: Classes, listened: Listened
) -> Regions:
    """The regions of all channels of a recording, in the order of their begins."""
    rows, places = [], []
    for heard in listened.heard:
        cells, ids, known = heard.cells, heard.ids, heard.unk_quantile is not None
        for found in find_regions(
            *cells,
            column_s=heard.column_s * grid.time_expansion,
            begins=heard.begins,
            silence_db=SILENCE_DB,
            settings=settings,
        ):
            when = heard.when(found.first, found.end)
            low, high = float(heard.edges_hz[found.low]), float(heard.edges_hz[found.high + 1])
            row = {
                "recording": heard.recording,
                "channel": heard.channel,
                "start_s": when.start_s,
                "end_s": when.end_s,
                "low_hz": low,
                "high_hz": min(high, heard.highest_hz),
                "peak_dbfs": found.peak_db,
                "snr_db": found.snr_db,
                "unk_share": grid.unk_share(ids[found.first : found.end], low, high)
                if known
                else None,
                "class": classes.at(heard.recording, heard.channel, when.start_s, when.end_s),
                "start_utc": when.start_utc,
            }
            rows.append(row)
            places.append(Place(portable(heard.path), when.offset_s))
    file_s = listened.heard[0].file_s if listened.heard else 0.0
    order = sorted(range(len(rows)), key=lambda each: (places[each].offset_s, each))
    return Regions(
        listened.facts, [rows[each] for each in order], [places[each] for each in order], file_s
    )
