"""What a page is made of: a recording, or tokens of one."""

from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats.places import STEM
from ulmo.formats.read import read_corpus, readers
from ulmo.storage.names import path_of


class Source(NamedTuple):
    """A recording, and perhaps its tokens."""

    recording: Path
    tokens: Path | None = None
    name: Path | None = None  # by which the tokens know the recording; None: by its path


def source_of(path: Path, tokens: Path | None = None) -> Source:
    """The recording to look at. Tokens name theirs, which lies beside them or where it was.

    UserError for a folder, for tokens of several recordings, and if the recording is not there.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, and a page shows one recording: name a file in it, or add --serve"
        )
    is_tokens = path.suffix in readers() and path.stem.endswith(STEM)
    if not is_tokens:
        if not path.is_file():
            raise UserError(f"{path} is not a file: name a recording, or the tokens of one")
        return Source(path, tokens, None if tokens is None else _only_name(tokens))
    name = _only_name(path)
    if name is None:
        raise UserError(
            f"{path} holds tokens of several recordings: name the recording, and the tokens with "
            f"--tokens {path}"
        )
    for place in (path.parent / name, path.parent / name.name, name):
        if place.is_file():
            return Source(place, path, name)
    raise UserError(
        f"the recording {name} of {path} is neither beside it nor where it was: name it, and the "
        f"tokens with --tokens {path}"
    )


def _only_name(tokens: Path) -> Path | None:
    """The name of the recording in a file of tokens; None for several, and for a folder."""
    if tokens.is_dir():
        return None
    names = {stored.header.recording for stored in read_corpus(tokens)}
    return path_of(names.pop()) if len(names) == 1 else None
