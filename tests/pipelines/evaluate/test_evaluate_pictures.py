"""Pictures of a codebook: what is drawn is what was counted and decoded."""

import numpy as np
import pytest

from tests.small_tokenizers import HOP, RATE
from ulmo.pipelines.evaluate import pictures as module
from ulmo.pipelines.evaluate.pictures import _decoded_codes, _draw_codes, _draw_usage
from ulmo.preprocessing.frontends import build_frontend

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figures(monkeypatch):
    """Figures, kept in place of being made into PNG."""
    kept = []
    monkeypatch.setattr(module, "to_png", lambda figure: kept.append(figure) or PNG)
    return kept


def test_usage_is_sorted_on_a_logarithmic_axis(figures):
    counts, sound = np.array([1, 6, 0, 3]), np.array([0, 5, 0, 0])
    assert _draw_usage({"tiles": (counts, sound), "recordings": (sound, sound * 0)}) == PNG
    left, right = figures[0].axes
    shares, sound_shares, uniform = (line.get_ydata() for line in left.lines)
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1])
    np.testing.assert_allclose(sound_shares, [1])
    assert set(uniform) == {0.25}
    assert left.get_yscale() == "log"
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "all tokens: 3 of 4 codes",
        "non-silent tokens: 1 of 4 codes",
        "all used alike",
    ]
    assert right.get_title() == "codes of recordings"
    assert len(right.lines[1].get_ydata()) == 0


@pytest.mark.parametrize("plan", ["divides", "ragged", "unequal", "one layer", "full rate"])
def test_a_patch_is_the_middle_of_a_grid_of_its_code(plan, tokenizer_of):
    """What a far larger grid of the code has in its middle, in decibels."""
    tokenizer = tokenizer_of(plan=plan)
    model = tokenizer.manifest.model
    codes = np.array([3, 0, 15])
    found = _decoded_codes(tokenizer, codes)
    assert found.shape == (3, model.frequency_stride, model.time_stride)
    columns = 41
    grid = np.broadcast_to(codes[:, None, None], (3, columns, model.bands)).astype(np.int32)
    whole = tokenizer.manifest.normalization.undo(tokenizer.decode_ids(grid)[..., 0])
    bottom = (model.bands - 1) // 2 * model.frequency_stride
    left = columns // 2 * model.time_stride
    expected = whole[:, bottom : bottom + model.frequency_stride, left : left + model.time_stride]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_codes_by_use_with_seconds_and_hertz(tokenizer_of, figures, monkeypatch):
    tokenizer = tokenizer_of(plan="divides")
    counts = np.arange(16) * np.array([1, -1] * 8) + 20
    assert _draw_codes(tokenizer, counts) == PNG
    left, right, bar = figures[0].axes
    best = int(np.argmax(counts))
    patches = _decoded_codes(tokenizer, np.arange(16))
    spread = int(np.argmax(patches.std(axis=(1, 2))))
    assert left.get_title() == f"code {spread}"
    np.testing.assert_allclose(left.collections[0].get_array(), patches[spread], rtol=1e-5)
    assert left.get_xlabel() == "time (s)"
    assert left.get_xlim() == pytest.approx((-0.5 * HOP / RATE, 3.5 * HOP / RATE))
    frequencies = build_frontend(tokenizer.manifest.prep).frequencies
    ticks = [float(label.get_text()) for label in left.get_yticklabels()]
    first = (4 - 1) // 2 * 8
    assert (ticks[0], ticks[-1]) == (round(frequencies[first]), round(frequencies[first + 7]))
    mosaic = np.asarray(right.images[0].get_array())
    np.testing.assert_allclose(mosaic[-9:-1, 1:5], patches[best], rtol=1e-5)
    assert right.get_title().startswith("16 of 16 codes, by use")
    assert bar.get_ylabel() == "dB re full scale"
    monkeypatch.setattr(module, "_MAX_CODES", 5)
    _draw_codes(tokenizer, counts)
    assert figures[1].axes[1].get_title().startswith("5 of 16 codes")


@pytest.mark.parametrize(
    ("mode", "unit"),
    [
        *((mode, "normalised level") for mode in ("recording", "tile")),
        *(("pcen", "PCEN"), ("level", "dB re tracked level")),
    ],
)
def test_units(mode, unit, tokenizer_of, figures):
    _draw_codes(tokenizer_of(mode=mode, plan="divides"), np.arange(16))
    assert figures[0].axes[2].get_ylabel() == unit


def test_pictures_are_png_and_the_same_each_time(tokenizer_of):
    pictures = [_draw_codes(tokenizer_of(plan="divides"), np.arange(16)) for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(PNG)
