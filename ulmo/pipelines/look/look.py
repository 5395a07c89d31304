"""ulmo look: a recording, its tokens, and what recurs in it, as one page that needs no network.

recording -> ids, repeats, regions -> samples -> sound, spectrogram, codes -> payload -> page
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.listening.recordings import Sources
from ulmo.listening.repeats import SILENT, Listener
from ulmo.pipelines.look.html import BEGIN, make_page
from ulmo.pipelines.look.recording import Length, LookSettings, hear_recording
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.plain_file import lexists, open_plain

_REMEDY = "name the page with --out PAGE.html"


class Looked(NamedTuple):
    """A page that was written."""

    page: Path
    bytes: int
    seconds: float  # of the recording that it shows
    regions: int
    classes: int  # of repeats
    codes: int
    facts: Mapping[str, Any]  # of the recording
    time_expansion: float  # with which it was heard


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


def check_channel(channels: str) -> None:
    """Raise UserError for `each`."""
    if channels == "each":
        raise UserError("one page shows one channel: set --channels to mix, or to a number")


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
    check_channel(sources.wanted.channels)
    check_page(page, source.source, replace=replace)
    make_folder(page.parent, _REMEDY)
    length = Length.of(sources)
    recording = hear_recording(sources, settings, length, length.shown(settings), listener)
    payload = recording.payload(settings.start_s, recording.length.shown(settings))
    content = make_page(payload["recording"]["name"], payload)
    with publish(page) as file:
        file.write(content)
    return Looked(
        page,
        bytes=len(content),
        seconds=payload["recording"]["seconds"],
        regions=len(payload["regions"]),
        classes=len([each for each in payload["classes"] if each["number"] is not None]),
        codes=len(payload["codes"]),
        facts=recording.facts,
        time_expansion=sources.tokenizer.prep.time_expansion,
    )
