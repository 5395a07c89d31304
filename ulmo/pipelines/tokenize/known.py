"""Which recordings of a job an earlier output may be of, by the name that it has there.

A recording is named by its path below a folder that the user gave, or by its path as it was given.
So its name depends on the command and on the other recordings of the job: x.wav of one memory card
is card_a/x.wav of two. All names of it have the same last part.
"""

from collections.abc import Container, Iterable
from functools import cached_property
from pathlib import Path

from ulmo.storage.names import path_of


class Known:
    """Recordings of a job, and folders of recordings that cannot be looked into."""

    def __init__(self, sources: Iterable[Path], names: Container[str] | None = None) -> None:
        """`sources` may be read twice. `names` are the last parts of all names to be asked for."""
        self._sources = sources
        self._called: dict[str, list[Path]] = {}
        for source in sources:
            if names is None or source.name in names:
                self._called.setdefault(source.name, []).append(source)

    @cached_property
    def folders(self) -> list[Path]:
        """Those that are folders, or may be: any recording may lie in one."""
        return [source for source in self._sources if _may_be_folder(source)]

    def called(self, name: str) -> list[Path]:
        """The recordings that another job may have given this name: none of the others had it.

        name: as `portable` gives it, of an earlier output.
        """
        return self._called.get(path_of(name).name, [])

    def below(self, name: str) -> list[Path]:
        """Those of them that may have had this name below another folder than they have now."""
        parts = path_of(name).parts
        return [each for each in self.called(name) if each.absolute().parts[-len(parts) :] == parts]

    def that_may_be(self, name: str) -> list[Path]:
        """The recordings that another job may have given this name, and the folders."""
        return [*self.called(name), *self.folders]


def _may_be_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return True
