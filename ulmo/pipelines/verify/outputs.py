"""Outputs of tokens: a header, and the files that have its name but for the ending."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.places import HEADER_ENDING, STEM, header_path, tokens_path
from ulmo.formats.taken import is_ulmos_name
from ulmo.storage.plain_file import open_unlinked

_FORMATS = {suffix.removeprefix(STEM) for kind in FORMATS.values() for suffix in kind.suffixes}
VOCABULARY = ".vocabulary.json"
ENDINGS = sorted({*_FORMATS, VOCABULARY, HEADER_ENDING}, key=len, reverse=True)


class Output(NamedTuple):
    """A header, and the files that it describes."""

    stem: Path  # of the files of tokens, without their endings: x.tokens
    files: dict[str, Path]  # by ending: ".npy" for x.tokens.npy

    @classmethod
    def among(cls, files: Iterable[Path]) -> list[Self]:
        """Every output that some files belong to, but for other JSON.

        A hidden file without a header of ulmo's is another program's, such as `._x.tokens.npy`.
        """
        groups: dict[Path, dict[str, Path]] = {}
        for path in files:
            stem, ending = _split(path)
            if stem:
                groups.setdefault(stem, {})[ending] = path
        for found in groups.values():
            found.pop(HEADER_ENDING, None)
        outputs = (cls(stem, found) for stem, found in groups.items())
        return [
            each
            for each in outputs
            if (each.has_ulmos_name and each.stem.name[0] != ".") or each._is_ours()
        ]

    @classmethod
    def of(cls, path: Path) -> Self:
        """The output that a file belongs to. Raises UserError if it is not a file of tokens."""
        stem = stem_of(path)
        if not stem:
            endings = ", ".join(sorted(_FORMATS))
            raise UserError(f"{path} is no file of tokens: they end with {endings}")
        output = cls(stem, {})
        for ending in sorted({*_FORMATS, VOCABULARY}):
            each = output.path(ending)
            if each.exists() and not each.is_dir():
                output.files[ending] = each
        return output

    @property
    def header(self) -> Path:
        """Where the header lies."""
        return header_path(self.stem)

    def path(self, ending: str) -> Path:
        """Where the file with an ending lies."""
        beside = self.header if ending == VOCABULARY else self.stem
        return beside.with_name(self.stem.name + ending)

    @property
    def has_ulmos_name(self) -> bool:
        """Whether ulmo chose the names of the files; if not, the user did."""
        return is_ulmos_name(self.stem.name)

    def _is_ours(self) -> bool:
        """Whether the header looks like one: corpus.bin has corpus.json beside it.

        One that cannot be read counts if files lie beside it.
        """
        if not self.header.is_file():
            return False
        try:
            with open_unlinked(self.header) as file:
                start = file.read(1 << 16)
        except OSError:
            return bool(self.files)
        fields = [field in start for field in (b'"fingerprint"', b'"edges_hz"')]
        return any(fields) if self.has_ulmos_name else all(fields)


def stem_of(path: Path) -> Path | None:
    """x.tokens for x.tokens.npy and its header; None for a name that no file of tokens has."""
    return _split(path)[0]


def is_tokens(path: Path) -> bool:
    """Whether a name is that of a file of tokens, and of no header: x.tokens.npy, x.csv."""
    return _split(path)[1] in _FORMATS


def _split(path: Path) -> tuple[Path | None, str]:
    """x.tokens and .npy for x.tokens.npy; None for a name that no file of tokens has."""
    for ending in ENDINGS:
        if path.name.endswith(ending) and path.name != ending:
            stem = path.name.removesuffix(ending)
            if ending in _FORMATS:
                return path.with_name(stem), ending
            return tokens_path(path.with_name(stem + HEADER_ENDING)), ending
    return None, ""
