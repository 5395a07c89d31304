"""Tokens to write: headers and ids that fit each other."""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ulmo.formats import FORMATS
from ulmo.formats.base import ALL_RUNS
from ulmo.formats.header import Segment, TokensHeader
from ulmo.formats.publish import publish_tokens
from ulmo.storage.names import portable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UTC_START = datetime(2026, 3, 1, 23, 59, 59, 999_999, UTC)
GRID = {
    "fingerprint": "ab" * 32,
    "sample_rate": 16_000,
    "hop": 2560,
    "frame_hop": 160,
    "edges_hz": (0.0, 50.5, 1000.0, 8010.25),
    "codebook_size": 16,
}
VALUES = {**GRID, "recording": "x.wav", "columns": 2, "frames": 17, "unknown": 6}
VOCABULARY = 64
UNK, EOS = 16, 19


def grid(bands=3, **values):
    edges = (0.0, 50.5, 1000.0, 8010.25) if bands == 3 else tuple(map(float, range(bands + 1)))
    return {**GRID, "edges_hz": edges, **values}


def random_ids(columns, bands=3, *, seed=0, highest=VOCABULARY):
    """Ids that often repeat, with every special token among them."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, highest, (columns, bands))
    return np.where(rng.random((columns, bands)) < 0.5, ids, UNK).astype(np.int32)


def header_of(ids, *, recording="a/x.wav", filled=16, **values):
    """The header of ids (time, band); `filled` frames of the last column are sound."""
    values = {**grid(ids.shape[1]), "recording": recording, **values}
    stride = values["hop"] // values["frame_hop"]
    return TokensHeader(
        **values,
        columns=len(ids),
        frames=max(0, (len(ids) - 1) * stride + filled) if len(ids) else 0,
        unknown=int((ids == values["codebook_size"]).sum()),
    )


def begun(header):
    """The header before its length is known."""
    return header.ended(columns=0, frames=0, unknown=0)


def write_all(writer, recordings, cuts=()):
    """Write (header, ids) of each, the ids cut as told."""
    for header, ids in recordings:
        writer.begin(begun(header))
        for piece in np.split(ids, sorted(cut for cut in cuts if cut <= len(ids))):
            writer.write(piece)
        writer.end(header)


def written(name, recordings, cuts=(), labelling=ALL_RUNS):
    """The bytes of each file of a format."""
    files = [io.BytesIO() for _ in FORMATS[name].suffixes]
    writer = FORMATS[name](files, labelling)
    write_all(writer, recordings, cuts)
    writer.close()
    return [file.getvalue() for file in files]


def save(path, name, recordings, **options):
    """Publish recordings; the path."""
    with publish_tokens(path, name, **options) as writer:
        write_all(writer, recordings)
    return path


def some(lengths=(5, 0, 9000), **values):
    """Recordings of these lengths; the second and later know their time and channel."""
    recordings = []
    for number, length in enumerate(lengths):
        ids = random_ids(length, seed=number)
        more = {"channel": number, "start_utc": UTC_START, "start": 80} if number else {}
        name = portable(Path(f'a/ä "b", c\t{number}.wav'))
        recordings.append((header_of(ids, recording=name, filled=3, **more, **values), ids))
    return recordings


@st.composite
def streams(draw):
    """A stream of segments in files, and for each its true time and its place, exactly."""
    rate, gaps = draw(st.sampled_from([16_000, 44_100])), draw(GAPS)
    segments, column, offset, frame = [], 0, 0, 0
    for number in range(draw(st.integers(1, 6))):
        late = draw(st.integers(0, 40))  # columns
        between = 0 if not number else {"keep": late, "one": min(late, 1), "omit": 0}[gaps]
        offset += late * 2560 * (number > 0)
        column += between
        own = 48_000 if number < 4 else 8_000
        if number % 2 == 0:
            frame = draw(st.integers(0, 10**6))
        columns, short = draw(st.integers(1, 9)), draw(st.integers(0, 2559))
        frames = -(-(columns * 2560 - short) * own // rate)
        name = f"card/{number // 2}.wav"
        segments.append(
            Segment(
                recording=name,
                column=column,
                columns=columns,
                offset=offset,
                recording_rate=own,
                frame=frame,
                frames=frames,
                file_frames=10**7,
            )
        )
        column, offset, frame = column + columns, offset + columns * 2560, frame + frames
    return stream_of(segments, column, rate, gaps)


GAPS = st.sampled_from(["keep", "one", "omit"])


def stream_of(segments, columns, rate=16_000, gaps="keep"):
    values = {
        **VALUES,
        "sample_rate": rate,
        "columns": columns,
        "frames": columns * 16,
        "unknown": 0,
    }
    return TokensHeader(**values, segments=segments, gaps=gaps, start_utc=EPOCH)
