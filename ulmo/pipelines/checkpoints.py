"""Checksums of a run's checkpoints, beside TensorFlow's own: to tell damage without TensorFlow.

checkpoints/digests.json         SHA-256 of each file below checkpoints/
checkpoints/checkpoint           TensorFlow's: the latest one, and those that are kept
checkpoints/ckpt-N.index, .data  the state after step N
checkpoints/best/                the same of the best epoch

The digests are written right after a checkpoint is: where a kill comes between, that checkpoint is
not among them yet, and TensorFlow's own checksums alone tell whether it is whole.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ulmo.config import Settings, UserError, read_json
from ulmo.plain_file import file_hash
from ulmo.preprocessing.atomic import publish
from ulmo.preprocessing.store import write_sealed

DIGESTS = "digests.json"
STATE = "checkpoint"
MAX_STATE_BYTES = 1 << 16
BEST = "best"
AGAIN = "go back to the checkpoint before with ulmo verify RUN_DIR --repair"
LATEST = re.compile(r'^model_checkpoint_path: "([^"\n]{1,255})"$', re.MULTILINE)
NAME = re.compile(r"ckpt-(?P<step>\d{1,18})\.(index|data-\d{5}-of-\d{5})")

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Place = Annotated[str, Field(pattern=r"^(best/)?(checkpoint|ckpt-\d{1,18}\.[a-z0-9-]{1,32})$")]


class Digests(Settings):
    """digests.json."""

    schema_version: Literal[1] = 1
    files: dict[Place, Hash]
    """By path below checkpoints/."""


def write_digests(folder: Path, saved: str) -> None:
    """Note the files of a checkpoint that was just saved, by its path without an ending.

    Those of others stay as they were noted: what has changed since then is damaged.
    """
    known = read_digests(folder)
    fresh = Path(saved).relative_to(folder).as_posix()
    files = dict(known.files) if known else {}
    for path in checkpoint_files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in files or path.name == STATE or prefix_of(name) == fresh:
            files[name] = file_hash(path) or ""
    there = {path.relative_to(folder).as_posix() for path in checkpoint_files(folder)}
    kept = {name: value for name, value in sorted(files.items()) if name in there}
    write_sealed(folder / DIGESTS, Digests(files=kept))


def check_digests(folder: Path) -> None:
    """UserError where a checkpoint is damaged that a run may go back to."""
    if damaged := damaged_files(folder):
        raise UserError(f"{folder / damaged[0]} is damaged or missing: {AGAIN}")


def read_digests(folder: Path) -> Digests | None:
    """What is noted; None before the first checkpoint is. UserError where it is damaged."""
    path = folder / DIGESTS
    if not path.exists():
        return None
    return read_json(path, Digests, newest=1, remedy=AGAIN, sealed=True)


def damaged_files(folder: Path) -> list[str]:
    """Files, below the folder, that are not as they were noted; UserError as above."""
    digests = read_digests(folder)
    if digests is None:
        return []
    wrong = [name for name, value in digests.files.items() if _hash(folder / name) != value]
    return [name for name in wrong if not _is_newer(folder, name, digests)]


def checkpoint_files(folder: Path) -> list[Path]:
    """What TensorFlow writes there."""
    found = []
    for place in (folder, folder / BEST):
        if place.is_dir():
            found += [
                p for p in sorted(place.iterdir()) if p.name == STATE or NAME.fullmatch(p.name)
            ]
    return found


def latest(folder: Path) -> str | None:
    """What TensorFlow's state names as the latest checkpoint, ckpt-N."""
    try:
        with (folder / STATE).open("rb") as file:
            text = file.read(MAX_STATE_BYTES).decode()
    except (OSError, ValueError):
        return None
    found = LATEST.search(text)
    return found[1] if found else None


def fall_back(folder: Path) -> str | None:
    """Go back to the newest checkpoint that is whole, and remove those that are not.

    Of the folder, or of its best/ alone. The name of the checkpoint; None where none is whole.
    """
    digests = read_digests(folder.parent if folder.name == BEST else folder)
    start = f"{BEST}/" if folder.name == BEST else ""
    noted = {
        name.removeprefix(start): value
        for name, value in (digests.files if digests else {}).items()
        if name.startswith(start) and "/" not in name.removeprefix(start)
    }
    groups: dict[str, list[str]] = {}
    for name in noted:
        if name != STATE:
            groups.setdefault(prefix_of(name), []).append(name)
    whole = [
        prefix
        for prefix, names in groups.items()
        if all(file_hash(folder / name) == noted[name] for name in names)
    ]
    whole.sort(key=lambda prefix: int(prefix.removeprefix("ckpt-")))
    for path in checkpoint_files(folder):
        if path.parent == folder and prefix_of(path.name) not in whole:
            path.unlink()
    if not whole:
        return None
    with publish(folder / STATE) as file:
        file.write(_state(whole).encode())
    return whole[-1]


def note_again(folder: Path, names: Iterable[str]) -> None:
    """Note the files that are there, after some were removed or written by `fall_back`."""
    known = read_digests(folder)
    changed = set(names)
    files = {
        name: (file_hash(folder / name) or "") if name in changed else value
        for name, value in (known.files if known else {}).items()
        if (folder / name).is_file()
    }
    write_sealed(folder / DIGESTS, Digests(files=files))


def prefix_of(name: str) -> str:
    """ckpt-N of ckpt-N.index."""
    return name.rpartition(".")[0] if NAME.search(name) else name


def _hash(path: Path) -> str | None:
    """That of a file; none of a state that is longer than any is."""
    if path.name == STATE and path.is_file() and path.stat().st_size > MAX_STATE_BYTES:
        return None
    return file_hash(path)


def _is_newer(folder: Path, name: str, digests: Digests) -> bool:
    """True of what a save has replaced that was killed before it was noted."""
    place = (folder / name).parent
    start = f"{BEST}/" if place.name == BEST and place != folder else ""
    now = latest(place)
    if now is None or not (place / f"{now}.index").is_file():
        return False
    unnoted = f"{start}{now}.index" not in digests.files
    return unnoted and (name.endswith(STATE) or not (folder / name).exists())


def _state(names: list[str]) -> str:
    """TensorFlow's file of that name, as text (its checkpoint_state.proto)."""
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    lines += ["all_model_checkpoint_timestamps: 0.0" for _ in names]
    return "\n".join([*lines, "last_preserved_timestamp: 0.0"]) + "\n"
