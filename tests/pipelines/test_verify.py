"""ulmo verify: how a kind is told, and what it says of a bundle."""

import pytest

from tests.outputs import PREP, SMALL, make_tokens
from tests.pipelines.verifying import flip, run_command
from ulmo.config import UserError
from ulmo.pipelines.verify import KINDS, kind_of, verify


@pytest.fixture
def audio(tiles):
    return tiles.parent / "audio"


class TestKinds:
    def test_each_is_told_by_what_lies_there(self, tiles, run, make_bundle, tmp_path):
        make_bundle(tmp_path / "bundle", PREP, **SMALL)
        tokens = make_tokens(tmp_path / "tokens")
        places = {"tiles": tiles, "run": run, "bundle": tmp_path / "bundle"}
        places["tokens"] = tmp_path / "tokens"
        assert set(places) == set(KINDS)
        for kind, place in places.items():
            assert kind_of(place) == kind
            assert verify(place).faults == []
        assert kind_of(tokens) == "tokens"
        assert verify(tokens).counts == {"files": 1, "recordings": 1, "ids": 15}

    def test_what_is_none_of_ours_is_a_users_mistake(self, tmp_path, audio):
        for place, text in (
            (tmp_path / "none", "there is no"),
            (audio, "holds no tiles"),
            (audio / "a.wav", "is no file of tokens"),
        ):
            with pytest.raises(UserError, match=text):
                verify(place)
            assert run_command(place)[0] == 2

    def test_audio_is_for_the_repair_of_tiles(self, tiles, audio, run):
        for place, repair in ((tiles, False), (run, True)):
            with pytest.raises(UserError, match="--audio is for --repair of tiles"):
                verify(place, repair=repair, audio=audio)


class TestBundles:
    def test_what_is_wrong_is_told_and_copied_again(self, make_bundle, tmp_path):
        folder = make_bundle(tmp_path / "t", PREP, **SMALL)
        assert run_command(folder) == (
            0,
            f"{folder}: bundle: 3 files, 4,556 bytes\n  all is well\n",
        )
        flip(folder / "model.safetensors")
        status, output = run_command(folder, "--repair")
        assert status == 3
        assert "model.safetensors is not the file that the settings speak of" in output
        assert "to do       copy the bundle again" in output
