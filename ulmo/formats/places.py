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
JOURNAL = f".{COMMAND}.jsonl"
TOKENS, HEADERS = "tokens", "token_headers"  # folders of an output
HEADER_ENDING = ".json"
STEM = ".tokens"  # before the ending of every name that ulmo chooses


def header_path(stem: Path) -> Path:
    """The header of files of tokens whose names are `stem` and an ending.

    It lies below HEADERS if the files lie below the folder TOKENS of an output.
    """
    found = _in_output(stem, TOKENS, HEADERS) or stem
    return found.with_name(f"{stem.name}{HEADER_ENDING}")


def tokens_path(header: Path) -> Path:
    """The stem of the files of tokens that a header belongs to: the inverse of `header_path`."""
    stem = header.with_name(header.name.removesuffix(HEADER_ENDING))
    return _in_output(stem, HEADERS, TOKENS) or stem


def refuse_linked_folders(header: Path) -> None:
    """Raise LinkError if a folder of headers, or one below it, is a link that leads elsewhere."""
    names = [folder.name for folder in header.parents]
    if HEADERS in names:
        for folder in header.parents[: names.index(HEADERS) + 1]:
            if folder.is_symlink():
                raise LinkError(folder)


def _in_output(path: Path, there: str, other: str) -> Path | None:
    """The same place below `other` for a path below the folder `there` of an output.

    A folder of recordings may be called so, too, and its tokens then lie in one. That of an output
    has a manifest beside it, or, in a copy that lost it, lies above all others.
    """
    whole = path.absolute()
    parents = whole.parents
    depths = [
        depth
        for depth, name in enumerate(reversed(whole.parts[:-1]))
        if name == there and parents[depth].with_name(HEADERS).is_dir()
    ]
    if not depths:
        return None
    managed = [depth for depth in depths if parents[depth].with_name(MANIFEST).is_file()]
    depth = managed[0] if managed else depths[-1]
    known = path if depth < len(path.parents) - 1 else path.absolute()
    root = known.parents[depth]
    return root.with_name(other) / known.relative_to(root)
