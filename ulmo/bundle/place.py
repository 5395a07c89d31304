"""A place that holds the files of a bundle: a folder, a zip file, or a repository of the hub."""

from abc import ABC, abstractmethod
from pathlib import Path

COPY = "copy the bundle again from an undamaged source"


class Place(ABC):
    """The files of a bundle, given one by one, when they are asked for.

    place: opens the same bundle again, also in another process.
    remedy: what to do about a damaged file.
    paths: of the files that were asked for, by their names, where they had to be brought here.
    """

    def __init__(self, place: Path | str, remedy: str = COPY) -> None:
        self.place, self.remedy = place, remedy
        self.paths: dict[str, Path] = {}

    def has(self, name: str) -> bool:
        """Whether a file is there that was not asked for; False where that is not looked at."""
        return False

    @abstractmethod
    def file(self, name: str, most: int) -> Path:
        """A file on this disk. UserError if it had to be brought here and is longer than `most`."""
