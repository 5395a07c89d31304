"""ulmo look: a recording, its tokens, and what recurs in it, as one page that needs no network.

recording -> ids, repeats, regions -> samples -> sound, spectrogram, codes -> payload -> page
"""

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
from ulmo.pipelines.look.page import BEGIN, make_page
from ulmo.pipelines.look.payload import Found, payload_of
from ulmo.pipelines.look.sound import read_samples, slowed_by
from ulmo.pipelines.look.words import lasting
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.plain_file import lexists, open_plain

MOST_SECONDS = 600.0  # of the sound as a page keeps it: of bats, slowed down
# Rows of repeats that a page may have by chance. A page is looked at and listened to, so it has
# more of them than the table of `ulmo repeats`, which has one in an hour.
_FALSE_ROWS = 2.0
_REMEDY = "name the page with --out PAGE.html"


class LookSettings(NamedTuple):
    """What a page shows."""

    start_s: float = 0.0
    seconds: float | None = None  # None: to the end
    false_per_hour: float | None = None  # of repeats; None: so that about two rows are by chance
    impulses: bool = True  # whether to look for trains of impulses, too


class Looked(NamedTuple):
    """A page that was written."""

    page: Path
    bytes: int
    seconds: float  # of the recording that it shows
    regions: int
    classes: int  # of repeats
    codes: int
    facts: dict[str, Any]  # of the recording


def check_page(page: Path, recording: Path, *, replace: bool) -> None:
    """Raise UserError unless a page may have its place.

    replace: the user named the page; else no file is replaced but a page of ulmo's.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{page} does not end with .html: {_REMEDY}")
    if page.exists() and recording.exists() and page.samefile(recording):
        raise UserError(f"{page} is the recording itself: {_REMEDY}")
    if replace or not lexists(page):
        return
    with open_plain(page, remedy=_REMEDY) as file:
        if file.read(len(BEGIN)) != BEGIN:
            raise UserError(f"{page} is there, and ulmo look did not write it: {_REMEDY}")


def look(
    sources: Sources,
    page: Path,
    settings: LookSettings,
    *,
    listener: Listener = SILENT,
    replace: bool = True,
) -> Looked:
    """Write the page of the one recording of `sources`.

    RefusedError for a recording that cannot be read; UserError for one that is too long, and for
    a page that cannot have its place.
    """
    (source,) = sources.found
    if sources.wanted.channels == "each":
        raise UserError("one page shows one channel: set --channels to mix, or to a number")
    check_page(page, source.source, replace=replace)
    make_folder(page.parent, _REMEDY)
    rate, length = _length(sources)
    shown_s = _shown(length, rate, settings)
    hours = max(shown_s, 1.0) / 3600
    wanted = settings.false_per_hour or max(_FALSE_ROWS / hours, 1.0)
    repeat_settings = RepeatSettings(false_per_hour=wanted, impulses=settings.impulses).check()
    channels, (facts,) = hear(sources, repeat_settings, listener)
    if facts["status"] == "refused":
        raise RefusedError(facts["reason"], facts["detail"])
    channel = channels[0]
    length = max(part.start_s + part.seconds for part in channel.heard.parts)
    shown_s = _shown(length, rate, settings)
    repeats, note = _repeats(sources, channel, facts, repeat_settings, listener)
    samples = read_samples(
        *(source.source, channel.heard.channel, sources.wanted.clock),
        *(sources.tokenizer.prep.full_scale, settings.start_s, shown_s),
    )
    start_s, end_s = samples.start_s, samples.start_s + samples.seconds
    found = Found(
        name=source.source.name,
        facts=facts,
        channel=channel,
        samples=samples,
        regions=region_values(
            row for row in _regions(sources, channel, repeats) if start_s <= row["start_s"] < end_s
        ),
        classes=[] if repeats is None else class_values(repeats, start_s, end_s),
        note=note,
    )
    payload = payload_of(sources.tokenizer, found)
    content = make_page(found.name, payload)
    with publish(page) as file:
        file.write(content)
    return Looked(
        page,
        bytes=len(content),
        seconds=samples.seconds,
        regions=len(found.regions),
        classes=len([each for each in found.classes if each["number"] is not None]),
        codes=len(payload["codes"]),
        facts=facts,
    )


def _length(sources: Sources) -> tuple[int, float | None]:
    """The rate of the recording, and its length in true seconds as far as its header tells."""
    path = sources.found[0].source
    spans = Clock.of(sources.wanted.clock).timing(path).spans
    with open_recording(path, full_scale=sources.tokenizer.prep.full_scale) as recording:
        rate, frames = recording.sample_rate, recording.frames
    if not frames or not spans:
        return rate, None
    last = spans[-1]
    held = frames - last.frame if last.frames is None else last.frames
    return rate, float(last.offset) + max(held, 0) / rate


def _shown(length: float | None, rate: int, settings: LookSettings) -> float:
    """Seconds of the recording that the page shows; UserError if it cannot show as many."""
    if length is None:
        return settings.seconds or MOST_SECONDS / slowed_by(rate)
    if settings.start_s >= length:
        raise UserError(f"the recording lasts {lasting(length)}: --start must be before its end")
    seconds = min(length - settings.start_s, settings.seconds or length)
    most = MOST_SECONDS / slowed_by(rate)
    if seconds > most:
        raise UserError(
            f"a page shows at most {lasting(most)} of a recording at {rate} Hz, and this one lasts "
            f"{lasting(length)}: choose a part with --start and --seconds {most:.0f}"
        )
    return seconds


def _repeats(
    sources: Sources,
    channel: Channel,
    facts: dict[str, Any],
    settings: RepeatSettings,
    listener: Listener,
) -> tuple[Repeats | None, str | None]:
    """What recurs in the recording; or None, and why nothing was looked for."""
    try:
        scores = scores_of(sources.tokenizer)
    except UserError as error:
        return None, f"Repeats were not looked for: {error}."
    return search(sources.tokenizer, scores, [channel], [facts], settings, listener), None


def _regions(sources: Sources, channel: Channel, repeats: Repeats | None) -> list[dict[str, Any]]:
    """Rows of `ulmo regions` for the channel, with the classes of repeats."""
    rows = [] if repeats is None else repeats.rows
    classes = Classes.of(Events(REPEAT_COLUMNS, rows))
    (found,) = found_regions(sources, classes)
    return [row for row in found.rows if row["channel"] == channel.heard.channel]
