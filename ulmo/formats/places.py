"""Where headers lie: beside tokens, or, in an output folder, in a folder of their own.

    x.tokens.parquet         OUT/tokens/a/x.tokens.parquet
    x.tokens.json            OUT/token_headers/a/x.tokens.json

Programs that read a whole folder as one table take every file in it. So OUT/tokens holds tokens
alone.
"""

from pathlib import Path

from ulmo.storage.plain_file import LinkError

COMMAND = "tokenize"
MANIFEST = f"{COMMAND}.json"
TOKENS, HEADERS = "tokens", "token_headers"  # folders of an output
HEADER_ENDING = ".json"


def header_path(stem: Path) -> Path:
    """The header of files of tokens whose names are `stem` and an ending.

    It lies below HEADERS if the files lie below the folder TOKENS of an output.
    """
    depth = _depth(stem)
    if depth is None:
        return stem.with_name(f"{stem.name}{HEADER_ENDING}")
    path = stem if depth < len(stem.parents) - 1 else stem.absolute()
    root = path.parents[depth]
    return root.with_name(HEADERS) / path.parent.relative_to(root) / f"{stem.name}{HEADER_ENDING}"


def tokens_path(header: Path) -> Path:
    """The stem of the files of tokens that a header belongs to: the inverse of `header_path`."""
    stem = header.with_name(header.name.removesuffix(HEADER_ENDING))
    for root in stem.parents:
        if root.name == HEADERS:
            tokens = root.with_name(TOKENS) / stem.relative_to(root)
            if header_path(tokens) == header:
                return tokens
    return stem


def refuse_linked_folders(header: Path) -> None:
    """Raise LinkError if a folder of headers, or one below it, is a link that leads elsewhere."""
    names = [folder.name for folder in header.parents]
    if HEADERS in names:
        for folder in header.parents[: names.index(HEADERS) + 1]:
            if folder.is_symlink():
                raise LinkError(folder)


def _depth(stem: Path) -> int | None:
    """Which of the folders above a stem is TOKENS of an output; None if none is.

    A folder of recordings may be called so, too, and its tokens then lie in one: that of an output
    has a manifest beside it, or, in a copy that lost it, lies above all others.
    """
    parents = stem.absolute().parents
    depths = [
        depth
        for depth, root in enumerate(parents)
        if root.name == TOKENS and root.with_name(HEADERS).is_dir()
    ]
    managed = [depth for depth in depths if parents[depth].with_name(MANIFEST).is_file()]
    return managed[0] if managed else depths[-1] if depths else None
