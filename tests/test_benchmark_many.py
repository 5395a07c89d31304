"""The benchmark of many short recordings, with a clock that is known, and the page's summary."""

import math
import re
import sys
from pathlib import Path

import pytest
import soundfile

from benchmarks import commands, many, summary
from benchmarks.asked import ASKED, Asked
from benchmarks.commands import Ran
from benchmarks.linear import CLIP, DOT, PLOT, Curve, steps
from benchmarks.report import PAGE, table, wrapped
from tests.commands import run
from ulmo.cli.main import ulmo
from ulmo.pipelines.evaluate.labelled import find_labelled

TINY = (
    *("--turns", 1, "--long-turns", 1, "--workers", 1, "--compressed", 2, "--clips", 3),
    *("--recordings", 2, 6, "--items", 20, "--item-seconds", 0.3, 0.1),
    *("--least", 1, 1, 1, "--most", 4, 2, 4),
)
START, SECOND, FILE = 0.5, 0.25, 0.125  # made seconds of a command
PEAK, HELD = 100.0, 2.0  # made megabytes: of a process, and of each recording


@pytest.fixture
def made_clock(monkeypatch):
    """Commands run in this process, and what they take follows from their recordings."""
    ran = []

    def run_here(command, *, threads=None):
        ran.append(command[2:])
        name, *arguments = command[2:]
        audio = next(path for path in map(Path, arguments) if path.is_dir())
        sounds = [soundfile.info(path) for path in audio.rglob("*.*") if path.suffix != ".json"]
        seconds = sum(sound.duration * sound.channels for sound in sounds)
        if name == "ulmo":
            quick = ("--help",) if arguments[0] == "eval" else ()  # its options, without its time
            result = run(ulmo, *arguments, *quick)
            assert result.exit_code == 0, result.output
        else:
            assert name == "benchmarks.obvious_script"
            Path(arguments[1]).mkdir()
        cost = START + SECOND * seconds + FILE * len(sounds)
        factor = 1 if name == "ulmo" else 3
        return Ran(factor * cost, factor * cost, PEAK + HELD * len(sounds))

    monkeypatch.setattr(commands, "run", run_here)
    monkeypatch.setattr("benchmarks.linear.CHANNEL", CLIP)
    return ran


def figure(page, name):
    return summary.measured(page.read_text(encoding="utf-8"), ASKED[name])


def measure(page, *parts):
    many.main([str(each) for each in (*TINY, "--only", ",".join(parts), "--page", page)])


def test_each_part_writes_what_it_measured(made_clock, tmp_path):
    page = tmp_path / "page.md"
    measure(page, "compressed", "clips", "memory", "labelled")
    assert figure(page, "compressed") == 3
    assert figure(page, "clips") == figure(page, "again") == START + 3 * (SECOND / 2 + FILE)
    assert figure(page, "memory prep") == figure(page, "memory tokenize") == HELD * 2**20
    assert figure(page, "labelled") == pytest.approx(START + 20 * (SECOND * 0.3 + FILE))
    assert "4,000 clips of half a second, two workers | at most 9 s | 1.25 s | yes |" in (
        page.read_text(encoding="utf-8")
    )
    twice = [line for line in made_clock if line[1] == "tokenize"]
    assert len(twice) == 6
    assert twice[0] == twice[1]


def test_the_growth_of_cost_is_measured_and_drawn(made_clock, tmp_path):
    page = tmp_path / "page.md"
    measure(page, "linear")
    start = START + SECOND * DOT + FILE
    costs = [START + SECOND * CLIP * channels + FILE for channels in (1, 2)]
    assert figure(page, "channels") == pytest.approx(Curve([1, 2], costs, start).above(), abs=1e-3)
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")
    assert f"]({PLOT})" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("power", [0.8, 1.0, 1.2])
def test_exponents_are_of_what_is_above_the_start(power):
    sizes = steps(10, 10_000, math.sqrt(10))
    assert (sizes[0], sizes[2], sizes[-1], len(sizes)) == (10, 100, 10_000, 7)
    curve = Curve(sizes, [0.5 + 0.01 * size**power for size in sizes], 0.5)
    assert curve.above() == pytest.approx(power)
    assert curve.whole() < power
    assert Curve(sizes, curve.costs, 0.0).whole() == curve.whole()
    assert Curve([1, 2], [0.5, 0.5], 0.5).above() != Curve([1, 2], [0.5, 0.5], 0.5).above()  # nan


