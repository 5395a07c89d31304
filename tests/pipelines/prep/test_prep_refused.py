"""What ulmo-prep refuses before it does anything, and what it takes."""

import pytest

from tests.pipelines.recordings import (
    TINY,
    contents,
    noise,
    write,
)
from ulmo.config import AugmentSettings, ClockSettings, UserError
from ulmo.pipelines.prep.prep import prepare

pytestmark = pytest.mark.usefixtures("small_jobs")


class TestRefused:
    @pytest.mark.parametrize("name", ["out/thesis.txt", "out/tiles/x.npy", "out/.hidden", "out"])
    def test_what_is_not_ours_is_refused_and_not_touched(self, audio, tmp_path, name):
        place = tmp_path / "mine" / name
        place.parent.mkdir(parents=True)
        place.write_text("mine")
        with pytest.raises(UserError, match="holds other things: choose a new folder"):
            prepare(audio, tmp_path / "mine" / "out", TINY)
        assert contents(tmp_path / "mine") == {name: b"mine"}

    @pytest.mark.parametrize(
        ("augment", "clock", "words"),
        [
            ({"views": 2}, {}, r"views there 3, here 2"),
            ({"views": 1}, {}, r"views there 3, here 1"),
            ({"view_seed": 7}, {}, r"view_seed there 0, here 7"),
            (
                {"hop_factors": (1.0,)},
                {},
                r"hop_factors there .*1\.25\), here \(1\.0,\)",
            ),
            ({}, {"timezone": "+02:00"}, r"timezone there 'UTC', here '\+02:00'"),
        ],
    )
    def test_other_views_and_clocks_are_refused(self, augment, clock, words, audio, tmp_path):
        out, settings = tmp_path / "out", TINY.model_copy(update={"hop_length": 16})
        views = AugmentSettings(views=3)
        prepare(audio, out, settings, augment=views)
        before = contents(out)
        how = {"augment": views.model_copy(update=augment), "clock": ClockSettings(**clock)}
        with pytest.raises(UserError, match=rf"made with other settings \({words}") as caught:
            prepare(audio, out, settings, **how)
        assert "\n" not in str(caught.value)
        assert contents(out) == before

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"settings": TINY.model_copy(update={"hop_length": 65})}, "hop_length"),
            (
                {"augment": AugmentSettings(views=3)},
                "hop_factors .* and window_factors .*: hop",
            ),
            ({"clock": ClockSettings(timestamp_pattern="%H%M")}, "has no date"),
            ({"clock": ClockSettings(timezone="Mars")}, "'Mars' is not known"),
        ],
    )
    def test_what_cannot_work_is_refused_before_anything_is_read(self, how, words, tmp_path):
        with pytest.raises(UserError, match=words):
            prepare(tmp_path / "none", tmp_path / "out", **{"settings": TINY, **how})
        assert not (tmp_path / "out").exists()

    def test_an_empty_folder_is_taken(self, audio, tmp_path):
        (tmp_path / "out").mkdir()
        assert prepare(audio, tmp_path / "out", TINY).recordings == 8

    def test_no_recordings(self, tmp_path):
        (tmp_path / "audio").mkdir()
        with pytest.raises(UserError, match="no recordings"):
            prepare(tmp_path / "audio", tmp_path / "out", TINY)
        with pytest.raises(UserError, match="none does not exist"):
            prepare(tmp_path / "none", tmp_path / "out", TINY)
        assert not (tmp_path / "out").exists()

    def test_the_output_may_lie_among_the_recordings(self, audio):
        prepare(audio, audio / "out", TINY)
        write(audio / "out" / "stray.wav", noise(100, 0))
        assert prepare(audio, audio / "out", TINY).reused
