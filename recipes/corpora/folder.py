"""The folder of a corpus: its recordings, and the tables beside them.

Recordings are published one by one, so that a killed job goes on where it was. The tables follow,
and corpus.json last: a folder that has it is complete, and is not touched again.
"""

import csv
from collections.abc import Callable, Iterable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import Field

from ulmo.config import Settings, UserError
from ulmo.storage.atomic import make_folder, publish, remove_temporaries
from ulmo.storage.sealed import read_json, write_sealed

Samples = NDArray[np.int16]
SUMMARY = "corpus.json"


class Label(NamedTuple):
    """A row of labels.csv: what a whole recording holds."""

    file: str  # below the corpus folder
    label: str
    extra: str = ""  # `name=value` pairs with semicolons between


class Pair(NamedTuple):
    """A row of pairs.csv: two recordings that say the same.

    What is heard at a_times[i] of one is heard at b_times[i] of the other, linear between.
    """

    a: str  # below the corpus folder
    b: str
    a_times: tuple[float, ...]  # seconds, rising
    b_times: tuple[float, ...]  # as many


class Content(NamedTuple):
    """What the tables of a corpus say of its recordings."""

    labels: list[Label]
    pairs: list[Pair]
    licence: str  # the text of LICENSE.txt


class Corpus(NamedTuple):
    """A corpus that the command makes."""

    folder: str
    licence: str  # SPDX identifier
    edition: int  # raised when a recording or a table changes
    make: Callable[[Path, int], Content]  # writes recordings below a folder; with so many processes


class Summary(Settings):
    """The content of corpus.json."""

    schema_version: int = 1
    edition: int
    licence: str
    recordings: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]  # of the recordings
    pairs: Annotated[int, Field(ge=0)]


def write_recording(path: Path, samples: Samples, rate: int) -> None:
    """Publish samples (frames,) as FLAC with 16 bits; a file that is there already stays."""
    if path.exists():
        return
    make_folder(path.parent, "choose another AUDIO_ROOT")
    content = BytesIO()
    soundfile.write(content, samples, rate, format="FLAC", subtype="PCM_16")
    with publish(path) as file:
        file.write(content.getvalue())


def build(corpus: Corpus, root: Path, workers: int) -> Summary:
    """Make a corpus below a folder, or go on with it; one that is complete is left as it is.

    UserError if an older edition of the recipe made what is there.
    """
    folder = root / corpus.folder
    remedy = f"remove {folder}, and run the same again"
    if (folder / SUMMARY).exists():
        summary = read_json(folder / SUMMARY, Summary, newest=1, remedy=remedy, sealed=True)
        if summary.edition != corpus.edition:
            raise UserError(
                f"{folder} is edition {summary.edition}, not {corpus.edition}: {remedy}"
            )
        return summary
    make_folder(folder, "choose another AUDIO_ROOT")
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        remove_temporaries(each, lambda _: True)
    content = corpus.make(folder, workers)
    infos = [soundfile.info(folder / label.file) for label in content.labels]
    sizes = [(folder / label.file).stat().st_size for label in content.labels]
    summary = Summary(
        edition=corpus.edition,
        licence=corpus.licence,
        recordings=len(infos),
        seconds=round(sum(info.frames / info.samplerate for info in infos), 3),
        bytes=sum(sizes),
        pairs=len(content.pairs),
    )
    labels = [(*label, "", "") for label in content.labels]
    write_table(folder / "labels.csv", ("file", "label", "extra", "start", "end"), labels)
    if content.pairs:
        pairs = [(p.a, p.b, seconds(p.a_times), seconds(p.b_times)) for p in content.pairs]
        write_table(folder / "pairs.csv", Pair._fields, pairs)
    with publish(folder / "LICENSE.txt") as file:
        file.write(content.licence.encode())
    write_sealed(folder / SUMMARY, summary)
    return summary


def seconds(times: Iterable[float]) -> str:
    """Times as pairs.csv has them, to the microsecond."""
    return " ".join(f"{time:.6f}" for time in times)


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Publish a CSV table."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    with publish(path) as file:
        file.write(text.getvalue().encode())
