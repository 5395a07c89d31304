"""Pictures of recordings: what is drawn is what the front ends give, where it is marked."""

import os
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tests.commands import TINY_SOUND as TINY_FLAGS
from tests.commands import run
from tests.conftest import SAMPLES
from tests.drawn import PNG, panels
from tests.gaps import set_timing, write_triggered
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.config import PrepSettings, UserError
from ulmo.pictures.axes import mark_hertz, mark_seconds, to_png
from ulmo.pipelines.show import show as module
from ulmo.pipelines.show.show import _pooled, show
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, stream_power
from ulmo.preprocessing.normalize import to_db
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.times.clock import WHOLE

RATE = 8000
CALLS = SAMPLES / "harmonic_calls.wav"
TINY = PrepSettings(normalization="corpus", tile_size=32, sample_rate=RATE, hop_length=64)


@pytest.fixture
def recording(tmp_path):
    """Two seconds of noise, a tone of 1 kHz in the second one."""
    n = np.arange(2 * RATE)
    samples = np.random.default_rng(0).normal(0, 0.01, len(n))
    samples[RATE:] += 0.5 * np.sin(2 * np.pi * 1000 / RATE * n[RATE:])
    path = tmp_path / "a b.wav"
    soundfile.write(path, samples, RATE)
    return path


def test_a_panel_for_each_front_end_with_seconds_and_hertz(recording, tmp_path, figures):
    shown = show(recording, tmp_path / "x.png", list(FRONTENDS), TINY)
    assert (shown.seconds, shown.sample_rate, shown.bandwidth_hz) == (2.0, RATE, 4000)
    (figure,) = figures
    axes = panels(figure)
    assert [axis.get_title(loc="left").split(":")[0] for axis in axes] == list(FRONTENDS)
    assert axes[-1].get_xlabel() == "time (s)"
    hop_s = TINY.hop_length / RATE
    for axis in axes:
        assert axis.get_xlim() == pytest.approx((-hop_s / 2, 2 - hop_s / 2))
        marked = [float(label.get_text()) for label in axis.get_yticklabels()]
        assert marked == sorted(marked)
        assert 1 in marked
        assert axis.get_ylabel() == "frequency (kHz)"


@pytest.mark.parametrize("frontend", ["stft", "cqt"])
def test_the_colours_are_the_levels_and_the_marks_where_the_bins_are(
    recording, tmp_path, figures, frontend
):
    show(recording, tmp_path / "x.png", [frontend], TINY)
    (axis,) = panels(figures[0])
    made = build_frontend(TINY.model_copy(update={"frontend": frontend}))
    samples, _ = soundfile.read(recording, dtype="float32")
    expected = to_db(np.concatenate(list(stream_power(made, [samples])), axis=1), TINY.floor_db)
    (image,) = axis.images
    np.testing.assert_array_equal(image.get_array(), expected)
    names = [label.get_text() for label in axis.get_yticklabels()]
    place = axis.get_yticks()[names.index("1")]
    loudest = int(expected[:, 200].argmax())
    assert loudest <= place <= loudest + 1


def test_a_line_wherever_a_tile_begins_and_some_seconds_of_it(recording, tmp_path, figures):
    show(recording, tmp_path / "x.png", ["mel"], TINY.model_copy(update={"overlap": 8}))
    (axis,) = panels(figures[0])
    lines = [line.get_xdata()[0] for line in axis.lines]
    assert lines == pytest.approx([(24 * i - 0.5) * 64 / RATE for i in range(1, 11)])
    shown = show(recording, tmp_path / "x.png", ["mel"], TINY, start=0.5, seconds=0.25)
    assert shown.seconds == pytest.approx(0.256)  # whole frames
    (axis,) = panels(figures[1])
    assert axis.get_xlim() == pytest.approx((0.5 - 0.004, 0.5 + 0.252))


@pytest.mark.parametrize(
    ("mode", "unit"),
    [("tile", "dB re full scale"), ("pcen", "PCEN"), ("level", "dB re tracked level")],
)
def test_the_colour_bar_tells_the_unit(recording, tmp_path, figures, mode, unit):
    show(recording, tmp_path / "x.png", ["mel"], TINY.model_copy(update={"normalization": mode}))
    assert [axis.get_ylabel() for axis in figures[0].axes] == ["frequency (kHz)", unit]


