"""Describes the machine, times functions, and puts tables into a page of docs/."""

import argparse
import os
import platform
import re
import textwrap
import time
from collections.abc import Callable, Collection, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
COLUMNS = 6  # the most that a table of docs has
WIDTH = 120  # characters of a line of docs


def side_by_side(*functions: Callable[[], object], repeats: int) -> list[list[float]]:
    """Seconds of each function, called in turn `repeats` times after a first call."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, kept in zip(functions, times, strict=True):
            begun = time.perf_counter()
            function()
            kept.append(time.perf_counter() - begun)
    return times


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """The lowest and the highest: `1.2 to 1.5`."""
    return f"{min(values):{form}} to {max(values):{form}}"


def beside() -> str:
    """What else the machine does."""
    return "load average {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())


def machine(*packages: str) -> str:
    """One line: date, processor, Python, and the versions of the measured packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{date.today()}, {processor()}, Python {platform.python_version()}, {versions}."


def processor() -> str:
    """The processor's name, as far as the system gives it."""
    try:
        names = re.findall(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    keys: int = 1,
    parts: Sequence[int] | None = None,
) -> str:
    """A table in Markdown; a wide one becomes several of at most `COLUMNS` columns.

    Each of them begins with the first `keys` columns; `parts` are the numbers of further columns
    in each, by default evenly divided.
    """
    fits = COLUMNS - keys
    rest = len(header) - keys
    count = -(-rest // fits)
    parts = parts or [rest * (n + 1) // count - rest * n // count for n in range(count)]
    if sum(parts) != rest or max(parts) > fits:
        raise ValueError(f"{parts} do not divide {rest} columns into tables of {COLUMNS}")
    tables, first = [], keys
    for part in parts:
        lines = [
            [*line[:keys], *line[first : first + part]]
            for line in (header, ["---"] * len(header), *rows)
        ]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        first += part
    return "\n\n".join(tables)


def wrapped(text: str) -> str:
    """The text with its paragraphs broken at `WIDTH`; tables stay as they are."""
    return "\n".join(
        line if line.startswith("|") else _filled(line, "  " if line.startswith("- ") else "")
        for line in text.splitlines()
    )


def _filled(line: str, indent: str) -> str:
    """A line broken at `WIDTH`; those after the first are indented."""
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def publish(name: str, text: str, path: Path = PAGE) -> None:
    """Print the text, and put it between the marks of that name in a page."""
    print(text, flush=True)
    put(name, text, path)


def put(name: str, text: str, path: Path) -> None:
    """Put a text between the marks of that name in a page."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(begin, 1)
    text = wrapped(text)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with a module's docstring, line by line."""
    kind = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=text, formatter_class=kind)


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of names between commas; it returns them in the order of `known`."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r}: name some of {', '.join(known)}")
        return [name for name in known if name in names]

    return read


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        """Something takes a while."""

    def warn(self, text: str) -> None:
        """Something went wrong, and training goes on."""

    def begin(self, steps: int, done: int) -> None:
        """Training begins."""

    def batch(self, losses: dict[str, float]) -> None:
        """A step is done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done."""
