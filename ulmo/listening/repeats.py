"""What recurs in recordings: hear them, then compare what was heard with itself.

recordings -> ids and trains (channels.py) -> repeats (sequence.repeats) -> classes (occurrences.py)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ulmo.arrays import Array, Mask
from ulmo.config import UserError, require
from ulmo.config.arguments import whole_number_or_none
from ulmo.listening.channels import Channel, Material, Wish, material_of
from ulmo.listening.examples import Example
from ulmo.listening.occurrences import (
    BACKGROUND,
    Occurrence,
    Sounds,
    Stream,
    classes_of,
    rows_of,
    without_onsets,
)
from ulmo.listening.recordings import Begin, Sources
from ulmo.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ulmo.sequence.repeats import Bounds

MOST_FALSE = 1e6  # in an hour
_MOST_CLASSES = 1_000_000
# A column is quiet, nothing but background, if no band is so far above it, in dB. 5 to 8 find the
# same; with less, hardly any column of rain is quiet.
QUIET_DB = 8.0
_MOST_LATENTS = 1_000_000  # columns, of 11 hours: 0.5 GB of latents; of more, all is by ids


class RepeatSettings(NamedTuple):
    """What counts as a repeat, and which of them are told."""

    # How many rows of an hour may be there by chance, at most: fewer rows, of which more are true.
    false_per_hour: float = 1.0
    classes: int | None = None  # those with most evidence only; None: all
    min_seconds: float = 0.0  # shorter repeats of tokens are left out; impulses are none
    like: Example | None = None  # the class of this example only
    impulses: bool = True  # whether to look for trains of impulses, too
    seed: int = 0  # of the decoys that tell what comes by chance

    def check(self) -> "RepeatSettings":
        """The same; UserError for values out of bounds."""
        if not 0 < self.false_per_hour <= MOST_FALSE:
            raise UserError(f"false_per_hour must be above 0, and at most {MOST_FALSE:g}")
        whole_number_or_none("classes", self.classes, least=1, most=_MOST_CLASSES)
        if not 0 <= self.min_seconds <= 3600:
            raise UserError("min_seconds must be from 0 to 3600")
        return self


DEFAULT = RepeatSettings()


class Listener(NamedTuple):
    """What a job reports while it runs."""

    begin: Begin = lambda _: lambda *_: None  # called with the bytes of all recordings
    done: Callable[[dict[str, Any]], None] = lambda _: None  # called with the facts of each
    search: Callable[[float], None] = lambda _: None  # called with the hours to compare, before


SILENT = Listener()


class Repeats(NamedTuple):
    """What recurs in some recordings."""

    classes: Sequence[Sounds]
    repeats: Sequence[Occurrence]  # of tokens: those that `match` counts
    channels: Sequence[Channel]
    facts: Sequence[dict[str, Any]]  # of each recording, as in recordings.parquet
    hours: float  # of sound, over all channels
    # Hours that were not compared though they are not background, as there is too much; 0: none.
    left_out_hours: float = 0.0
    compared_hours: float = 0.0  # if some were left out
    joined: int = 0  # repeats that made no class, as there are too many, and joined one

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table."""
        return [row for row, _ in rows_of(self.classes, self.repeats, self.channels)]


def find(
    sources: Sources, settings: RepeatSettings = DEFAULT, listener: Listener = SILENT
) -> Repeats:
    """What recurs in recordings. A recording that cannot be read is refused, and the job goes on.

    UserError for a tokenizer without substitution scores, and if scikit-learn is not installed,
    before anything is read.
    """
    scores = scores_of(sources.tokenizer)
    channels, facts = hear(sources, settings.check(), listener)
    return search(sources.tokenizer, scores, channels, facts, settings, listener)


