"""Notebooks are stored without outputs; the site has every public name, and loads nothing."""

import doctest
import json
import posixpath
import re
from pathlib import Path

import pytest

import ulmo

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_plain(path):
    text = path.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert len(text) < 16_000
    assert cells[0]["source"][0].startswith("# ")
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert all(len(line.rstrip()) <= 120 for line in cell["source"])


def test_there_are_three_and_the_index_names_them():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 3
    assert all(f"(../notebooks/{path.name})" in index for path in NOTEBOOKS)


def test_the_page_of_python_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", page, re.MULTILINE)}
    assert set(ulmo.__all__) - {"__version__"} <= shown


def test_every_picture_is_shown_and_drawn_by_a_command():
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    rule = re.search(r"^pictures:.*?\n\n", (ROOT / "Makefile").read_text(), re.M | re.S)[0]
    for picture in (ROOT / "docs").glob("*.png"):
        assert f"]({picture.name})" in gallery
        assert f"docs/{picture.name}" in rule


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs", reason="the site is made by make docs, which installs MkDocs")
    from docs import site_hooks

    return site_hooks


class Page:
    def __init__(self, place):
        self.file = self
        self.src_uri = place


def test_links_lead_to_the_places_of_files_in_the_site(hooks):
    moved = hooks.on_page_markdown(
        "[a](look.md#x) [b](../SECURITY.md#bounds) [c](../notebooks/gpt.ipynb) [d](https://x.org)\n"
        "```\n[e](../README.md)\n```\n",
        Page("formats.md"),
    )
    assert re.findall(r"\(([^)]*)\)", moved) == [
        *("look.md#x", "repository/SECURITY.md#bounds", "notebooks/gpt.md", "https://x.org"),
        "../README.md",
    ]
    back = hooks.on_page_markdown("[a](../docs/look.md)", Page("repository/recipes/README.md"))
    assert back == "[a](../../look.md)"
    for place in ("a.md", "repository/SECURITY.md", "notebooks/gpt.md", "repository/x/README.md"):
        assert hooks.place_of(posixpath.normpath(hooks.source_of(place))) == place


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ('<script src="https://unpkg.com/x"></script>', True),
        ('<script async src="//cdn.org/x.js"></script>', True),
        ('<link href="https://fonts.gstatic.com" rel="preconnect">', True),
        ('<link rel="stylesheet" href="https://fonts.googleapis.com/css">', True),
        ("@font-face { src: url(https://x.org/a.woff2) }", True),
        ('<script src="assets/a.js"></script><link rel="stylesheet" href="a.css">', False),
        ('<a href="https://arxiv.org/abs/2511.10190">a paper</a>', False),
        ('<link rel="icon" href="a.png"> <a href="https://x.org">x</a>', False),
    ],
)
def test_what_a_page_would_load_is_seen(hooks, text, foreign):
    assert bool(hooks.FOREIGN.search(text)) is foreign


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="the site is made by make docs, which installs griffe")
    from docs import site_docstrings

    result = doctest.testmod(site_docstrings)
    assert (result.attempted, result.failed) == (2, 0)
    assert site_docstrings.as_markdown(">>> 1\n1") == "```pycon\n>>> 1\n1\n```"
