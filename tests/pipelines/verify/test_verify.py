"""ulmo verify: how a kind is told, and what it says of a bundle."""

import json
import os
import shutil

import pytest

from tests.outputs import PREP, SMALL, make_tokens
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import SHARD, deny, flip, run_command
from ulmo.config import NewerError, UserError
from ulmo.pipelines.verify.verify import _KINDS, verify
from ulmo.storage.lock import LOCK, locked


@pytest.fixture
def audio(tiles):
    return tiles.parent / "audio"


class TestKinds:
    def test_each_is_told_by_what_lies_there(self, tiles, run, make_bundle, tmp_path):
        make_bundle(tmp_path / "bundle", PREP, **SMALL)
        tokens = make_tokens(tmp_path / "tokens")
        places = {"tiles": tiles, "run": run, "bundle": tmp_path / "bundle"}
        places["tokens"] = tmp_path / "tokens"
        assert set(places) == set(_KINDS)
        for kind, place in places.items():
            assert verify(place).kind == kind
            assert verify(place).faults == []
        assert verify(tokens).kind == "tokens"
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

    def test_a_part_of_an_output_is_told_its_folder(self, tiles, run):
        for folder, name in (
            (tiles, "prep.json"),
            (tiles, "tiles.parquet"),
            (tiles, "recordings.parquet"),
            (tiles, "tokenize.json"),
            (tiles, "t.tokens.npy.tokenize.json"),
            (tiles, SHARD),
            (run, "train.json"),
            (run, "checkpoints/ckpt-5.index"),
            (run, "checkpoints/best/ckpt-5.json"),
            (run / "tokenizer", "encoder.onnx"),
        ):
            (folder / name).touch()
            status, output = run_command(folder / name)
            assert (status, output.count("\n")) == (2, 1)
            assert output.endswith(f"is a part of an output: name its folder, {folder}\n")

    def test_what_cannot_be_looked_at_is_one_line(self, tiles, monkeypatch):
        def denied(_):
            raise PermissionError(13, "Permission denied", str(tiles / "tiles"))

        monkeypatch.setitem(_KINDS, "tiles", _KINDS["tiles"]._replace(check=denied))
        with pytest.raises(UserError, match=r"cannot be read .*let yourself read it"):
            verify(tiles)

    def test_a_job_that_runs_is_named(self, tiles):
        (tiles / ".rows").mkdir()
        with (
            locked(tiles / LOCK, tiles),
            pytest.raises(UserError, match=rf"another job \(process {os.getpid()},"),
        ):
            verify(tiles)
        assert [fault.what for fault in verify(tiles).faults] == ["left_over"]

    def test_what_there_is_to_do_names_the_folder(self, tiles, run):
        flip(tiles / SHARD)
        (fault,) = verify(tiles).faults
        assert f"ulmo verify {tiles} --repair" in fault.remedy
        shutil.rmtree(run / "tokenizer")
        (fault,) = verify(run).faults
        assert fault.remedy.startswith(f"ulmo-train TILES_DIR {run} --resume ")


def test_help_says_what_repair_does_and_how_it_ends():
    text = " ".join(run_command("--help")[1].split())
    for words in ("tiles.parquet (tiles)", "DELETED", "Exit status: 0 all", "3 something", "next"):
        assert words in text


UNREADABLE = [
    *(("tiles", name) for name in ("prep.json", "tiles.parquet", "recordings.parquet", SHARD)),
    ("run", "checkpoints/ckpt-5.json"),
    ("run", "checkpoints/ckpt-5.index"),
    ("run", "checkpoints/ckpt-5.data-00000-of-00001"),
    ("run", "checkpoints/best/ckpt-5.index"),
    ("tokens", "tokens/a.tokens.npy"),
    ("tokens", "token_headers/a.tokens.json"),
    ("tokens", "recordings.parquet"),
    ("tokens", "tokenize.json"),
]
VERSIONED = [
    *(
        ("tiles", "prep.json"),
        ("tokens", "token_headers/a.tokens.json"),
        ("tokens", "tokenize.json"),
    ),
    *(
        ("run", "train.json"),
        ("run", "checkpoints/ckpt-5.json"),
        ("run", "tokenizer/tokenizer.json"),
    ),
]


class TestWhatStays:
    @pytest.mark.parametrize(("kind", "name"), UNREADABLE)
    def test_what_cannot_be_read_is_not_damaged(self, kind, name, request, monkeypatch):
        place = request.getfixturevalue(kind)
        before = contents(place)
        deny(monkeypatch, place / name)
        result = verify(place, repair=True)
        assert (name, "unreadable") in {(fault.path, fault.what) for fault in result.faults}
        assert {fault.what for fault in result.faults} <= {"unreadable", "orphan"}
        assert result.mended == []
        monkeypatch.undo()
        assert contents(place) == before
        assert verify(place).faults == []

    @pytest.mark.parametrize(("kind", "name"), VERSIONED)
    def test_what_a_newer_ulmo_wrote(self, kind, name, request):
        place = request.getfixturevalue(kind)
        path = place / name
        text = path.read_text()
        version = json.loads(text)["schema_version"]
        path.write_text(text.replace(f'"schema_version": {version}', '"schema_version": 99'))
        before = contents(place)
        with pytest.raises(NewerError, match="upgrade ulmo"):
            verify(place, repair=True)
        status, output = run_command(place, "--repair")
        assert (status, output.count("\n"), contents(place)) == (2, 1, before)


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
        assert "model.safetensors is not the file that the settings name" in output
        assert "to do       copy the bundle again" in output
        assert output.count("copy the bundle again") == 1
        assert "damaged     model.safetensors: " in output
