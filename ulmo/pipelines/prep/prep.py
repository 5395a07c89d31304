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

from ulmo.config import LIMITS, AugmentSettings, ClockSettings, Limits, PrepSettings
from ulmo.jobs.inputs import list_inputs
from ulmo.jobs.outcome import FlagCount, count_flags
from ulmo.jobs.spread import HERE, Spread
from ulmo.pipelines.prep.job import Source, plan_of
from ulmo.pipelines.prep.output import PrepOutput
from ulmo.pipelines.prep.replacement import TILES_TABLE, finish_replacement
from ulmo.preprocessing.augment import check_views
from ulmo.preprocessing.frontends import build_frontend, check_used
from ulmo.preprocessing.spectrogram import check_sound
from ulmo.preprocessing.store import BESIDE, TilesManifest
from ulmo.preprocessing.times.clock import Clock
from ulmo.preprocessing.times.names import unread_names
from ulmo.storage.atomic import make_folder
from ulmo.storage.lock import LOCK, locked
from ulmo.storage.names import portable
from ulmo.storage.packed import Packed
from ulmo.storage.remote_output import Records, staged_output
from ulmo.storage.remote_path import RemotePath, check_apart

_RECORDS = Records.of("prep", TILES_TABLE, replacing=BESIDE)


class PrepSummary(NamedTuple):
    """What a job did."""

    out_dir: Path
    recordings: int
    hours: float
    tiles: int
    statuses: dict[str, int]
    refused: Sequence[tuple[str, str, str]]  # path, reason code and detail of each
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
    spread: Spread = HERE,
    accept_changes: bool = False,
    limits: Limits = LIMITS,
    progress: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> PrepSummary:
    """Prepare every recording below a folder, where `spread` says; both folders may be in a store.

    `progress` is called with the bytes of all recordings, and returns a callback taking the bytes
    done since its last call. With `accept_changes`, recordings of a complete output that changed or
    are gone are no error: the output becomes that of the present ones. Raises UserError for
    settings that cannot be met, for folders that do not fit and for an output that was made with
    other settings.
    """
    if isinstance(out_dir, RemotePath):
        check_apart([audio_dir, out_dir])
        options: dict[str, Any] = {"spread": spread, "accept_changes": accept_changes}
        options |= {"augment": augment, "clock": clock, "limits": limits, "progress": progress}
        with staged_output(out_dir, _RECORDS) as folder:
            summary = prepare(audio_dir, folder, settings, **options)
        return summary._replace(out_dir=out_dir)
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
    source = Source(audio_dir, files, spread, progress)
    wanted = TilesManifest(settings=settings, augment=augment, clock=clock, plan=plan_of(files))
    output = PrepOutput(out_dir, source, wanted, accept_changes=accept_changes)
    if output.is_finished:
        return _summary(out_dir, output, left_out, reused=True)
    make_folder(out_dir, "choose another")
    del output  # it may hold the bytes of a table
    with locked(out_dir / LOCK, out_dir):
        finish_replacement(out_dir)
        output = PrepOutput(out_dir, source, wanted, accept_changes=accept_changes)
        reused = output.finish()
    return _summary(out_dir, output, left_out, reused=reused)


def _summary(
    out_dir: Path, output: PrepOutput, left_out: Mapping[str, int], *, reused: bool
) -> PrepSummary:
    statuses: Counter[str] = Counter()
    named = {status: Packed[tuple[str, str, str]]() for status in ("refused", "partial")}
    unread: list[str] = []
    seconds, tiles, untimed = 0.0, 0, 0

    def flagged() -> Iterator[Mapping[str, Any]]:
        """The rows that have flags; all are counted on the way."""
        nonlocal seconds, tiles, untimed
        for row in output.ledger.rows():
            statuses[row.status] += 1
            seconds += row.duration_s
            tiles += row.tiles
            untimed += row.start_source != "pattern"
            if row.status in named:
                named[row.status].append((row.path, row.reason or "", row.detail or ""))
            if row.start_utc is None:
                unread.extend(unread_names([row.path]))
            if row.flags:
                yield dict(row)

    flags = count_flags(flagged())
    newer = map(portable, (file.path for file in output.modified))
    return PrepSummary(
        out_dir=out_dir,
        recordings=statuses.total(),
        hours=seconds / 3600,
        tiles=tiles,
        statuses=dict(statuses),
        refused=named["refused"],
        reused=reused,
        untimed=untimed if output.ledger.manifest.clock.timestamp_pattern else 0,
        flags=flags,
        unread=tuple(unread),
        rewritten=tuple(newer) if reused else (),
        partial=named["partial"],
        left_out=left_out,
    )
