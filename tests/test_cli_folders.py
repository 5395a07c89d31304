"""Commands in a folder whose path is not UTF-8: they work, and print its name in one spelling."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.bundles import PREP
from tests.commands import TINY, run
from tests.conftest import SAMPLES
from ulmo.cli.evaluate import evaluate
from ulmo.cli.main import ulmo
from ulmo.pipelines.train.run_settings import plan_run
from ulmo.preprocessing.store import TileStore
from ulmo.storage.names import path_of, portable

NAME, TEXT = os.fsdecode(b"caf\xe9"), r"caf\xe9"


@pytest.fixture
def folder(tmp_path, make_bundle):
    place = tmp_path / NAME
    (place / "audio").mkdir(parents=True)
    shutil.copy(SAMPLES / "noise_bursts.wav", place / "audio" / f"{NAME}.wav")
    make_bundle(place / "bundle", PREP)
    return place


def said(*arguments):
    """What a command says; with --json, the object."""
    result = run(ulmo, *arguments)
    assert result.exit_code == 0, result.output
    text = result.stdout_bytes.decode("utf-8")
    assert "\\udce9" not in result.output
    return json.loads(result.stdout_bytes.decode("ascii")) if "--json" in arguments else text


def test_prep_show_and_the_settings_of_a_run(folder):
    made = said("prep", folder / "audio", folder / "tiles", *TINY, "--workers", "1", "--json")
    assert path_of(made["out_dir"]) == folder / "tiles"
    assert f"{TEXT}/tiles" in said("prep", folder / "audio", folder / "tiles", *TINY)
    assert said("verify", folder / "tiles", "--json")["place"] == made["out_dir"]
    audio = folder / "audio" / f"{NAME}.wav"
    assert f"{TEXT}/x.png" in said("show", audio, "--out", folder / "x.png", "--frontend", "stft")
    tiles = folder / "tiles"
    given = {"init": portable(folder / "run")}
    manifest = plan_run(folder / "run", tiles, TileStore(tiles), {}, given, resume=False)
    assert path_of(manifest.tiles) == tiles.resolve()
    assert path_of(manifest.train.init or "") == (folder / "run").resolve()
    manifest.model_dump_json().encode()


def test_tokenize_convert_verify_and_inspect(folder):
    bundle = ("--tokenizer", folder / "bundle")
    found = said("tokenize", folder / "audio", *bundle, "--out", folder / "out", "--json")
    assert path_of(found["files"][0]["outputs"][0]).is_file()
    assert found["files"][0]["path"] == f"{TEXT}.wav"
    for name in (f"{NAME}.parquet", f"{NAME}.csv"):
        file_format = Path(name).suffix[1:]
        said("convert", folder / "out", "--format", file_format, "--out", folder / name, "--json")
        text = said("verify", folder / name)
        assert f"{TEXT}/{TEXT}.{file_format}" in text
    assert said("verify", folder, "--json")["faults"] == []
    assert path_of(said("inspect", folder / "bundle", "--json")["folder"]) == folder / "bundle"
    assert f"{TEXT}/bundle" in said("inspect", folder / "bundle")
    assert said("verify", "--audio", folder / "audio", "--json")["faults"] == []


def test_what_is_wrong_is_named_in_one_spelling(folder):
    for command in (["verify", folder / "none"], ["tokenize", folder / NAME], ["inspect", folder]):
        result = run(ulmo, *command)
        assert result.exit_code == 2
        assert TEXT in result.stderr
        assert "\\udce9" not in result.output
    assert "Traceback" not in run(evaluate, folder / "bundle", folder / "none").output
