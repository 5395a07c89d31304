"""README.md of an output folder of tables: it tells Hugging Face datasets what to load.

datasets reads the lines between `---`. Any text may follow them. ulmo replaces a README.md only if
it holds just ulmo's own text, whole or in part: any other text may be the user's.
"""

from pathlib import Path

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.folder import AGAIN
from ulmo.formats.places import TOKENS
from ulmo.storage.atomic import publish, remove_temporaries
from ulmo.storage.faults import Fault, fault_of, reading_error
from ulmo.storage.names import path_text
from ulmo.storage.plain_file import lexists, read_unlinked

README = "README.md"
_OTHERS = (".huggingface.yaml", "dataset_infos.json")  # datasets obeys them, too
_MOST = 1 << 20  # bytes of a README
_MOVE = (
    f"move it elsewhere, or delete it, then {AGAIN}; text of your own may follow the lines of ulmo"
)
_HEAD = """\
---
configs:
- config_name: default
  data_files: "{tokens}/**/*{ending}"
---
"""
_BODY = """
# Tokens of recordings

Written by ulmo-tokenize. `datasets.load_dataset` reads this folder; pandas, Polars and DuckDB read
`{tokens}`. `recordings.parquet` has a row for each recording.
"""
_HEADS = {
    name: _HEAD.format(tokens=TOKENS, ending=kind.suffixes[0]).encode()
    for name, kind in FORMATS.items()
    if kind.tabular
}
_TEXTS = {name: head + _BODY.format(tokens=TOKENS).encode() for name, head in _HEADS.items()}


def readme_faults(folder: Path, file_format: str) -> list[Fault]:
    """What makes datasets load anything but the tokens of an output; nothing if it is no table.

    `folder` is that of the output. A README.md that is missing or damaged is written anew by the
    next job; one that disagrees, and other files that datasets obeys, stay.
    """
    if file_format not in _TEXTS:
        return []
    others = (name for name in _OTHERS if lexists(folder / name))
    detail = "Hugging Face datasets obeys it, and ulmo did not write it"
    faults = [Fault(name, "orphan", detail, "delete it, or move it elsewhere") for name in others]
    fault = _readme_fault(folder / README, file_format)
    return faults if fault is None else [fault, *faults]


def write_readme(folder: Path, file_format: str) -> None:
    """Write README.md, if the output is a table and its README.md is missing or damaged."""
    remove_temporaries(folder, lambda name: name == README)
    if lacks_readme(folder, file_format):
        with publish(folder / README) as file:
            file.write(_TEXTS[file_format])


def lacks_readme(folder: Path, file_format: str) -> bool:
    """Whether `write_readme` would write it."""
    return any(map(_is_replaced, readme_faults(folder, file_format)))


def foreign_lines(folder: Path, file_format: str) -> list[str]:
    """A line for each file that datasets obeys and `write_readme` leaves alone."""
    faults = [each for each in readme_faults(folder, file_format) if not _is_replaced(each)]
    return [f"{path_text(folder / each.path)}: {each.detail}: {each.remedy}" for each in faults]


def _is_replaced(fault: Fault) -> bool:
    return fault.what in ("missing", "damaged")


def _readme_fault(path: Path, file_format: str) -> Fault | None:
    if not lexists(path):
        return Fault(README, "missing", "Hugging Face datasets finds the tokens by it", AGAIN)
    try:
        content = read_unlinked(path, _MOST)
    except (UserError, OSError) as error:
        if reading_error(error):
            return fault_of(README, error, AGAIN)
        return Fault(README, "disagrees", "it is no plain file, or too large to be ulmo's", _MOVE)
    written = content.rstrip(b"\0 \n")  # a disk that lost power may leave zeros
    if written == _TEXTS[file_format].rstrip():
        return None
    if any(text.startswith(written) for text in _TEXTS.values()):
        detail = "it is not the whole text that ulmo writes for this format"
        return Fault(README, "damaged", detail, AGAIN)
    if content.startswith(_HEADS[file_format]):
        return None
    detail = "it does not begin as ulmo writes it, so Hugging Face datasets may load other data"
    return Fault(README, "disagrees", detail, _MOVE)
