"""ulmo regions: a row for each stretch of sound that is not background, in one table.

recordings -> regions (listening.regions) -> rows -> table
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import ClockSettings
from ulmo.config.arguments import path_argument
from ulmo.formats.event_files import event_format_of, publish_events
from ulmo.formats.events import (
    CHANNEL,
    END,
    HIGH,
    LOW,
    RECORDING,
    START,
    UTC_TIME,
    Column,
    Events,
)
from ulmo.jobs.spread import Spread
from ulmo.listening.classes import NO_CLASSES, Classes
from ulmo.listening.listen import Wanted, refusals
from ulmo.listening.recordings import Begin, Sources, path_arguments, tokenizer_of
from ulmo.listening.regions import found_regions
from ulmo.preprocessing.reading.audio import check_channels
from ulmo.sequence.regions import DEFAULT, RegionSettings
from ulmo.tokenizer import Tokenizer

# One token in a hundred of the sound that a tokenizer was trained on is then <unk>: a share of much
# more than 0.01 is sound that it does not know (docs/unknown.md).
UNK_QUANTILE = 0.99
COLUMNS = (
    *(RECORDING, CHANNEL, START, END, LOW, HIGH),
    Column("peak_dbfs", "number", 1, "its largest sample, in dB re full scale"),
    Column("snr_db", "number", 1, "its clearest cell, above the background"),
    Column("unk_share", "number", 4, "share of its tokens that are <unk>; empty: no level is set"),
    Column("class", "whole", words="of the repeat that it is; empty: of none"),
    UTC_TIME,
)


class Made(NamedTuple):
    """What became of a recording."""

    facts: dict[str, Any]
    regions: int
    seconds: float  # of the regions, together


class Listener(NamedTuple):
    """What a job reports while it runs."""

    begin: Begin = lambda _: lambda *_: None  # called with the bytes of all recordings
    done: Callable[[Made], None] = lambda _: None  # called for each recording, in their order


SILENT = Listener()


def write_regions(
    sources: Sources,
    out: Path,
    file_format: str | None = None,
    *,
    classes: Classes = NO_CLASSES,
    settings: RegionSettings = DEFAULT,
    listener: Listener = SILENT,
) -> list[Made]:
    """Write one table of all recordings. A refused one has no rows, and the job goes on.

    UserError if the table cannot have its place, before anything is heard.
    """
    made, before = [], 0.0
    with publish_events(out, event_format_of(out, file_format), COLUMNS) as table:
        for each in found_regions(sources, classes, settings, listener.begin):
            for row, place in zip(each.rows, each.places, strict=True):
                table.add(row, place._replace(before_s=before))
            before += each.file_s
            seconds = sum(row["end_s"] - row["start_s"] for row in each.rows)
            made.append(Made(each.facts, len(each.rows), seconds))
            listener.done(made[-1])
    return made


def regions(
    sources: Any,
    *,
    tokenizer: Tokenizer | str | Path | None = None,
    tokens: str | Path | None = None,
    channels: str = "mix",
    repeats: Events | str | Path | None = None,
    clock: ClockSettings | None = None,
    workers: int | None = 1,
    dask: str | None = None,
) -> Events:
    """The stretches of sound in recordings that are not background, as the command finds them.

    sources: a path, or several: recordings, and folders of which all recordings are taken.
    tokenizer: a Tokenizer, or the folder of a bundle; None: the one that ships with ulmo, with
        `<unk>` beyond what 99 % of its training vectors reach.
    tokens: the folder of tokens of these recordings, which are then not made again.
    channels: mix, each, or a number from 0.
    repeats: the table of `ulmo repeats` (csv or parquet), or what `ulmo.repeats` returned: regions
        get the classes of the repeats in them.
    clock: how the times of recordings are found; None: as the command finds them.
    workers: processes; None: by cores and files.
    dask: address of a Dask scheduler, on whose workers the recordings are read (docs/scale.md).

    Returns rows (dicts) with the columns of docs/regions.md; `refused` names the recordings that
    could not be heard. UserError for what the command refuses.

    >>> found = regions("data_samples/harmonic_calls.wav")
    >>> len(found), round(found[0]["start_s"], 2)
    (6, 0.48)
    """
    check_channels(channels)
    wanted = Wanted(channels, clock=clock or ClockSettings())
    heard = Sources.of(
        tokenizer_of(tokenizer, unk_quantile=UNK_QUANTILE),
        path_arguments("sources", sources),
        wanted,
        tokens=None if tokens is None else path_argument("tokens", tokens),
        spread=Spread(workers, dask),
    )
    made = list(found_regions(heard, Classes.of(repeats)))
    rows = [row for each in made for row in each.rows]
    return Events(COLUMNS, rows, refusals(each.facts for each in made))
