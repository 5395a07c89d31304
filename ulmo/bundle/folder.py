"""A folder of a few files that belong together, such as a bundle: replaced whole, read as one.

Used by the tokenizer's bundle and by the token model.
"""

import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.storage.atomic import make_folders, owner_of, publish, short_name, sync_folder
from ulmo.storage.open_folder import open_folder
from ulmo.storage.sealed import fingerprint

_MAX_ENTRIES = 100  # in the folder, hidden ones included
# Files that may lie beside the others, and are never opened. Names that begin with a dot may, too.
_DOCUMENT = re.compile(
    r"(README|LICEN[CS]E|NOTICE|CITATION)(\.(md|txt|cff))?|config\.json", re.IGNORECASE
)


class FolderKind(NamedTuple):
    """What a kind of folder holds, and what messages call it."""

    noun: str  # "tokenizer"
    article: str  # "a tokenizer"
    manifest: str  # name of the file that says what the folder is
    names: Collection[str]  # of all its files
    below: str  # folder of a run that holds it

    def write(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Write the files beside `folder`, then move them there; a kill leaves the old or the new.

        For a moment the old folder is `.NAME.old`. `present` finds it there, and the next `write`
        first moves it back. Raises UserError, and changes nothing, if a file that is not part of
        such a folder lies there: the folder is replaced, and it would be lost.
        """
        folder = Path(os.path.realpath(folder))
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: move it away, or choose another folder")
        self.refuse_foreign(folder)
        new, old = _new(folder), _old(folder)
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (new, old):
            self._remove(left)
        make_folders(folder.parent)
        new.mkdir()  # fails if somebody else has made it meanwhile
        for name, data in files.items():
            with publish(new / name) as file:
                file.write(data)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync_folder(folder.parent)
        with suppress(OSError):  # what somebody has put there meanwhile stays
            self._remove(old)

    def refuse_foreign(self, folder: Path) -> None:
        """Raise UserError if a folder that `write` would replace holds what is not ulmo's."""
        for place in (folder, _new(folder), _old(folder)):
            if name := self.foreign_name(place):
                raise UserError(f"{place} holds {name!r}, which is not ulmo's: move it away")

    def foreign_name(self, folder: Path) -> str | None:
        """A name in a folder that `write` has not written; None if there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in sorted(folder.iterdir()):
                if not self._is_part(path.name) or path.is_dir():
                    return path.name
        return None

    def present(self, folder: Path) -> Path:
        """The folder, or `.NAME.old` after a kill between the two moves of `write`."""
        old = _old(Path(os.path.realpath(folder)))
        if not folder.exists() and old.is_dir():
            return old
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: give the folder that holds {self.manifest}")
        if not (folder / self.manifest).is_file():
            inside = folder / self.below
            place = inside if inside.is_dir() else "a folder with one"
            raise UserError(
                f"{folder} is not {self.article}: it has no {self.manifest}; give {place}"
            )
        return folder

    def check_names(self, folder: Path) -> None:
        """Refuse foreign files: whoever put them there may expect them to be used."""
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if not self.may_hold(entry.name) or count >= _MAX_ENTRIES:
                    raise UserError(
                        f"{folder} holds {entry.name!r}, not part of {self.article}: move it away"
                    )
                if entry.is_symlink():
                    raise UserError(
                        f"{folder} holds the link {entry.name!r}: copy the {self.noun} with its "
                        "links followed (cp -RL)"
                    )

    def may_hold(self, name: str) -> bool:
        """Whether a file may lie in such a folder: one of its own, a document, or a hidden one."""
        return name in self.names or name.startswith(".") or bool(_DOCUMENT.fullmatch(name))

    def _is_part(self, name: str) -> bool:
        """Whether a name is that of a file of the folder, or of one that is half-written."""
        return (owner_of(name) or name) in self.names

    def _remove(self, folder: Path) -> None:
        """Remove such a folder, if it is there. Raises OSError, and leaves it, if it holds more."""
        with suppress(FileNotFoundError), open_folder(folder.parent) as parent:
            with open_folder(folder, below=folder.parent) as opened:
                for name in filter(self._is_part, opened.names()):
                    opened.remove(name)
            parent.remove_folder(folder.name)


def _new(folder: Path) -> Path:
    return folder.with_name(f".{short_name(folder.name)}.new")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{short_name(folder.name)}.old")


def hashes_of(values: Mapping[str, Any], identity: str) -> dict[str, str]:
    """The hashes in a manifest of some values. identity: its fingerprint, whatever that is over."""
    return {"fingerprint": identity, "card_hash": fingerprint(values["card"])}


def check_hashes(values: Mapping[str, Any], identity: str) -> None:
    """ValueError unless the hashes in a manifest are those of its values."""
    expected = hashes_of(values, identity)
    if values["fingerprint"] != expected["fingerprint"]:
        raise ValueError("the fingerprint does not fit the contents")
    if values["card_hash"] != expected["card_hash"]:
        raise ValueError("card_hash does not fit the card")
