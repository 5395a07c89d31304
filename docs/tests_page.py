"""Write docs/tests.md: which tests show what docs/reliability.md and SECURITY.md say.

    python docs/tests_page.py

These two are the sources. Each item that begins with a bold sentence is a fault or a promise, and
ends with a comment

    <!-- tests: row "NAME"; FILE.py; FILE.py::CLASS::test_name -->

in which a row is one of the table in tests/pipelines/faults.py.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
SOURCES = (FOLDER / "reliability.md", FOLDER.parent / "SECURITY.md")
PAGE = FOLDER / "tests.md"
TESTS = FOLDER.parent / "tests"
ITEM = re.compile(
    r"^## (?P<heading>.+)$|^- \*\*(?P<fault>[^*]+)\.\*\*|<!-- tests: (?P<tests>[^>]+?)\s*-->",
    re.MULTILINE,
)
ROW = re.compile(r'row "(.+)"')
ROW_TEST = "pipelines/test_faults.py::test_a_fault_and_its_row"
HEAD = """# Tests: what shows that it is true

Which tests show what [reliability](reliability.md) and [SECURITY.md](../SECURITY.md) say, item by
item. Paths are below `tests/`; a name in brackets is a row of `tests/pipelines/faults.py`. Written
by `python docs/tests_page.py`.
"""


class Shown(NamedTuple):
    """A fault, and a test that shows what becomes of it."""

    heading: str
    fault: str
    file: str  # its name alone, or with as many folders as tell it from others
    names: tuple[str, ...]  # class and function; none: the whole file
    row: str | None = None  # of the table of faults


def read(text: str) -> Iterator[Shown]:
    """Every test that the page names. Raises ValueError for a fault without a test."""
    heading, fault, named = "", "", True
    for found in ITEM.finditer(text):
        if not named and not found["tests"]:
            raise ValueError(f"no test is named for: {fault}")
        if found["heading"]:
            heading = found["heading"]
        elif found["fault"]:
            fault, named = " ".join(found["fault"].split()), False
        else:
            named = True
            for part in " ".join(found["tests"].split()).split("; "):
                row = ROW.fullmatch(part)
                file, *names = (ROW_TEST if row else part).split("::")
                yield Shown(heading, fault, file, tuple(names), row[1] if row else None)


@cache
def _test_files() -> tuple[Path, ...]:
    return tuple(TESTS.rglob("*.py"))


def path_of(file: str) -> Path:
    """The test file of that name. Raises ValueError unless there is exactly one."""
    found = [path for path in _test_files() if f"/{path}".endswith(f"/{file}")]
    if len(found) != 1:
        raise ValueError(f"{file}: {len(found)} files below tests/")
    return found[0]


def sources() -> str:
    """The text of both sources."""
    return "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)


def page(text: str) -> str:
    """The page that follows from the text of the sources."""
    lines, heading, fault = [HEAD.rstrip()], "", ""
    for shown in read(text):
        if shown.heading != heading:
            heading = shown.heading
            lines += ["", f"## {heading}", ""]
        if shown.fault != fault:
            fault = shown.fault
            lines.append(f"- {fault}")
        place = path_of(shown.file).relative_to(TESTS).as_posix()
        test = "::".join((place, *shown.names)) if shown.row is None else f"{place} [{shown.row}]"
        lines.append(f"    - `{test}`")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(sources()), encoding="utf-8")
