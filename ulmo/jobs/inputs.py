"""Recordings below a folder, and how each is recognised again."""

import os
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from ulmo.config import UserError
from ulmo.storage.plain_file import open_file, signature_of
from ulmo.storage.walk import by_bytes, walk

_SUFFIXES = frozenset(
    {".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".caf", ".au"}
)
_END_BYTES = 4096  # at either end of a file, to recognise it by


class InputFile(NamedTuple):
    """A recording as the plan knows it."""

    path: Path  # below AUDIO_DIR
    size: int
    mtime_ns: int
    ends: int  # CRC-32C of both ends: two recorders write files of one name and size


def find_recordings(folder: Path, *, skip: Path | None = None) -> list[Path]:
    """Find every file below a folder whose name ends as sound does, as a path relative to it.

    A link that leads nowhere, a pipe and a device are recordings that cannot be read, and so is
    a folder that cannot be looked into. `skip` names a folder to leave out, such as the output's
    own. Raises UserError if the folder itself cannot be looked into.
    """
    top, left_out = folder.resolve(), skip and skip.resolve()
    found = walk(folder, skip=lambda path: top / path == left_out)
    sounds = [path for path in found.files if path.suffix.lower() in _SUFFIXES]
    return by_bytes([*sounds, *found.closed])


def list_inputs(audio_dir: Path, out_dir: Path) -> list[InputFile]:
    """List every sound file below a folder, in a fixed order. Raises UserError if there is none."""
    if not audio_dir.is_dir():
        raise UserError(f"{audio_dir} is not a folder")
    found = find_recordings(audio_dir, skip=out_dir)
    if not found:
        raise UserError(f"no recordings below {audio_dir} (.wav, .flac, .ogg and others)")
    return [input_file(audio_dir, path) for path in found]


def input_file(audio_dir: Path, path: Path) -> InputFile:
    """Describe a recording, by its path below a folder; if it cannot be read, all numbers are 0."""
    try:
        with open_file(audio_dir / path) as file:
            found = signature_of(file)
            ends = file.read(_END_BYTES)
            file.seek(max(found.size - _END_BYTES, 0))
            ends += file.read(_END_BYTES)
    except OSError:
        return InputFile(path, 0, 0, 0)
    return InputFile(path, found.size, found.mtime_ns, int(google_crc32c.value(ends)))


def portable(path: Path) -> str:
    r"""A path as text that every file format takes. No two paths have the same text.

    Bytes that are not UTF-8 become \xNN. In such a path, and in one that contains `\x` anyway,
    every backslash is doubled.
    """
    name = os.fsencode(path.as_posix())
    text = name.decode("utf-8", "backslashreplace")
    if r"\x" not in text:
        return text
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
