"""A bundle in a zip file, as somebody else may have made it."""

import os
import stat
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ulmo.bundle.folder import FolderKind
from ulmo.bundle.place import Place
from ulmo.config import UserError
from ulmo.storage.plain_file import create_file

# Bytes that are read at a time, and at most of the list of files: a bundle's has less than 1 kB.
_BLOCK = 1 << 17
_REMEDY = "get the zip file again from an undamaged source"
# What zipfile raises for damaged files; NotImplementedError: a compression it does not know.
_DAMAGED = (BadZipFile, EOFError, NotImplementedError, ValueError, OverflowError, zlib.error)


class Zipped(Place):
    """A zip file with the files of a bundle, or with one folder that holds them.

    No name in the zip file becomes a path: a file is unpacked under the name that was asked for,
    into a folder of its own, and only if the length that the zip file states is allowed. No more
    than this length is unpacked.
    """

    def __init__(self, path: Path, file: BinaryIO, kind: FolderKind, below: Path) -> None:
        super().__init__(path, _REMEDY)
        self._below, self._kind = below, kind
        try:
            self._zip = ZipFile(_Bounded(file))
            entries = self._zip.infolist()
        except (*_DAMAGED, OSError) as error:
            raise UserError(
                f"{path} is a file: give the folder that holds {kind.manifest}, or a zip file of "
                f"it ({error})"
            ) from None
        self._entries = self._of_bundle(entries)

    def _of_bundle(self, entries: list[ZipInfo]) -> dict[str, ZipInfo]:
        """The files by their names in the bundle; UserError if there are others, or one twice."""
        kind, found = self._kind, dict[str, ZipInfo]()
        parts = [entry.filename.rpartition("/") for entry in entries]
        folders = [folder + slash for folder, slash, name in parts if name == kind.manifest]
        folder = min(folders, key=len, default=None)
        if folder is None or folder.count("/") > 1:
            raise UserError(f"{self.place} is not {kind.article}: it has no {kind.manifest}")
        for entry in entries:
            name = entry.filename.removeprefix(folder)
            if entry.filename == folder:
                continue  # the folder itself
            inside = entry.filename.startswith(folder) and not name.startswith("..")
            if not inside or not kind.may_hold(name):
                raise UserError(
                    f"{self.place} holds {entry.filename!r}, not part of {kind.article}: pack it "
                    "again without"
                )
            if name in found:
                raise UserError(f"{self.place} holds {name!r} twice: {_REMEDY}")
            found[name] = entry
        return found

    def has(self, name: str) -> bool:
        """Whether the zip file lists the file."""
        return name in self._entries

    def file(self, name: str, most: int) -> Path:
        """The file, unpacked."""
        path = self._below / name
        self.paths[name] = path
        entry = self._entries.get(name)
        if entry is None:
            raise UserError(f"{path} is missing: {_REMEDY}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{path} is a link: pack the {self._kind.noun} with its links followed")
        if entry.flag_bits & 1 or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise UserError(f"{path} is encrypted, or packed in an unusual way: pack it with zip")
        if entry.file_size > most:
            raise UserError(f"{path} has {entry.file_size} bytes, not {most} or fewer: {_REMEDY}")
        try:
            with self._zip.open(entry) as packed, create_file(path) as file:
                _copy(packed, file, entry.file_size)
        except _DAMAGED as error:
            raise UserError(f"{path} cannot be unpacked ({error}): {_REMEDY}") from None
        return path


def _copy(packed: IO[bytes], file: BinaryIO, left: int) -> None:
    while left and (block := packed.read(min(left, _BLOCK))):
        file.write(block)
        left -= len(block)


class _Bounded:
    """An open zip file of which only small pieces are read, whatever length its list states."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; ValueError for more than a block."""
        content = self._file.read(_BLOCK + 1 if size < 0 else min(size, _BLOCK + 1))
        if len(content) > _BLOCK:
            raise ValueError("its list of files is too long")
        return content

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place; ValueError for one outside of the file, to which a wrong list leads."""
        if whence == 0 and not 0 <= place <= self._size:
            raise ValueError(f"its list of files names byte {place}")
        return self._file.seek(place, whence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