def hear(
    sources: Sources,
    settings: RepeatSettings = DEFAULT,
    listener: Listener = SILENT,
    *,
    impulses_in: tuple[float, float] | None = None,
) -> tuple[list[Channel], list[dict[str, Any]]]:
    """What `search` needs of all recordings: their channels, and the facts of each recording.

    impulses_in: true seconds, first and last, between which impulses are looked for; None: in all.
    """
    tokenizer = sources.tokenizer
    bins = tokenizer.manifest.model.frequency_stride
    wanted = sources.wanted._replace(bins=bins, ids=True, latents=True)
    sources = sources._replace(wanted=wanted)
    wish = Wish(
        impulses=settings.impulses,
        false_per_hour=settings.false_per_hour,
        clock=wanted.clock,
        full_scale=tokenizer.prep.full_scale,
        time_expansion=tokenizer.prep.time_expansion,
        impulses_in=impulses_in,
    )
    heard: list[Material] = []
    for material in sources.each(partial(material_of, wish), listener.begin):
        heard.append(material)
        listener.done(material.facts)
    channels = [channel for material in heard for channel in material.channels]
    return channels, [material.facts for material in heard]


def search(
    tokenizer: Tokenizer,
    scores: Array,
    channels: Sequence[Channel],
    facts: Sequence[dict[str, Any]],
    settings: RepeatSettings,
    listener: Listener = SILENT,
) -> Repeats:
    """What recurs in channels that were heard. Lengths are those of the slowed sound."""
    stream, expansion = Stream.of(channels), tokenizer.prep.time_expansion
    hours = sum(part.seconds for one in channels for part in one.heard.parts) / 3600
    repeats: list[Occurrence] = []
    column_s = channels[0].heard.column_s if channels else 0.0
    bounds: list[Bounds] = []
    if channels:
        listener.search(hours)
        from ulmo.sequence.repeats import find_repeats

        found = find_repeats(
            np.concatenate([channel.ids for channel in channels]),
            np.concatenate([channel.loud for channel in channels]),
            scores,
            column_s=column_s * expansion,
            begins=tuple(stream.begins),
            false_per_hour=settings.false_per_hour / expansion,
            latents=_latents_of(channels),
            quiet=_quiet_of(channels),
            seed=settings.seed,
            bounds=bounds.append,
        )
        repeats = stream.occurrences(found, tokenizer.edges_hz.tolist())
        repeats = [
            each._replace(false_per_hour=(each.false_per_hour or 0.0) * expansion)
            for each in repeats
        ]
    told = [each for each in repeats if each.is_clear and each.seconds >= settings.min_seconds]
    classes = classes_of([*told, *without_onsets(stream.impulses(), repeats)], column_s)
    if settings.like is not None:
        classes = settings.like.chosen(classes, channels)
    if settings.classes is not None:
        classes = _clearest(classes, settings.classes)
    result = Repeats(classes, repeats, channels, facts, hours)
    if not bounds:
        return result
    (left_out,) = bounds
    return result._replace(
        left_out_hours=left_out.left_out * column_s / 3600,
        compared_hours=left_out.compared * column_s / 3600,
        joined=max(left_out.events - left_out.most, 0),
    )


def _latents_of(channels: Sequence[Channel]) -> Array | None:
    """Latents of all columns, (columns, d); None if some have none, or there are too many."""
    found = [channel.latents for channel in channels if channel.latents is not None]
    columns = sum(map(len, found))
    if len(found) < len(channels) or columns > _MOST_LATENTS:
        return None
    return np.concatenate(found).astype(np.float32)


def _quiet_of(channels: Sequence[Channel]) -> Mask | None:
    """Whether each column is nothing but background; None if some have no levels."""
    found = [channel.clear_db for channel in channels if channel.clear_db is not None]
    return np.concatenate(found) < QUIET_DB if len(found) == len(channels) else None


def scores_of(tokenizer: Tokenizer) -> Array:
    """The substitution scores of a tokenizer.

    UserError if its bundle has none, or if scikit-learn, which makes the classes, is not installed.
    """
    require("sklearn")
    scores = tokenizer.bundle.scores()
    if scores is None:
        raise UserError(
            f"{tokenizer.bundle.place} has no substitution.safetensors, which says what ids stand "
            "for the same sound: train it again with ulmo-train, which makes it, or leave "
            "--tokenizer out to use the one that ships with ulmo"
        )
    return scores


def _clearest(classes: Sequence[Sounds], most: int) -> list[Sounds]:
    """The classes with most evidence, in their order, and the background; their numbers stay."""
    ranked = sorted(
        (each for each in classes if each.number is not None),
        key=lambda each: (-sum(one.bits or 1.0 for one in each.occurrences), each.number or 0),
    )
    kept = ranked[:most]
    return [each for each in classes if each in kept or each.kind == BACKGROUND]