def test_the_picture_is_a_png_and_always_the_same(recording, tmp_path):
    for name in ("one.png", "two.png"):
        show(recording, tmp_path / name, ["stft", "dwt"], TINY)
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(PNG)
    assert content == (tmp_path / "two.png").read_bytes()


@given(
    lengths=st.lists(st.integers(0, 50), max_size=20),
    most=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_a_column_is_the_loudest_of_its_frames(lengths, most, seed):
    frames = sum(lengths)
    whole = np.random.default_rng(seed).normal(size=(3, frames)).astype(np.float32)
    blocks = np.split(whole, np.cumsum(lengths)[:-1], axis=1) if lengths else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_COLUMNS", most)
        values, width, counted = _pooled(blocks)
    assert counted == frames
    if frames:
        starts = range(0, frames, width)
        expected = np.stack([whole[:, i : i + width].max(axis=1) for i in starts], axis=1)
        np.testing.assert_array_equal(values, expected)
        assert len(starts) <= most + 1
        assert width == 1 or frames > most * width // 2


def test_a_long_recording_says_what_a_column_is(recording, tmp_path, figures, monkeypatch):
    monkeypatch.setattr(module, "_MAX_COLUMNS", 100)
    show(recording, tmp_path / "x.png", ["stft"], TINY)
    (axis,) = panels(figures[0])
    assert "250 frames of 8 ms, each column the loudest of 4;" in axis.get_title(loc="left")
    assert axis.images[0].get_array().shape == (32, 63)


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize(
    ("rate", "expansion", "unit", "size"),
    [(16000, 1, "kHz", 1000), (16000, 10, "kHz", 1000), (5000, 0.1, "Hz", 1), (1600, 1, "Hz", 1)],
)
def test_ticks_reach_near_the_top_and_do_not_overlap(frontend, rate, expansion, unit, size):
    settings = PrepSettings(frontend=frontend, sample_rate=rate, time_expansion=expansion)
    frequencies = build_frontend(settings).frequencies
    figure = Figure(figsize=(12, 3), dpi=100)
    axis = figure.subplots()
    axis.set_ylim(0, len(frequencies))
    mark_hertz(axis, frequencies)
    FigureCanvasAgg(figure).draw()
    labels = axis.get_yticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert axis.get_ylabel() == f"frequency ({unit})"
    assert all(low.y1 < high.y0 for low, high in pairwise(boxes))
    hertz = size * np.array([float(label.get_text()) for label in labels])
    assert len(hertz) >= 5
    assert axis.get_yticks()[-1] >= 0.85 * len(frequencies)
    expected = np.interp(hertz, frequencies, np.arange(len(frequencies)) + 0.5)
    np.testing.assert_allclose(axis.get_yticks(), expected, atol=0.51)


def test_what_the_lines_are_is_said_where_there_are_some(recording, tmp_path, figures):
    show(recording, tmp_path / "x.png", ["mel"], TINY)
    show(recording, tmp_path / "x.png", ["mel"], TINY, seconds=0.2)
    captions = [panels(figure)[0].get_title(loc="left") for figure in figures]
    assert [caption.endswith("; dashed: where a tile begins") for caption in captions] == [
        True,
        False,
    ]


def test_a_trigger_that_never_fired_leaves_nothing_to_draw(tmp_path):
    path = tmp_path / "20230101_120000T.WAV"
    soundfile.write(path, np.zeros(0), RATE, subtype="PCM_16")
    result = run(ulmo, "show", path)
    assert result.exit_code == exits.WRONG_USAGE
    words = "was recorded with a trigger that never fired: there is nothing to draw"
    assert result.stderr == f"ulmo: {path} {words}\n"


def test_the_rate_that_is_named_shows_all_of_it(recording, tmp_path):
    command = ("show", recording, "--frontend", "mel", "--out", tmp_path / "x.png", "-M", 32)
    command = (*command, "--hop-length", 16, "--time-expansion", 4)
    few = run(ulmo, *command, "--sample-rate", 1000)
    assert "8000 Hz: --sample-rate 2000 shows all of it" in few.stdout
    assert "shows all of it" not in run(ulmo, *command, "--sample-rate", 2000).stdout


def test_what_cannot_be_drawn(recording, tmp_path):
    picture = tmp_path / "x.png"
    with pytest.raises(UserError, match="one channel"):
        show(recording, picture, ["mel"], TINY.model_copy(update={"channels": "each"}))
    with pytest.raises(UserError, match=r"x\.jpg does not end with \.png"):
        show(recording, tmp_path / "x.jpg", ["mel"], TINY)
    with pytest.raises(UserError, match="set fmax to"):
        show(tmp_path / "none.wav", picture, ["cwt"], TINY.model_copy(update={"fmax": 4000.0}))
    with pytest.raises(RefusedError, match="too_short"):
        show(recording, picture, ["mel"], TINY, start=3.0)
    assert not picture.exists()


def test_the_command(recording, tmp_path):
    """All front ends, beside the recording; a refusal is a line and status 3."""
    result = run(ulmo, "show", recording, "-M", 32, "--sample-rate", 4000, "--hop-length", 32)
    assert result.exit_code == 0, result.output
    picture = recording.with_name("a b.wav.png")
    assert picture.read_bytes().startswith(PNG)
    assert result.output == (
        f"2.00 s, up to 2000 Hz -> {picture}\n"
        "its sample rate is 8000 Hz: --sample-rate 8000 shows all of it\n"
    )
    (tmp_path / "a.wav").write_text("no sound")
    refused = run(ulmo, "show", tmp_path / "a.wav")
    assert (refused.exit_code, refused.stderr.count("\n")) == (3, 1)
    assert "refused: not_audio" in refused.stderr
    unknown = run(ulmo, "show", recording, "--frontend", "fft")
    assert (unknown.exit_code, "all" in unknown.stderr) == (2, True)


def test_a_folder_that_cannot_be_written_to_asks_for_out(recording, tmp_path, monkeypatch, figures):
    """A card is often read-only. Root may write where others may not, so `access` is set up."""
    access = os.access
    closed = recording.parent
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
    refused = run(ulmo, "show", recording, *TINY_FLAGS)
    assert refused.exit_code == exits.WRONG_USAGE
    assert refused.stderr == (
        f"ulmo: cannot write to {closed}: name the picture with --out FILE.png\n"
    )
    assert figures == []
    done = run(ulmo, "show", recording, *TINY_FLAGS, "--out", tmp_path / "new" / "x.png")
    assert (done.exit_code, (tmp_path / "new" / "x.png").exists()) == (0, True)


def test_a_picture_that_ulmo_did_not_draw_stays_unless_out_names_it(recording):
    command = ("show", recording, *TINY_FLAGS, "--frontend", "mel")
    picture = recording.with_name("a b.wav.png")
    assert [run(ulmo, *command).exit_code for _ in range(2)] == [0, 0]  # its own is drawn again
    drawn = picture.read_bytes()
    Image.open(picture).save(picture)  # by another program, from ulmo's picture
    for content in (picture.read_bytes(), b"precious", b"", PNG):
        picture.write_bytes(content)
        refused = run(ulmo, *command)
        assert refused.exit_code == exits.WRONG_USAGE
        assert refused.stderr == (
            f"ulmo: {picture} is there, and nothing in it says that ulmo drew it: "
            "name the picture with --out FILE.png\n"
        )
        assert picture.read_bytes() == content
    assert run(ulmo, *command, "--out", picture).exit_code == 0
    assert picture.read_bytes() == drawn


def test_a_long_name_has_a_picture_too(recording):
    long = recording.rename(recording.with_name("n" * 251 + ".wav"))
    done = run(ulmo, "show", long, *TINY_FLAGS)
    assert done.exit_code == 0, done.output
    (picture,) = long.parent.glob("*.png")
    assert picture.name.endswith("nnn.wav.png")


def test_a_picture_never_replaces_its_recording(recording, tmp_path):
    named = recording.rename(tmp_path / "x.png")
    content = named.read_bytes()
    result = run(ulmo, "show", named, "--out", named, *TINY_FLAGS)
    assert result.exit_code == exits.WRONG_USAGE
    assert "is the recording itself: name the picture" in result.stderr
    assert named.read_bytes() == content


def test_a_name_that_is_no_mathematics_is_drawn_as_it_is(recording, figures, monkeypatch):
    hostile = recording.rename(recording.with_name("_$x^$y\n\u202e.wav"))
    monkeypatch.setattr(module, "to_png", lambda figure: figures.append(figure) or to_png(figure))
    done = run(ulmo, "show", hostile, *TINY_FLAGS, "--frontend", "stft")
    assert done.exit_code == 0, done.output
    assert figures[0].get_suptitle() == r"_$x^$y\n\u202e.wav"


class TestGaps:
    """A second, 128 s of nothing, a second of a tone."""

    @pytest.fixture
    def triggered(self, tmp_path):
        tone = 0.5 * np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE))
        path = tmp_path / "20230501_120000T.WAV"
        write_triggered(path, np.zeros(RATE), 4000, tone, rate=RATE)
        return path

    def test_are_drawn_as_silence_in_true_time(self, triggered, tmp_path, figures):
        settings = TINY.model_copy(update={"frontend": "stft"})
        shown = show(triggered, tmp_path / "x.png", ["stft"], settings)
        assert (shown.seconds, shown.stretches) == (130, 2)
        (axis,) = panels(figures[0])
        values = np.asarray(axis.images[0].get_array())
        first, end, *_ = axis.images[0].get_extent()
        seconds = first + (np.arange(values.shape[1]) + 0.5) * (end - first) / values.shape[1]
        loud = seconds[values.max(axis=0) > values.max() - 10]
        assert abs(loud[0] - 129) < 0.2
        assert len(loud) / values.shape[1] == pytest.approx(1 / 130, rel=0.2)

    def test_a_part_is_chosen_in_true_time(self, triggered, tmp_path, figures):
        shown = show(triggered, tmp_path / "x.png", ["mel"], TINY, start=129.25, seconds=0.5)
        assert (shown.seconds, shown.stretches) == (pytest.approx(0.5, abs=0.01), 1)
        (axis,) = panels(figures[0])
        assert axis.get_xlim()[0] == pytest.approx(129.25, abs=0.01)
        with pytest.raises(RefusedError, match=r"no sound from 50 s on"):
            show(triggered, tmp_path / "x.png", ["mel"], TINY, start=50, seconds=20)

    def test_that_are_long_for_so_little_sound_are_drawn_in_part(self, tmp_path, figures):
        tone = 0.5 * np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE // 4))
        path = tmp_path / "20230501_120000T.WAV"
        write_triggered(path, tone, 2**16, tone, 2**16, tone, rate=RATE)  # twice 35 minutes
        with pytest.raises(RefusedError, match="frames allow 1 h: draw a part") as caught:
            show(path, tmp_path / "x.png", ["mel"], TINY)
        assert caught.value.reason == "long_gaps"
        assert show(path, tmp_path / "x.png", ["mel"], TINY, seconds=2200).stretches == 2

    def test_are_named(self, triggered, tmp_path):
        result = run(ulmo, "show", triggered, "--out", tmp_path / "x.png", "--frontend", "mel")
        assert "it has a gap in time, drawn as silence" in result.stdout


def test_times_that_are_not_true_are_said(recording, tmp_path, monkeypatch):
    set_timing(monkeypatch, WHOLE, linear=False)
    result = run(ulmo, "show", recording, "--out", tmp_path / "x.png", "--frontend", "mel")
    assert "time_not_linear  a b.wav: time was or may have been left out in it" in result.stdout


@pytest.mark.parametrize(
    ("start", "end", "words", "unit"),
    [
        (0, 8, "0 1 2 3 4 5 6 7 8", "time (s)"),
        (0.3, 1.8, "0.4 0.6 0.8 1 1.2 1.4 1.6 1.8", "time (s)"),
        (0, 180, "0:00 0:15 0:30", "time (min:s)"),
        (3600, 3601, "60:00 60:00.1 60:00.2", "time (min:s)"),
        (0, 86_400, "0:00 120:00 240:00", "time (min:s)"),
    ],
)
def test_times_are_marked_as_people_write_them(start, end, words, unit):
    axis = Figure().subplots()
    mark_seconds(axis, start, end)
    texts = [label.get_text() for label in axis.get_xticklabels()]
    assert texts[: len(words.split())] == words.split()
    assert 2 <= len(texts) <= 13
    assert axis.get_xlabel() == unit
