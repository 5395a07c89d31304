"""What the pages say of the tests is true: each that is named is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("reliability.md", "verifying.md")
NAMED = re.compile(r"([\w/]*test_\w+\.py)((?:::\w+)*)")


def named_tests(page):
    """(file, names) of each test that a page names; `::name` alone is of the file before."""
    text = (ROOT / "docs" / page).read_text()
    for cell in re.split(r"\n", text):
        for file, names in NAMED.findall(cell):
            yield file, names.split("::")[1:]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page):
    for file, names in named_tests(page):
        found = [path for path in (ROOT / "tests").rglob("test_*.py") if str(path).endswith(file)]
        assert len(found) == 1, f"{page}: {file}"
        text = found[0].read_text()
        for name in names:
            assert re.search(rf"^\s*(def|class) {name}\b", text, re.MULTILINE), f"{file}::{name}"


def test_the_page_names_many():
    assert len(list(named_tests("reliability.md"))) > 60
