"""A recording as its pages need it: heard once, with what recurs in it, and cut into pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.formats.events import REPEAT_COLUMNS, Events
from ulmo.listening.channels import Channel
from ulmo.listening.classes import Classes
from ulmo.listening.recordings import Sources
from ulmo.listening.regions import found_regions
from ulmo.listening.repeats import (
    SILENT,
    Listener,
    Repeats,
    RepeatSettings,
    hear,
    scores_of,
    search,
)
from ulmo.pipelines.look.events import class_values, region_values
from ulmo.pipelines.look.payload import Found, payload_of
from ulmo.pipelines.look.sound import read_samples, slowed_by
from ulmo.pipelines.look.surprise import Surprise, fitting_model, surprise_of
from ulmo.pipelines.look.words import ROUNDING_S, lasting
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.times.clock import Clock

MOST_SECONDS = 600.0  # of the sound as a page keeps it: of ultrasound, slowed down
# Rows of repeats that a page may have by chance. A page is looked at and listened to, so it has
# more of them than the table of `ulmo repeats`, which has one in an hour.
_FALSE_ROWS = 2.0
_MOST_COMPARED_S = 7200.0  # the search for repeats grows with the square: 2 hours take 3 minutes


class LookSettings(NamedTuple):
    """What a page shows."""

    start_s: float = 0.0
    seconds: float | None = None  # None: to the end
    false_per_hour: float | None = None  # of sounds; None: so that about two rows are by chance
    impulses: bool = True  # whether to look for trains of impulses, too
    surprise: bool = True  # whether to score tokens
    lm: Path | None = None  # the folder of a token model; None: the one that ships


class Length(NamedTuple):
    """How long a recording is, before it is heard."""

    rate: int  # of the recording, in hertz
    seconds: float | None  # of true time; None: its header does not say

    @classmethod
    def of(cls, sources: Sources) -> "Length":
        """That of the one recording of `sources`. RefusedError if it cannot be opened."""
        path = sources.found[0].source
        spans = Clock.of(sources.wanted.clock).timing(path).spans
        with open_recording(path, full_scale=sources.tokenizer.prep.full_scale) as recording:
            rate, frames = recording.sample_rate, recording.frames
        if not frames or not spans:
            return cls(rate, None)
        last = spans[-1]
        held = frames - last.frame if last.frames is None else last.frames
        return cls(rate, float(last.offset) + max(held, 0) / rate)

    @property
    def most_s(self) -> float:
        """The longest part of the recording that a page shows."""
        return MOST_SECONDS / slowed_by(self.rate)

    def shown(self, settings: LookSettings) -> float:
        """Seconds of the recording that a page shows; UserError if it cannot show as many."""
        if self.seconds is None:
            return min(settings.seconds or self.most_s, self.most_s)
        if settings.start_s >= self.seconds:
            lasts = lasting(self.seconds)
            raise UserError(f"the recording lasts {lasts}: --start must be before its end")
        shown = min(self.seconds - settings.start_s, settings.seconds or self.seconds)
        if shown > self.most_s:
            raise UserError(
                f"a page shows at most {lasting(self.most_s)} of a recording at {self.rate} Hz, "
                f"and this would be {lasting(shown)}: choose a part with --start and "
                f"--seconds {self.most_s:.0f}, or look at all of it with --serve"
            )
        return shown


class HeardRecording(NamedTuple):
    """One channel of a recording, and all events in it."""

    sources: Sources  # of this recording alone
    facts: Mapping[str, Any]  # of the recording, as in recordings.parquet
    channel: Channel
    length: Length
    regions: Sequence[Mapping[str, Any]]  # rows of `ulmo regions`
    repeats: Repeats | None
    surprise: Surprise | None  # of all columns of the channel
    notes: Sequence[str]  # why there are no repeats, and no surprise

    def payload(self, start_s: float, seconds: float) -> dict[str, Any]:
        """What the page of a part of it is given."""
        path, tokenizer = self.sources.found[0].source, self.sources.tokenizer
        samples = read_samples(
            *(path, self.channel.heard.channel, self.sources.wanted.clock),
            *(tokenizer.prep.full_scale, start_s, seconds),
        )
        end_s = samples.start_s + samples.seconds
        rows = (row for row in self.regions if samples.start_s <= row["start_s"] < end_s)
        repeats = self.repeats
        found = Found(
            name=path.name,
            facts=self.facts,
            channel=self.channel,
            samples=samples,
            regions=region_values(rows),
            classes=[] if repeats is None else class_values(repeats, samples.start_s, end_s),
            surprise=self.surprise,
            notes=self.notes,
        )
        return payload_of(tokenizer, found)


def hear_recording(
    sources: Sources,
    settings: LookSettings,
    length: Length,
    shown_s: float,
    listener: Listener = SILENT,
) -> HeardRecording:
    """Hear the one recording of `sources`, and find what is in it.

    shown_s: what pages show of it, in seconds, which decides how many rows may be by chance.

    RefusedError if it cannot be read.
    """
    hours = max(shown_s, 1.0) / 3600
    wanted = settings.false_per_hour or max(_FALSE_ROWS / hours, 1.0)
    repeat_settings = RepeatSettings(false_per_hour=wanted, impulses=settings.impulses).check()
    model = fitting_model(sources.tokenizer, settings.lm) if settings.surprise else None
    # A train of impulses has no odds of its own to tell: the limit is that of `ulmo repeats`.
    train_settings = RepeatSettings(impulses=settings.impulses)
    # Impulses are found in samples, which costs much: only the part that is shown is searched.
    is_part = settings.start_s > 0 or settings.seconds is not None
    part = (settings.start_s, settings.start_s + shown_s) if is_part else None
    (channel, *_), (facts,) = _heard(sources, train_settings, listener, part)
    heard = channel.heard
    seconds = max(part.start_s + part.seconds for part in heard.parts)
    repeats, surprise = None, None
    if settings.surprise:
        surprise = surprise_of(model, sources.tokenizer, channel)
    notes = [surprise] if isinstance(surprise, str) else []
    if settings.impulses and is_part and shown_s < seconds - ROUNDING_S:
        notes.append("Trains of impulses were looked for in this part alone.")
    if seconds > _MOST_COMPARED_S:
        notes.append(
            f"Repeats were not looked for, as the recording is longer than "
            f"{lasting(_MOST_COMPARED_S)}: ulmo repeats finds them."
        )
    else:
        try:
            scores = scores_of(sources.tokenizer)
            repeats = search(
                sources.tokenizer, scores, [channel], [facts], repeat_settings, listener
            )
        except UserError as error:
            notes.append(f"Repeats were not looked for: {error}.")
    classes = Classes.of(Events(REPEAT_COLUMNS, [] if repeats is None else repeats.rows))
    (regions,) = found_regions(sources, classes)
    rows = [row for row in regions.rows if row["channel"] == heard.channel]
    return HeardRecording(
        *(sources, facts, channel, length._replace(seconds=seconds), rows, repeats),
        None if isinstance(surprise, str) else surprise,
        notes,
    )


def _heard(
    sources: Sources,
    settings: RepeatSettings,
    listener: Listener,
    impulses_in: tuple[float, float] | None,
) -> tuple[list[Channel], list[dict[str, Any]]]:
    channels, facts = hear(sources, settings, listener, impulses_in=impulses_in)
    if facts[0]["status"] == "refused":
        raise RefusedError(facts[0]["reason"], facts[0]["detail"])
    return channels, facts
