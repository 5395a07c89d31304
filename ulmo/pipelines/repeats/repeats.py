"""ulmo repeats: what recurs in recordings, and when, as one table.

recordings -> repeats (listening.repeats) -> rows -> table
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.config import ClockSettings, UserError
from ulmo.config.arguments import instance_of, path_argument
from ulmo.formats.event_files import event_format_of, publish_events
from ulmo.formats.events import REPEAT_COLUMNS, Events
from ulmo.jobs.spread import Spread
from ulmo.listening.cells import Cells
from ulmo.listening.channels import Channel
from ulmo.listening.examples import Example
from ulmo.listening.listen import Heard, Part, Wanted, refusals
from ulmo.listening.occurrences import rows_of
from ulmo.listening.recordings import Sources, path_arguments, tokenizer_of
from ulmo.listening.repeats import Repeats, RepeatSettings, find, scores_of, search
from ulmo.preprocessing.reading.audio import check_channels
from ulmo.tokenizer import Tokenizer
from ulmo.tokens import Tokens


def write_repeats(found: Repeats, out: Path, file_format: str | None = None) -> int:
    """Write the table; how many rows it has."""
    rows = rows_of(found.classes, found.repeats, found.channels)
    with publish_events(out, event_format_of(out, file_format), REPEAT_COLUMNS) as table:
        for row, place in rows:
            table.add(row, place)
    return len(rows)


def repeats(
    sources: Any,
    *,
    tokenizer: Tokenizer | str | Path | None = None,
    tokens: str | Path | None = None,
    channels: str = "mix",
    false_per_hour: float = 1.0,
    classes: int | None = None,
    min_seconds: float = 0.0,
    like: str | None = None,
    impulses: bool = True,
    clock: ClockSettings | None = None,
    workers: int | None = 1,
    dask: str | None = None,
) -> Events:
    """What recurs in recordings or tokens, as the command finds it.

    sources: a path, or several: recordings, and folders of which all recordings are taken; or
        Tokens, one or several, each of one recording: without samples, there are no impulses.
    tokenizer: a Tokenizer, or the folder of a bundle; None: the one that ships with ulmo.
    tokens: the folder of tokens of these recordings, which are then not made again.
    channels: mix, each, or a number from 0.
    false_per_hour: how many rows of an hour of sound may be there by chance.
    classes: return the classes with most evidence only, so many.
    min_seconds: leave out shorter repeats.
    like: "recording.wav:12.3-13.1": return only what is like this example.
    impulses: whether to look for clicks, pulses and ticks in the samples, too.
    clock: how the times of recordings are found; None: as the command finds them.
    workers: processes; None: by cores and files.
    dask: address of a Dask scheduler, on whose workers the recordings are read (docs/scale.md).

    Returns rows (dicts) with the columns of docs/repeats.md; `refused` names the recordings that
    could not be heard. UserError for what the command refuses.
    """
    used = tokenizer_of(tokenizer)
    example = None if like is None else Example.parse(like)
    settings = RepeatSettings(false_per_hour, classes, min_seconds, example, impulses)
    if isinstance(sources, Tokens) or _are_tokens(sources):
        found = _of_tokens(used, [sources] if isinstance(sources, Tokens) else sources, settings)
    else:
        check_channels(channels)
        paths = path_arguments("sources", sources)
        heard = Sources.of(
            used,
            paths if example is None else example.among(paths),
            Wanted(channels, clock=clock or ClockSettings()),
            tokens=None if tokens is None else path_argument("tokens", tokens),
            spread=Spread(workers, dask),
        )
        found = find(heard, settings)
    return Events(REPEAT_COLUMNS, found.rows, refusals(found.facts))


def _are_tokens(sources: Any) -> bool:
    return isinstance(sources, Sequence) and any(isinstance(each, Tokens) for each in sources)


def _of_tokens(tokenizer: Tokenizer, sources: Sequence[Any], settings: RepeatSettings) -> Repeats:
    """What recurs in tokens; `recording` is the number of the Tokens, from 0."""
    channels = []
    for number, each in enumerate(sources):
        tokens = instance_of("sources", each, Tokens, "paths, or Tokens as encode returns them")
        if tokens.fingerprint != tokenizer.manifest.fingerprint:
            raise UserError(
                f"these tokens are of another tokenizer ({tokens.fingerprint[:8]} there, "
                f"{tokenizer.manifest.fingerprint[:8]} here): pass theirs as tokenizer="
            )
        channels.append(_channel_of(tokens, str(number)))
    return search(tokenizer, scores_of(tokenizer), channels, [], settings.check())


def _channel_of(tokens: Tokens, name: str) -> Channel:
    if tokens.samples is not None:
        raise UserError("these tokens have gaps that were left out: read the recording instead")
    columns, hop = len(tokens.ids), tokens.hop / tokens.sample_rate
    start_s, empty = tokens.start / tokens.sample_rate, Cells.joined([], 1)
    part = Part(start_s, 0.0, columns * hop, columns, tokens.ids[:0], empty)
    heard = Heard(
        recording=name,
        path=Path(name),
        channel=None,
        parts=[part],
        column_s=hop,
        edges_hz=tokens.edges_hz,
        highest_hz=tokens.sample_rate / 2,
        start_utc=tokens.start_utc,
        unk_quantile=tokens.unk_quantile,
        file_s=columns * hop,
    )
    return Channel(heard, tokens.ids, np.ones(tokens.ids.shape, np.bool_))
