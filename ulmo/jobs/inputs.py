"""Recordings below a folder, and what each is known again by."""

import os
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from ulmo.config import UserError
from ulmo.jobs.find import find_recordings
from ulmo.storage.open_file import open_file, signature_of

END_BYTES = 4096
"""Bytes at either end of a file by which it is known again."""


class InputFile(NamedTuple):
    """A recording as the plan knows it."""

    path: Path  # below AUDIO_DIR
    size: int
    mtime_ns: int
    ends: int
    """CRC-32C of its first and last bytes: two recorders give files of one name and size."""


def list_inputs(audio_dir: Path, out_dir: Path) -> list[InputFile]:
    """Every sound file below the folder, in a fixed order."""
    if not audio_dir.is_dir():
        raise UserError(f"{audio_dir} is not a folder")
    found = find_recordings(audio_dir, skip=out_dir)
    if not found:
        raise UserError(f"no recordings below {audio_dir} (.wav, .flac, .ogg and others)")
    return [input_file(audio_dir, path) for path in found]


def input_file(audio_dir: Path, path: Path) -> InputFile:
    """A recording, by its path below a folder; one that cannot be read has nothing."""
    try:
        with open_file(audio_dir / path) as file:
            found = signature_of(file)
            ends = file.read(END_BYTES)
            file.seek(max(found.size - END_BYTES, 0))
            ends += file.read(END_BYTES)
    except OSError:
        return InputFile(path, 0, 0, 0)
    return InputFile(path, found.size, found.mtime_ns, int(google_crc32c.value(ends)))


def portable(path: Path) -> str:
    r"""A path as text that every file format takes, and no other path has.

    Bytes that are no UTF-8 are \xNN. In such a path, and in one that has `\x` in it anyway, a
    backslash is two.
    """
    name = os.fsencode(path.as_posix())
    text = name.decode("utf-8", "backslashreplace")
    if r"\x" not in text:
        return text
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
