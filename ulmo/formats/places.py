"""Where headers lie: beside tokens, or, in an output folder, in a folder of their own.

    x.tokens.parquet         OUT/tokens/a/x.tokens.parquet
    x.tokens.json            OUT/token_headers/a/x.tokens.json

Programs that read a whole folder as one table take every file in it. So OUT/tokens holds tokens
alone.
"""

from pathlib import Path

TOKENS, HEADERS = "tokens", "token_headers"  # folders of an output
HEADER_ENDING = ".json"


def header_path(stem: Path) -> Path:
    """The header of files of tokens whose names are `stem` and an ending.

    It lies below HEADERS if the files lie below a folder TOKENS with a folder HEADERS beside it.
    Links to folders there are not followed.
    """
    for path in (stem, stem.absolute()):
        for root in path.parents:
            headers = root.with_name(HEADERS) if root.name == TOKENS else root
            if headers != root and headers.is_dir():
                below = headers / path.parent.relative_to(root)
                folders = [each for each in (below, *below.parents) if each.is_relative_to(headers)]
                if not any(each.is_symlink() for each in folders):
                    return below / f"{stem.name}{HEADER_ENDING}"
    return stem.with_name(f"{stem.name}{HEADER_ENDING}")


def tokens_path(header: Path) -> Path:
    """The stem of the files of tokens that a header belongs to: the inverse of `header_path`."""
    stem = header.with_name(header.name.removesuffix(HEADER_ENDING))
    for root in stem.parents:
        if root.name == HEADERS:
            return root.with_name(TOKENS) / stem.relative_to(root)
    return stem