def test_made_calls_have_labels(tmp_path):
    items = find_labelled(many.write_labelled(tmp_path / "audio", 20, 0.1))
    assert sorted(item.label for item in items) == ["call_00"] * 10 + ["call_01"] * 10


def test_a_command_shows_its_memory():
    """Where the system has /proc; elsewhere, none is known."""
    code = "import time; kept = bytearray(b'x' * (64 << 20)); time.sleep(0.2)"
    peak = commands.run([sys.executable, "-c", code]).peak
    assert 64 < peak < 640 if Path("/proc/self/status").exists() else peak == 0


def test_a_command_shows_its_errors():
    with pytest.raises(SystemExit, match=r"ended with 3:\nwhy"):
        commands.run([sys.executable, "-c", "import sys; print('why', file=sys.stderr); exit(3)"])
    code = "import os; exit(os.environ['OMP_NUM_THREADS'] != '7')"
    assert commands.run([sys.executable, "-c", code], threads=7).processor > 0


# The page


def test_the_summary_is_that_of_the_page():
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- summary -->\n(.*?)\n<!-- end of summary -->", page, re.DOTALL)[1]
    assert shown == wrapped(summary.summary(page))


@pytest.mark.parametrize("name", ASKED)
def test_every_figure_that_is_asked_stands_on_the_page(name):
    page = PAGE.read_text(encoding="utf-8")
    section = ASKED[name].section
    text = re.search(rf"<!-- {section} -->\n(.*?)\n<!-- end of {section} -->", page, re.DOTALL)[1]
    assert text == "Not measured yet." or summary.measured(page, ASKED[name]) is not None
    assert sum(name in row.figures for row in summary.ROWS) == 1


def page_of(*cells):
    """A page with a table of figures, and another before it."""
    rows = [[f"`row {number}`", cell] for number, cell in enumerate(cells)]
    tables = f"{table(['row', 'other'], rows)}\n\n{table(['row', 'figure'], rows)}"
    return f"<!-- made -->\nText.\n\n{tables}\n<!-- end of made -->\n"


@pytest.fixture
def made_rows(monkeypatch):
    """Two rows that are asked for: figures of at least 2 s, and of at most 5 s."""
    asked = {
        "more": Asked("made", "`row 0`", "figure", least=2, unit=" s"),
        "less": Asked("made", "`row 1`", "figure", most=5, unit=" s"),
    }
    rows = [
        summary.Row("both", tuple(asked), "both are hard."),
        summary.Row("either", tuple(asked), "either is hard.", is_any_enough=True),
    ]
    monkeypatch.setattr(summary, "ASKED", asked)
    monkeypatch.setattr(summary, "ROWS", rows)


@pytest.mark.parametrize(
    ("cells", "both", "either"),
    [
        (("**2.5 s** of it", "1,000"), "2.5 s, 1000 s | in part", "yes"),
        (("2", "-3e-1"), "2 s, -0.3 s | yes", "yes"),
        (("1", "6"), "1 s, 6 s | no", "no"),
        (("", "6"), "not measured yet, 6 s | ", ""),
        (("nan", "5"), "not measured yet, 5 s | ", "yes"),
    ],
)
def test_a_row_is_reached_or_says_why(cells, both, either, made_rows):
    text = summary.summary(page_of(*cells))
    assert f"| both | 2 s, at most 5 s | {both} |" in text
    assert re.search(rf"\| either \| 2 s or at most 5 s \| [^|]* \| {either} \|", text)
    assert ("- both: both are hard." in text) == (both[-2:] in ("rt", "no"))
    assert ("- either: either is hard." in text) == (either == "no")


def test_without_its_section_nothing_is_measured(made_rows):
    assert summary.summary("").count("| not measured yet |  |") == 2


def test_a_new_page_is_a_copy_and_the_old_one_stays(tmp_path):
    before = PAGE.read_bytes()
    page = tmp_path / "page.md"
    summary.publish("many clips", "A new text.", page)
    assert "<!-- many clips -->\nA new text.\n<!-- end" in page.read_text(encoding="utf-8")
    assert PAGE.read_bytes() == before
