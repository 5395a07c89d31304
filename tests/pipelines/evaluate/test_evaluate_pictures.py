"""Pictures of a codebook: what is drawn is what was counted and decoded."""

import numpy as np
import pytest

from tests.small_tokenizers import HOP, RATE
from ulmo.pipelines.evaluate import pictures as module
from ulmo.pipelines.evaluate.pictures import _decoded_codes, _draw_codes, _draw_usage

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figures(monkeypatch):
    """Figures, kept in place of being made into PNG."""
    kept = []
    monkeypatch.setattr(module, "to_png", lambda figure: kept.append(figure) or PNG)
    return kept


def test_usage_is_sorted_on_a_logarithmic_axis(figures):
    counts, sound = np.array([[1, 2, 0, 3], [0, 4, 0, 0]]), np.array([[0, 5, 0, 0], [0] * 4])
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


def used_in(tokenizer, *bands):
    """Counts (bands, CB) of codes of which each is used in some bands alone."""
    counts = np.zeros((tokenizer.manifest.model.bands, 16), np.int64)
    counts[list(bands)] = 100
    return counts


@pytest.mark.parametrize("plan", ["divides", "ragged", "unequal", "one layer", "full rate"])
def test_a_patch_is_the_middle_of_a_grid_of_its_code(plan, tokenizer_of):
    """What a far larger grid of the code has in its middle, in decibels, where it is used."""
    tokenizer = tokenizer_of(plan=plan)
    model = tokenizer.manifest.model
    last = model.bands - 1
    codes, counts = np.array([3, 0, 15]), used_in(tokenizer, 0, last)
    counts[:last, 3] = 0
    counts[:last, 15] = counts[:last, 15] > 0  # 1 of 101: less than a hundredth
    found = _decoded_codes(tokenizer, codes, counts)
    columns = 41
    grid = np.broadcast_to(codes[:, None, None], (3, columns, model.bands)).astype(np.int32)
    whole = tokenizer.manifest.normalization.undo(tokenizer.decode_ids(grid)[..., 0])
    left = columns // 2 * model.time_stride
    expected = whole[:, :, left : left + model.time_stride]
    assert found.shape == expected.shape
    bands = np.arange(found.shape[1]) // model.frequency_stride
    for patch, other, used in zip(found, expected, ([last], [0, last], [last]), strict=True):
        shown = np.isin(bands, used)
        np.testing.assert_allclose(patch[shown], other[shown], atol=1e-4)
        assert np.isnan(patch[~shown]).all()


def test_codes_by_use_with_ids_seconds_and_hertz(tokenizer_of, figures, monkeypatch):
    tokenizer = tokenizer_of(plan="divides")
    counts = used_in(tokenizer, 1, 2) + np.arange(16) * np.array([1, -1] * 8)
    counts[:, 5] = 0
    assert _draw_codes(tokenizer, counts) == PNG
    left, right, bar = figures[0].axes
    order = np.argsort(-counts.sum(axis=0), kind="stable")[:15]
    assert [text.get_text() for text in right.texts] == [str(code) for code in order]
    patches = _decoded_codes(tokenizer, order, counts)
    spread = int(np.argmax(np.nanstd(patches, axis=(1, 2))))
    assert left.get_title() == f"code {order[spread]}"
    np.testing.assert_allclose(
        left.collections[0].get_array().filled(np.nan), patches[spread], rtol=1e-5
    )
    assert left.get_xlabel() == "time (s)"
    assert left.get_xlim() == pytest.approx((-0.5 * HOP / RATE, 3.5 * HOP / RATE))
    ticks = [float(label.get_text()) for label in left.get_yticklabels()]
    assert ticks == [round(edge) for edge in tokenizer.edges_hz]
    assert left.get_yticks().tolist() == [0, 8, 16, 24, 32]
    mosaic = np.asarray(right.images[1].get_array().filled(np.nan))
    tall, wide = 32 + 6, 4 + 1
    assert mosaic.shape == (tall, 15 * wide)
    np.testing.assert_allclose(mosaic[6:, :4], patches[0][::-1], rtol=1e-5)
    np.testing.assert_allclose(mosaic[6:, 70:74], patches[14][::-1], rtol=1e-5)
    x, y = right.texts[14].get_position()
    assert 70 <= x <= 74
    assert y < 6
    assert right.get_title().startswith("15 of 16 codes, by use")
    assert bar.get_ylabel() == "dB re full scale"
    monkeypatch.setattr(module, "_MAX_CODES", 5)
    monkeypatch.setattr(module, "_ACROSS", 2)
    _draw_codes(tokenizer, counts)
    right = figures[1].axes[1]
    assert right.get_title().startswith("5 of 16 codes")
    assert right.images[1].get_array().shape == (3 * tall, 2 * wide)
    assert right.texts[4].get_position()[1] > 2 * tall


def test_without_tokens_all_codes_are_drawn_in_all_bands(tokenizer_of, figures):
    _draw_codes(tokenizer_of(plan="divides"), np.zeros((4, 16), np.int64))
    right = figures[0].axes[1]
    assert len(right.texts) == 16
    assert np.isfinite(right.images[1].get_array().filled(np.nan)).sum() == 16 * 32 * 4


@pytest.mark.parametrize(
    ("mode", "unit"),
    [
        *((mode, "normalised level") for mode in ("recording", "tile")),
        *(("pcen", "PCEN"), ("level", "dB re tracked level")),
    ],
)
def test_units(mode, unit, tokenizer_of, figures):
    _draw_codes(tokenizer_of(mode=mode, plan="divides"), np.ones((4, 16), np.int64))
    assert figures[0].axes[2].get_ylabel() == unit


def test_pictures_are_png_and_the_same_each_time(tokenizer_of):
    counts = np.ones((4, 16), np.int64)
    pictures = [_draw_codes(tokenizer_of(plan="divides"), counts) for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(PNG)
