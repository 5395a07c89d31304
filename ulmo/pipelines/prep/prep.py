"""ulmo-prep: a folder of recordings becomes a folder of tiles.

    recordings -> jobs of a few recordings -> shards, tile rows, a ledger -> two tables

A job is planned from names and sizes alone, and depends on nothing but its own recordings, the
settings and the corpus constants. Any number of workers, killed and run again any number of
times, therefore leave the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ulmo.config import LIMITS, AugmentSettings, ClockSettings, Limits, PrepSettings
from ulmo.jobs.inputs import InputFile, list_inputs
from ulmo.jobs.outcome import FlagCount, count_flags
from ulmo.pipelines.prep.job import plan_of
from ulmo.pipelines.prep.output import PrepOutput, Source
from ulmo.preprocessing.augment import check_views
from ulmo.preprocessing.frontends import build_frontend, check_used
from ulmo.preprocessing.spectrogram import check_sound
from ulmo.preprocessing.store import TilesManifest
from ulmo.preprocessing.times.clock import Clock
from ulmo.preprocessing.times.names import unread_names
from ulmo.storage.atomic import make_folder
from ulmo.storage.lock import LOCK, locked
from ulmo.storage.names import portable


class PrepSummary(NamedTuple):
    """What a job did."""

    out_dir: Path
    recordings: int
    hours: float
    tiles: int
    statuses: dict[str, int]
    refused: list[tuple[str, str, str]]  # path, reason code and detail of each
    reused: bool  # whether everything was there already
    untimed: int  # recordings whose names do not fit --timestamp-pattern; 0 without one
    flags: Mapping[str, FlagCount] = {}  # recordings that have each flag
    unread: tuple[str, ...] = ()  # recordings whose names hold a time that is not understood
    rewritten: tuple[str, ...] = ()  # recordings modified after the output was complete
    partial: Sequence[tuple[str, str, str]] = ()  # as `refused`: of which some sound is lost
    left_out: Mapping[str, int] = {}  # files of sound that is not read, by kind (.wac)


def prepare(
    audio_dir: Path,
    out_dir: Path,
    settings: PrepSettings,
    *,
    augment: AugmentSettings | None = None,
    clock: ClockSettings | None = None,
    workers: int = 1,
    accept_changes: bool = False,
    limits: Limits = LIMITS,
    progress: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> PrepSummary:
    """Prepare every recording below a folder.

    `progress` is called with the bytes of all recordings, and returns a callback taking the bytes
    done since its last call. With `accept_changes`, recordings of a complete output that changed or
    are gone are no error: the output becomes that of the present ones. Raises UserError for
    settings that cannot be met, for folders that do not fit and for an output that was made with
    other settings.
    """
    augment = augment or AugmentSettings()
    clock = clock or ClockSettings()
    check_sound(settings, limits)
    build_frontend(settings)
    check_used(settings)
    times = Clock.of(clock)
    if augment.views > 1:
        check_views(settings, augment, limits)
    left_out: Counter[str] = Counter()
    files = list_inputs(audio_dir, out_dir, left_out)
    times.check(file.path.name for file in files)
    source = Source(audio_dir, files, workers, progress)
    wanted = TilesManifest(settings=settings, augment=augment, clock=clock, plan=plan_of(files))
    output = PrepOutput(out_dir, source, wanted, accept_changes=accept_changes)
    if output.is_finished:
        return _summary(out_dir, output, files, left_out, reused=True)
    make_folder(out_dir, "choose another")
    with locked(out_dir / LOCK, out_dir):
        output = PrepOutput(out_dir, source, wanted, accept_changes=accept_changes)
        reused = output.finish()
    return _summary(out_dir, output, files, left_out, reused=reused)


def _summary(
    out_dir: Path,
    output: PrepOutput,
    files: Sequence[InputFile],
    left_out: Mapping[str, int],
    *,
    reused: bool,
) -> PrepSummary:
    rows = output.ledger.read_table()
    statuses = pc.value_counts(rows["status"]).to_pylist()
    newer = map(portable, (file.path for file in output.modified()))
    pattern = output.ledger.manifest.clock.timestamp_pattern
    untimed = pc.not_equal(pc.fill_null(rows["start_source"], ""), "pattern")
    return PrepSummary(
        out_dir=out_dir,
        recordings=len(rows),
        hours=(pc.sum(rows["duration_s"]).as_py() or 0.0) / 3600,
        tiles=pc.sum(rows["tiles"]).as_py(),
        statuses={count["values"]: count["counts"] for count in statuses},
        refused=_named(rows, "refused"),
        reused=reused,
        untimed=pc.sum(untimed).as_py() if pattern else 0,
        flags=count_flags(_flagged(rows)),
        unread=tuple(unread_names(rows.filter(pc.is_null(rows["start_utc"]))["path"].to_pylist())),
        rewritten=tuple(newer) if reused else (),
        partial=_named(rows, "partial"),
        left_out=left_out,
    )


def _named(rows: pa.Table, status: str) -> list[tuple[str, str, str]]:
    """Path, reason code and detail of each recording with a status."""
    found = rows.filter(pc.equal(rows["status"], status))
    columns = (found[name].to_pylist() for name in ("path", "reason", "detail"))
    return list(zip(*columns, strict=True))


def _flagged(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows that have flags, a batch at a time."""
    named = rows.select(["path", "flags", "sample_rate", "bandwidth_hz", "peak_db"])
    for batch in named.to_batches(max_chunksize=4096):
        yield from batch.filter(pc.greater(pc.list_value_length(batch["flags"]), 0)).to_pylist()
