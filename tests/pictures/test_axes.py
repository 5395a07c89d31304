"""Foreign text in pictures, and pictures in foreign folders."""

import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from ulmo.pictures import own_matplotlib
from ulmo.pictures.axes import as_drawn, mark_hertz, own_style, to_png

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "$x^$y_1.wav",
    r"$\input{/etc/passwd}$ %s {} \frac \1",
    "_begins",
    "two\nlines\r\t",
    "\x1b[31mred\x07",
    "\u202egpj.wav \u05d0\u05d1 \u0627\u0644",
    "e\u0301\u0302" * 60,
    "\u9ce5 \U0001f426 \U0010ffff",
    "not UTF-8: \udcff",
    "n" * 255,
    "$" * 300,
    "",
]


@own_style()
def draw(names):
    """A picture with each name wherever a picture has text."""
    figure = Figure(figsize=(2, 2))
    for axis, name in zip(figure.subplots(3, 4).flat, names, strict=True):
        axis.plot([1, 1000], label=f"training: {name}")
        axis.set(title=name, xlabel=name, ylabel=name, yscale="log")
        axis.set_title(name, loc="left")
        axis.text(0, 1, name)
        axis.annotate(name, (0, 1))
        axis.legend(title=name)
    figure.suptitle(names[0])
    return to_png(figure), figure


def test_foreign_text_is_drawn_as_text():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter that the font lacks, say
        png, figure = draw(HOSTILE)
    assert png.startswith(b"\x89PNG")
    for axis, name in zip(figure.axes, HOSTILE, strict=True):
        title = axis.title.get_text()
        assert (title == name) or not (name.isprintable() and len(name) < 50 and name.isascii())
        assert title.isprintable()
        assert len(title) <= 110
        assert len(axis.get_legend().get_texts()) == 1


def test_every_picture_is_drawn_in_our_style_and_goes_through_to_png():
    saving, drawing = [], {}
    for path in (ROOT / "ulmo").rglob("*.py"):
        source = path.read_text()
        saving += [path.name] * source.count("savefig(")
        if "Figure(" in source:
            drawing[str(path.relative_to(ROOT))] = "@own_style()" in source and "to_png(" in source
    assert saving == ["axes.py"]
    assert len(drawing) == 6
    assert all(drawing.values()), drawing


def test_numbers_at_ticks_keep_their_exponents():
    _, figure = draw(HOSTILE)
    assert any("10^{" in label.get_text() for label in figure.axes[0].get_yticklabels())


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a b.wav", "a b.wav"),
        ("a\nb", r"a\nb"),
        ("\u202ea", r"\u202ea"),
        ("\u9ce5", r"\u9ce5"),
        ("\u00e9\u05d0", "\u00e9\u05d0"),
        ("a" * 60 + "b" * 60, "a" * 54 + "\u2026" + "b" * 55),
    ],
)
def test_what_cannot_be_drawn_is_written_as_python_does(text, drawn):
    assert as_drawn(text) == drawn
    assert as_drawn(drawn) == drawn


def test_a_matplotlibrc_in_the_working_folder_is_not_opened(tmp_path):
    """A pipe would be waited for, and of a file each bad line printed as it is."""
    os.mkfifo(tmp_path / "matplotlibrc")
    here = "import os; os.chdir, before = None, os.path.exists; "
    here += "import ulmo.pipelines.show.show; "
    done = subprocess.run(
        [sys.executable, "-c", f"{here}assert os.path.exists is before"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("wanted", "taken"), [("svg", "svg"), ("nothing", "agg")])
def test_a_backend_that_is_not_installed_is_not_taken(wanted, taken):
    script = (
        "import os; import ulmo.pictures.own_matplotlib as own; from matplotlib import pyplot; "
        "print(pyplot.get_backend().lower(), os.environ['MPLBACKEND'])"
    )
    screens = {"DISPLAY", "WAYLAND_DISPLAY"}
    headless = {name: value for name, value in os.environ.items() if name not in screens}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**headless, "PYTHONPATH": str(ROOT), "MPLBACKEND": wanted},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{taken} {wanted}\n", "")


def test_other_threads_keep_their_working_folder_while_matplotlib_is_imported(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matplotlibrc").write_text("")

    def seen():
        return Path.cwd(), os.path.exists("matplotlibrc"), os.path.exists(tmp_path)  # noqa: PTH110

    with own_matplotlib._without_settings(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(seen).result() == (tmp_path, True, True)
        assert seen() == (tmp_path, False, True)
    assert seen() == (tmp_path, True, True)


def test_matplotlib_is_imported_in_one_place():
    importing = {
        path.name
        for path in (ROOT / "ulmo").rglob("*.py")
        if re.search(r"^ *(import|from) matplotlib", path.read_text(), re.MULTILINE)
    }
    assert importing == {"own_matplotlib.py", "pictures.py"}  # and, to check types, of training


def test_a_matplotlibrc_changes_nothing(monkeypatch):
    """A program that uses ulmo may have imported matplotlib in a folder with one."""

    @own_style()
    def picture():
        figure = Figure(figsize=(2, 1))
        axis = figure.subplots()
        axis.set_title("a_b")
        mark_hertz(axis, np.linspace(100, 4000, 32))
        return to_png(figure)

    expected = picture()
    foreign = {"text.usetex": True, "font.family": "none", "figure.dpi": 1e9, "text.color": "red"}
    for name, value in foreign.items():
        monkeypatch.setitem(mpl.rcParams, name, value)
    assert (picture() == expected) is True
    assert mpl.rcParams["text.usetex"] is True
