"""The figures of docs/sounds.md are those of the formulas that the commands print."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ulmo.config import PrepSettings
from ulmo.reports.sound import tiles_line, tokens_line, tokens_per_second
from ulmo.tokenizer import load_tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:over a third of the sound", "ignore:the sound is fainter"
)  # what is lost is not the matter here
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sounds.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines()]
EXPANDED = [row for row in ROWS if len(row) == 6 and re.fullmatch(r"[\d.]+", row[1])]
OWN = [row for row in ROWS if len(row) == 5 and row[4].endswith(("MB", "GB"))]
UNITS = {"s": 1, "ms": 1e-3, "Hz": 1, "kHz": 1e3, "MB": 1e6, "GB": 1e9}


def number(text):
    value, *unit = text.split()
    return float(value) * (UNITS[unit[0]] if unit else 1)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(threads=1)


def test_the_tables_are_there():
    assert (len(EXPANDED), len(OWN)) == (9, 5)


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row[0])
def test_a_row_of_the_tokenizer_that_ships(row, tokenizer):
    _, expansion, highest, column, tokens, size = row
    prep, model = tokenizer.prep.with_sound(float(expansion), None), tokenizer.manifest.model
    assert prep.true_rate / 2 == number(highest)
    assert prep.frame_s * model.time_stride == pytest.approx(number(column), rel=0.005)
    assert tokens_per_second(prep, model) == pytest.approx(number(tokens))
    assert 4 * 3600 * tokens_per_second(prep, model) == pytest.approx(number(size), rel=0.005)
    assert f" {float(tokens):g} tokens a second, " in tokens_line(prep, model)


@pytest.mark.parametrize("row", OWN, ids=lambda row: row[0])
def test_a_row_of_an_own_tokenizer(row):
    _, options, tile, minute, size = row
    given = dict(re.findall(r"--([a-z-]+) (\S+?)`? ?(?=--|$)", options.strip("`")))
    prep = PrepSettings.read({name.replace("-", "_"): value for name, value in given.items()})
    assert prep.tile_size * prep.frame_s == pytest.approx(number(tile))
    assert f"rate        {minute} tiles a minute, {size} an hour; by default " in tiles_line(prep)
    assert len(given) == options.count("--")


def test_the_default_strides_are_those_that_prep_says():
    assert "87.5 tokens a second" in PAGE
    assert "by default 87.5 tokens a second; up to 8000 Hz" in tiles_line(PrepSettings())


def test_what_the_sample_loses(tokenizer):
    """Most of its power at 16 kHz, and nothing with K = 10: more codes are used."""
    samples, rate = soundfile.read(ROOT / "data_samples" / "ultrasound" / "bat_pass.wav")
    used = []
    for expansion in (1, 10):
        tokens = tokenizer.encode(samples, sample_rate=rate, time_expansion=expansion)
        used.append(len(np.unique(tokens.ids)))
        assert len(tokens.ids) == round(25 * expansion * len(samples) / rate)
    assert used[1] > 1.5 * used[0]
