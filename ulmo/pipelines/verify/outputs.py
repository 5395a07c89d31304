"""Outputs of tokens: a header, and the files beside it, which have its name but for the ending."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import STEM

_FORMATS = {suffix.removeprefix(STEM) for kind in FORMATS.values() for suffix in kind.suffixes}
_HEADER, _VOCABULARY = ".json", ".vocabulary.json"
_ENDINGS = sorted({*_FORMATS, _VOCABULARY, _HEADER}, key=len, reverse=True)


class Output(NamedTuple):
    """A header, and the files beside it."""

    header: Path
    files: dict[str, Path]  # by ending: ".npy" for x.tokens.npy

    @classmethod
    def among(cls, files: Iterable[Path]) -> list[Self]:
        """Every output that some files belong to, but for hidden files and for other JSON."""
        groups: dict[Path, dict[str, Path]] = {}
        for path in files:
            stem, ending = _split(path.name)
            if stem and not path.name.startswith("."):
                groups.setdefault(path.with_name(stem + _HEADER), {})[ending] = path
        for found in groups.values():
            found.pop(_HEADER, None)
        outputs = (cls(header, found) for header, found in groups.items())
        return [each for each in outputs if each.header.stem.endswith(STEM) or each._is_ours()]

    @classmethod
    def of(cls, path: Path) -> Self:
        """The output that a file belongs to. Raises UserError if it is not a file of tokens."""
        stem, _ = _split(path.name)
        if not stem:
            endings = ", ".join(sorted(_FORMATS))
            raise UserError(f"{path} is no file of tokens: they end with {endings}")
        beside = {each: path.with_name(stem + each) for each in sorted({*_FORMATS, _VOCABULARY})}
        there = {ending: each for ending, each in beside.items() if each.exists()}
        return cls(path.with_name(stem + _HEADER), there)

    @staticmethod
    def header_name(name: str) -> str:
        """x.tokens.json for x.tokens.npy; empty for a name that no file of tokens has."""
        stem, _ = _split(name)
        return stem and stem + _HEADER

    @property
    def vocabulary(self) -> Path:
        """Where the vocabulary of a corpus lies."""
        return self.header.with_name(self.header.stem + _VOCABULARY)

    def _is_ours(self) -> bool:
        """Whether the header looks like one: corpus.bin has corpus.json beside it.

        One that cannot be read counts if files lie beside it.
        """
        if not self.header.is_file():
            return False
        try:
            with self.header.open("rb") as file:
                start = file.read(1 << 16)
        except OSError:
            return bool(self.files)
        return b'"fingerprint"' in start and b'"edges_hz"' in start


def _split(name: str) -> tuple[str, str]:
    """x.tokens and .npy for x.tokens.npy; empty for a name that no file of tokens has."""
    for ending in _ENDINGS:
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending), ending
    return "", ""
