"""Where headers lie: beside tokens, or, in an output folder, in a folder of their own.

    x.tokens.parquet         OUT/tokens/a/x.tokens.parquet
    x.tokens.json            OUT/token_headers/a/x.tokens.json

Programs that read a whole folder as one table take every file in it. So OUT/tokens holds tokens
alone.
"""

from collections.abc import Iterator
from pathlib import Path

TOKENS, HEADERS = "tokens", "token_headers"  # folders of an output
HEADER_ENDING = ".json"


def header_path(stem: Path) -> Path:
    """The header of files of tokens whose names are `stem` and an ending.

    It lies below HEADERS if the files lie below a folder TOKENS with a folder HEADERS beside it.
    """
    name = f"{stem.name}{HEADER_ENDING}"
    for folder in (stem.parent, stem.parent.absolute()):
        for above, below in _parted(folder, TOKENS):
            if (above / HEADERS).is_dir():
                return above / HEADERS / below / name
    return stem.with_name(name)


def tokens_path(header: Path) -> Path:
    """The stem of the files of tokens that a header belongs to: the inverse of `header_path`."""
    stem = header.with_name(header.name.removesuffix(HEADER_ENDING))
    for above, below in _parted(stem.parent, HEADERS):
        tokens = above / TOKENS / below / stem.name
        if header_path(tokens) == header:
            return tokens
    return stem


def _parted(folder: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """What is above and what is below each part of a path that has a name; the last part first."""
    parts = folder.parts
    for number in range(len(parts) - 1, -1, -1):
        if parts[number] == name:
            yield Path(*parts[:number]), Path(*parts[number + 1 :])
