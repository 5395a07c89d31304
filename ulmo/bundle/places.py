"""Where a bundle is read from: a folder, a zip file, or a repository of the Hugging Face hub.

A place gives the files of a bundle one by one, when they are asked for. What has to be unpacked or
downloaded has its length compared first. So `read_bundle` reads every bundle in one way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ulmo.bundle.folder import FolderKind
from ulmo.bundle.hub import Hub, HubName
from ulmo.bundle.place import Place
from ulmo.bundle.zipped import Zipped
from ulmo.config import UserError
from ulmo.config.arguments import HUB
from ulmo.storage.plain_file import open_file


class Folder(Place):
    """The folder itself. It may be a link, because the user named it; nothing inside may be one."""

    def __init__(self, folder: Path, kind: FolderKind) -> None:
        self._folder = kind.present(folder)
        super().__init__(self._folder)
        kind.check_names(self._folder)

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self._folder / name).exists()

    def file(self, name: str, most: int) -> Path:
        """The file, which is checked where it is read."""
        return self._folder / name


@contextmanager
def opened_place(place: str | Path, kind: FolderKind) -> Iterator[Place]:
    """Open what the user named. Errors inside name files as the user knows them.

    place: a folder; a zip file; or a text that begins with hf://. A pathlib.Path is never a
        repository of the hub, and no other text opens a connection.
    """
    found: Place
    if isinstance(place, str) and place.startswith(HUB):
        found = Hub(HubName.parse(place), kind)
        with _naming(found):
            yield found
    elif (path := Path(os.fspath(place))).is_file():
        with open_file(path) as file, TemporaryDirectory(prefix="ulmo-") as below:
            found = Zipped(path, file, kind, Path(below))
            with _naming(found):
                yield found
    else:
        yield Folder(path, kind)


@contextmanager
def _naming(place: Place) -> Iterator[None]:
    """Name a file in errors by its place and its name in there."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for name, path in place.paths.items():
            text = text.replace(str(path), f"{place.place}/{name}")
        error.args = (text,)
        raise
