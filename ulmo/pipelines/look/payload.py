"""What a page is given: one JSON object, whose schema stands here.

Times are true seconds from the recording's first sample; frequencies are hertz.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ulmo.formats.header import utc_text
from ulmo.listening.channels import Channel
from ulmo.pipelines.look.codes import describe_codes
from ulmo.pipelines.look.columns import Shown
from ulmo.pipelines.look.html import as_base64
from ulmo.pipelines.look.likeness import likeness_values
from ulmo.pipelines.look.sound import Samples, as_opus
from ulmo.pipelines.look.spectrogram import ROWS, draw_spectrogram
from ulmo.pipelines.look.surprise import Surprise
from ulmo.pipelines.look.words import header_lines
from ulmo.tokenizer import Tokenizer

SCHEMA_VERSION = 1


class Found(NamedTuple):
    """All that is known of a recording before its page is made."""

    name: str
    facts: Mapping[str, Any]  # of the recording, as in recordings.parquet
    channel: Channel
    samples: Samples
    regions: Sequence[Mapping[str, Any]]
    classes: Sequence[Mapping[str, Any]]
    surprise: Surprise | None  # of all columns of the channel
    notes: Sequence[str]  # why there are no repeats, and no surprise


def payload_of(tokenizer: Tokenizer, found: Found) -> dict[str, Any]:
    """The payload of a page."""
    samples, heard = found.samples, found.channel.heard
    end_s = samples.start_s + samples.seconds
    shown = Shown.of(found.channel, samples.start_s, end_s)
    sound, picture = as_opus(samples), draw_spectrogram(samples)
    codes, sheet = describe_codes(tokenizer, shown)
    return {
        "schema": SCHEMA_VERSION,
        "recording": {
            "name": found.name,
            "start_s": round(samples.start_s, 6),
            "seconds": round(samples.seconds, 6),
            "sample_rate": samples.rate,
            "channel": heard.channel,
            "start_utc": None if heard.start_utc is None else utc_text(heard.start_utc),
            "lines": header_lines(
                *(found.facts, heard, samples, sound, found.notes),
                tokenizer.prep.time_expansion,
            ),
        },
        "sound": {
            "ogg": as_base64(sound.ogg),
            "slowed": sound.slowed,
            "gain_db": sound.gain_db,
            "top_hz": sound.top_hz,
        },
        "spectrogram": {
            **picture._asdict(),
            "pictures": [as_base64(each) for each in picture.pictures],
            "rows": ROWS,
        },
        "tokens": {
            "ids": as_base64(np.ascontiguousarray(shown.ids, "<u4").tobytes()),  # time-major
            "columns": len(shown.ids),
            "bands": int(shown.ids.shape[1]),
            "column_s": shown.column_s,
            "segments": shown.segments(),
            "edges_hz": [round(edge, 3) for edge in tokenizer.edges_hz.tolist()],
            "unk": tokenizer.vocabulary.unk,
        },
        "codes": codes,
        "code_picture": {
            "webp": as_base64(sheet.webp),
            "width": sheet.width,
            "height": sheet.height,
            "range_db": sheet.range_db,
        },
        "likeness": likeness_values(shown.ids, tokenizer.bundle.scores()),
        "regions": list(found.regions),
        "classes": list(found.classes),
        "links": None,  # to other pages, where pages are served: all, earlier, later
        # bits of each column and peaks, where a model of tokens is there
        "surprise": found.surprise and found.surprise.at(shown.place).values(),
    }
