"""Mending tokens: what is damaged is removed, so that the same command makes it again."""

from pathlib import Path

from ulmo.config import UserError
from ulmo.pipelines.tokenize.rows import digest_path, is_table, restore_digest
from ulmo.pipelines.verify.outputs import look_below, output_of
from ulmo.pipelines.verify.token_tables import names_in_tables
from ulmo.storage.faults import Fault, below


def mend_tokens(place: Path, faults: list[Fault]) -> list[str]:
    """Remove damaged files and left-overs; give a whole table its digest again.

    A damaged table stays: the same ulmo-tokenize writes it anew. Of files that share a header,
    the others stay, and the header with them, which tells that one is missing.
    """
    folder = place if place.is_dir() else place.parent
    done = []
    for name in dict.fromkeys(fault.path for fault in faults if fault.what in _MENDED):
        path = folder / name
        if is_table(path):
            if restore_digest(path):
                done.append(f"wrote {below(digest_path(path), folder)} again")
        elif path.is_file():
            path.unlink()
            done.append(f"removed {name}")
            done += _remove_lone_header(place, folder, path)
    return done


_MENDED = ("damaged", "left_over")


def _remove_lone_header(place: Path, folder: Path, path: Path) -> list[str]:
    """A header with nothing beside it goes where a table tells that something is missing."""
    if not place.is_dir() or path.name.startswith("."):
        return []
    try:
        output = output_of(path)
    except UserError:
        return []
    if output.header == path or output.files or not output.header.is_file():
        return []
    if path not in names_in_tables(look_below(place).files):
        return []
    output.header.unlink()
    return [f"removed {below(output.header, folder)}"]
