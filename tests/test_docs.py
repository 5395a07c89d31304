"""The pages keep to their form, and what they name exists: links, files, options, tests."""

import ast
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from benchmarks.report import table, wrapped
from docs import pictures, smaller, tests_page
from tests.pipelines.faults import FAULTS
from ulmo.cli.main import ulmo as cli

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "data_samples", "recipes")
    for path in (ROOT / folder).glob("*.md")
)
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(
    r"^```\w*\n(.*?)^```|(?<=\n\n)((?:    [^\n]*\n)+)|`([^`]+)`", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
PROGRAM = re.compile(r"(ulmo(?: (?!-)|-)([\w-]+))\b(.*)")
SCRIPT_OPTION = re.compile(r'(?:add_argument|option|add)\(\s*"(--[\w-]+)"')
PLACE = re.compile(r"(?:ulmo|tests|benchmarks|docs|recipes|data_samples|examples)/[\w./-]*")
PRIVATE = re.compile(r"\bissues? \d|\bhelpers?\b|\.\./shared|facts\.md")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page):
    return FENCED.sub("", text_of(page))


def code(page):
    """The lines of each block of code, and each piece of code in a sentence."""
    for found in CODE.finditer(text_of(page)):
        yield from (line.strip() for line in (found[1] or found[2] or found[3]).splitlines())


def options_of(command):
    """Options of a command, and of the commands that it has."""
    inner = getattr(command, "commands", {}).values()
    return (
        set().union(*map(options_of, inner))
        | {
            name
            for parameter in command.params
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("-")
        }
        | {"--help", "-h"}
    )


def anchors(page):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_lines_and_tables_are_narrow(page):
    for line in text_of(page).splitlines():
        assert len(line) <= 120, line
        if line.startswith("|"):
            assert line.count("|") - line.count("\\|") <= 7, line


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            path = (ROOT / page).parent / file if file else ROOT / page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path.resolve().relative_to(ROOT)), target


def test_every_page_is_in_the_index():
    named = LINK.findall(text_of("docs/README.md"))
    pages = {Path(page).name for page in PAGES if page.startswith("docs/")} - {"README.md"}
    assert pages <= {target.partition("#")[0] for target in named}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    for piece in code(page):
        for place in PLACE.findall(piece):
            assert (ROOT / place).exists() or ".tokens." in place, place


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page):
    scripts = {
        option
        for folder in ("benchmarks", "recipes", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for option in SCRIPT_OPTION.findall(path.read_text(encoding="utf-8"))
    }
    every = set().union(*(options_of(command) for command in cli.commands.values()))
    for piece in code(page):
        line = re.sub(r"^\$ ", "", piece).partition("#")[0]
        if found := PROGRAM.match(line):
            assert found[2] in cli.commands, line
            assert set(OPTION.findall(found[3])) <= options_of(cli.commands[found[2]]), line
        elif line.startswith(("-", "[-")):
            assert set(OPTION.findall(line)) <= every | scripts, line


@pytest.mark.parametrize("page", PAGES)
def test_python_that_is_shown_parses_and_imports(page):
    for block in re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ulmo"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), node.module


@pytest.mark.parametrize("page", PAGES)
def test_pages_speak_of_the_project_alone(page):
    assert not PRIVATE.search(text_of(page))


def test_the_page_of_tests_follows_from_its_sources():
    assert text_of("docs/tests.md") == tests_page.page(tests_page.sources())
    with pytest.raises(ValueError, match="no test is named for: A fault"):
        list(tests_page.read("- **A fault.** Text.\n- **Another.** Text.\n"))
    with pytest.raises(ValueError, match="0 files below tests"):
        tests_page.path_of("test_nothing.py")


def test_every_promise_of_security_has_its_test():
    """Each item is one that the page of tests knows: a bold sentence, and a comment behind it."""
    text = text_of("SECURITY.md")
    promises = {shown.fault for shown in tests_page.read(text)}
    assert len(promises) == len(re.findall(r"^[-*] ", text, re.MULTILINE)) > 20


def test_every_test_that_is_named_exists():
    shown = list(tests_page.read(tests_page.sources()))
    assert len(shown) > 60
    for one in shown:
        assert one.row is None or one.row in FAULTS, one
        text = tests_page.path_of(one.file).read_text(encoding="utf-8")
        for name in one.names:
            assert re.search(rf"^\s*(def|class) {name}\b", text, re.MULTILINE), one


def test_the_first_output_of_the_readme_is_real(tmp_path, monkeypatch):
    block = re.search(r"^\$ ulmo-tokenize (\S+)\n(.*?)\n", text_of("README.md"), re.MULTILINE)
    (tmp_path / "data_samples").mkdir()
    shutil.copy(ROOT / block[1], tmp_path / block[1])
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["tokenize", block[1]])
    assert result.exit_code == 0
    assert result.output.strip() == block[2]


def test_the_picture_is_that_of_the_shipped_tokenizer(tmp_path):
    """The same bytes each time; other versions of Matplotlib may draw letters differently."""
    heard = pictures.listen()
    for name in ("one.png", "two.png"):
        pictures.draw(heard, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    smaller.shrink(tmp_path / "one.png")
    drawn, kept = imread(tmp_path / "one.png"), imread(ROOT / "docs" / "tokens.png")
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 0.01


def test_wide_tables_of_results_are_split():
    header = [str(number) for number in range(9)]
    assert [part.splitlines()[0] for part in table(header, []).split("\n\n")] == [
        "| 0 | 1 | 2 | 3 | 4 |",
        "| 0 | 5 | 6 | 7 | 8 |",
    ]
    first, second = table(header, [header], keys=2, parts=(4, 3)).split("\n\n")
    assert first.splitlines()[2] == "| 0 | 1 | 2 | 3 | 4 | 5 |"
    assert second.splitlines()[2] == "| 0 | 1 | 6 | 7 | 8 |"
    with pytest.raises(ValueError, match="do not divide 8 columns"):
        table(header, [], parts=(5, 4))
    lines = wrapped(f"{'word ' * 50}\n\n| {'cell ' * 50}|").splitlines()
    assert [len(line) > 120 for line in lines] == [False, False, False, False, True]
