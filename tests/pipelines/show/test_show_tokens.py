"""Tokens below the spectrogram of `ulmo show --tokens`."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from tests.commands import run
from tests.conftest import SAMPLES
from tests.drawn import panels
from tests.gaps import write_triggered
from ulmo.cli.main import ulmo
from ulmo.pipelines.look.codes import describe_codes
from ulmo.pipelines.look.columns import Shown
from ulmo.pipelines.show.show import show
from ulmo.tokenizer import load_tokenizer

CALLS = SAMPLES / "harmonic_calls.wav"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(threads=1)


def test_tokens_have_the_colours_of_the_page_at_their_times(tokenizer, tmp_path, figures):
    settings = tokenizer.prep
    show(CALLS, tmp_path / "x.png", ["mel"], settings, tokenizer=tokenizer)
    upper, lower = panels(figures[0])
    assert upper.get_xlim() == lower.get_xlim()
    (image,) = lower.images
    ids = tokenizer.encode(CALLS).ids
    codes, _ = describe_codes(tokenizer, Shown(ids, None, slice(0), np.empty(0), 0.04))
    colours = {each["id"]: to_rgb(each["colour"]) for each in codes}
    pixels = np.asarray(image.get_array()) / 255
    assert pixels.shape == (4, 200, 4)
    for column, band in ((0, 0), (16, 2), (100, 3), (199, 1)):
        assert tuple(pixels[band, column]) == pytest.approx((*colours[ids[column, band]], 1))
    assert image.get_extent() == pytest.approx((0, 8, 0, 4 * 56))
    assert [label.get_text() for label in lower.get_yticklabels()] == [
        *("0.2", "0.5", "1", "2", "3", "5", "7")
    ]
    assert not lower.texts


def test_tokens_of_a_part_are_those_of_the_whole_with_their_ids(tokenizer, tmp_path, figures):
    show(
        *(CALLS, tmp_path / "x.png", ["mel"], tokenizer.prep),
        start=1.0,
        seconds=0.8,
        tokenizer=tokenizer,
    )
    upper, lower = panels(figures[0])
    assert not upper.lines  # no tile begins in a file that is tokenized
    ids = tokenizer.encode(CALLS).ids[25:45]
    places = {text.get_position(): int(text.get_text()) for text in lower.texts}
    assert len(places) == ids.size
    for (x, y), code in places.items():
        assert code == ids[int((x - 1) // 0.04), int(y // 56)]


def test_tokens_none_are_drawn_where_time_was_left_out(tokenizer, tmp_path, figures):
    noise = np.random.default_rng(0).normal(0, 0.2, 32768).clip(-0.9, 0.9)
    path = tmp_path / "20230501_120000T.WAV"
    write_triggered(path, noise, 200, noise, rate=16000)
    show(path, tmp_path / "x.png", ["mel"], tokenizer.prep, tokenizer=tokenizer)
    opaque = np.asarray(panels(figures[0])[1].images[0].get_array())[..., 3] == 255
    assert (opaque == opaque[0]).all()
    starts = np.flatnonzero(np.diff(opaque[0].astype(int)))
    np.testing.assert_allclose(0.04 * (starts + 1), [2.08, 2.048 + 3.2], atol=0.041)


def test_tokens_the_command_takes_the_front_end_of_the_tokenizer(tmp_path):
    picture = tmp_path / "x.png"
    done = run(ulmo, "show", CALLS, "--tokens", "--out", picture, "--seconds", 2)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"2.00 s, up to 8000 Hz -> {picture}\n"
    with Image.open(picture) as image:
        assert image.height == 540  # two panels
