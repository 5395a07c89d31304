"""ulmo verify --audio: whether all the sound that is in some recordings can be read.

Each is read to its end by the reader of ulmo-prep and ulmo-tokenize, and nothing is written.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.jobs.inputs import find_recordings, input_file
from ulmo.jobs.progress import Progress, ReadingProgress, lost_with
from ulmo.jobs.spread import BY_FILES, Spread
from ulmo.pipelines.verify.verify import Verified
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.opening import refusing
from ulmo.preprocessing.reading.refusal import WORKER_LOST
from ulmo.preprocessing.times.clock import Clock
from ulmo.preprocessing.times.soundtrap import unread_log
from ulmo.storage.faults import READ, Fault
from ulmo.storage.names import portable
from ulmo.storage.sidecar import sidecar_path

_BETTER_COPY = (
    "copy it again if there is a better copy; ulmo-prep and ulmo-tokenize use what can be read"
)
_AGAIN = "run ulmo verify again with fewer workers"
_BETTER_LOG = "copy it again; ulmo-prep and ulmo-tokenize flag the recording as time_not_linear"


class _Facts(NamedTuple):
    """What reading a recording to its end has shown."""

    status: str
    reason: str | None
    detail: str | None
    frames: int
    frames_missing: int
    log: str | None  # why the log beside it cannot be read to its end


def verify_recordings(
    place: Path,
    *,
    spread: Spread = BY_FILES,
    begin: Callable[[int], Progress] = lambda _: lambda *_: None,
) -> Verified:
    """Read every recording below a folder, or one file, and find those that are not whole.

    A recording that was repaired is whole: all its sound was read. A log beside a recording is read
    too. `spread` says where they are read. `begin` is called with the bytes of all recordings, and
    returns a callback for the bytes and milliseconds done since its last call. Raises UserError if
    there is no recording.
    """
    left_out: Counter[str] = Counter()
    folder = place
    names: Sequence[Path] = [Path()]
    if place.is_dir():
        names = find_recordings(place, left_out=left_out)
    elif place.is_file():
        folder, names = place.parent, [Path(place.name)]
    else:
        raise UserError(f"{place} is neither a file nor a folder")
    paths = [folder / name for name in names]
    size = sum(input_file(path).size for path in paths)
    with spread.open(len(paths), begin(size), inputs=paths) as executor:
        found = dict(executor.each(_read_whole, paths))
    counts = Counter(facts.status for facts in found.values())
    named = {status: count for status, count in sorted(counts.items()) if count}
    frames = sum(facts.frames for facts in found.values())
    missing = sum(facts.frames_missing for facts in found.values())
    faults = [_fault(portable(name), found[folder / name]) for name in names]
    faults += dict.fromkeys(_log_fault(name, found[folder / name]) for name in names)
    return Verified(
        place,
        "recordings",
        {"recordings": len(names), **named, "frames read": frames, "frames missing": missing}
        | {f"{kind} left out": count for kind, count in sorted(left_out.items())},
        [fault for fault in faults if fault is not None],
        [],
    )


def _read_whole(path: Path) -> _Facts:
    progress = ReadingProgress(input_file(path).size)
    clock, timing, log = Clock(), None, None
    try:
        if lost := lost_with(path):
            raise RefusedError(WORKER_LOST, lost)
        with refusing(path):
            log = unread_log(path)
        timing = clock.timing(path)
        with open_recording(path) as recording:
            progress.follow(recording, 1)
            for _ in recording.blocks():
                pass
            facts = recording.facts()
    except RefusedError as refusal:
        facts = clock.row(path, timing, refusal)
    finally:
        progress.end()
    facts["log"] = log
    return _Facts(**{name: facts[name] for name in _Facts._fields})


def _log_fault(name: Path, facts: _Facts) -> Fault | None:
    if facts.log is None:
        return None
    return Fault(portable(sidecar_path(name)), "unreadable", facts.log, _BETTER_LOG)


def _fault(name: str, facts: _Facts) -> Fault | None:
    if facts.status in ("ok", "repaired"):
        return None
    frames = f"; {facts.frames:,} frames read, {facts.frames_missing:,} missing"
    detail = f"{facts.reason} ({facts.detail}){frames if facts.status == 'partial' else ''}"
    if facts.reason == "unreadable":
        return Fault(name, "unreadable", detail, READ)
    if facts.reason == WORKER_LOST:
        return Fault(name, "unreadable", detail, _AGAIN)
    return Fault(name, "partial" if facts.status == "partial" else "refused", detail, _BETTER_COPY)
