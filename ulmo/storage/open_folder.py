"""Folders that are held open while files are written to them.

A name is looked up in the open folder itself. If somebody renames the folder meanwhile, or puts a
link in its place, the files still go to the folder that was opened.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from ulmo.storage.plain_file import create_file

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
NO_LINK = _FOLDER | getattr(os, "O_NOFOLLOW", 0)
IS_POSIX = os.name != "nt"  # Windows opens no folders, and moves or removes no open file


class OpenFolder:
    """An open folder. All names are of files in it."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor  # None on Windows: names are then looked up by the path

    def create(self, name: str) -> BinaryIO:
        """Open a new file, as `create_file` does."""
        return create_file(self._named(name), folder=self._descriptor)

    def names(self) -> list[str]:
        """Names of the files and links in it, sorted; those of folders are left out."""
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as entries:
            return sorted(each.name for each in entries if not each.is_dir(follow_symlinks=False))

    def open(self, name: str, flags: int) -> int:
        """Open a file that is there; returns its descriptor."""
        return os.open(self._named(name), flags, dir_fd=self._descriptor)

    def move(self, old: str, new: str, to: "OpenFolder | None" = None) -> None:
        """Give a file another name, here or in another folder, in place of the file that has it."""
        source, target = self._descriptor, (to or self)._descriptor
        place = (to or self)._named(new)
        os.replace(self._named(old), place, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self._named(name), dir_fd=self._descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder. Raises OSError."""
        os.rmdir(self._named(name), dir_fd=self._descriptor)

    def status(self, name: str) -> os.stat_result | None:
        """The status of a file or a link, or None if there is none."""
        with suppress(FileNotFoundError):
            return os.stat(self._named(name), dir_fd=self._descriptor, follow_symlinks=False)
        return None

    def sync(self) -> None:
        """Make its names survive a power cut. Windows has no such call."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _named(self, name: str) -> str:
        return str(self.path / name) if self._descriptor is None else name


@contextmanager
def open_folder(folder: Path, *, below: Path | None = None) -> Iterator[OpenFolder]:
    """Open a folder. OSError if there is none.

    `below`: a folder above it that the user named. It may be a link, but what lies in it is ulmo's:
    NotADirectoryError is raised if a part of the way from there to `folder` is a link.
    """
    if not IS_POSIX:
        yield OpenFolder(folder, None)
        return
    descriptor = _descriptor(folder, below)
    try:
        yield OpenFolder(folder, descriptor)
    finally:
        os.close(descriptor)


def _descriptor(folder: Path, below: Path | None) -> int:
    """Open a folder, part by part if links are not to be followed."""
    if below is None:
        return os.open(folder, _FOLDER)
    is_whole = folder.is_absolute() and below.is_absolute()
    parts = _way(folder, below, None if is_whole else Path.cwd())
    if parts is None:
        return os.open(folder, _FOLDER)
    here = os.open(below, _FOLDER)
    for depth, part in enumerate(parts, 1):
        try:
            inside = os.open(part, NO_LINK, dir_fd=here)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            place = below.absolute().joinpath(*parts[:depth])
            why = "a link is in its place" if place.is_symlink() else error.strerror
            raise NotADirectoryError(errno.ENOTDIR, why, str(place)) from None
        finally:
            os.close(here)
        here = inside
    return here


@lru_cache(maxsize=64)  # a folder has many files, and nothing is looked up on the disk
def _way(folder: Path, below: Path, cwd: Path | None) -> tuple[str, ...] | None:
    """The folders from `below` to `folder`; None if it is not below. `cwd` if one is relative."""
    inner, outer = (each if cwd is None else cwd / each for each in (folder, below))
    return inner.relative_to(outer).parts if inner.is_relative_to(outer) else None
