"""Two jobs on one output, and outputs of other settings: one line, status 2, nothing touched."""

from functools import partial

import pytest

from tests import commands
from tests.crash.jobs import PREP, make_bundle
from tests.pipelines.recordings import noise, stats, write
from tests.sealed import reseal, write_sealed_values
from ulmo.cli.main import ulmo
from ulmo.pipelines.train.run_settings import plan_run
from ulmo.preprocessing.store import TileStore
from ulmo.storage.lock import LOCK, lock_path, locked
from ulmo.storage.run_manifest import RunManifest

run = partial(commands.run, ulmo)


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def audio(tmp_path):
    write(tmp_path / "audio" / "R_20230501_000000.wav", noise(4000, 1))
    write(tmp_path / "audio" / "R_20230501_000002.wav", noise(4000, 2))
    return tmp_path / "audio"


@pytest.fixture
def jobs(audio, bundle, tiny_tiles, tmp_path):
    """Each command on an output, and where the lock of that output lies."""
    out, tokens = tmp_path / "out", tmp_path / "tokens"
    assert run("tokenize", audio, "--out-dir", tokens, "--tokenizer", bundle).exit_code == 0
    folder = out / LOCK
    return {
        "prep": (["prep", audio, out, *PREP], folder),
        "train": (["train", tiny_tiles, out, "--epochs", "1"], folder),
        "tokenize": (["tokenize", audio, "--out-dir", out, "--tokenizer", bundle], folder),
        "timeline": (
            ["tokenize", audio, "--timeline", "--out", out / "t.npy", "--tokenizer", bundle],
            lock_path(out / "t.npy"),
        ),
        "convert": (
            ["convert", tokens, "--format", "bin", "--out", out / "c.bin"],
            lock_path(out / "c.bin"),
        ),
        "labels": (["convert", tokens, "--format", "raven", "--out", out], folder),
    }


@pytest.mark.parametrize("name", ["prep", "train", "tokenize", "timeline", "convert", "labels"])
def test_the_second_job_says_so_and_ends(name, jobs):
    arguments, path = jobs[name]
    path.parent.mkdir()
    with locked(path, path.parent):
        before = stats(path.parent)
        second = run(*arguments)
        assert stats(path.parent) == before
    assert second.exit_code == 2
    assert second.stderr.startswith("ulmo: ")
    assert second.stderr.count("\n") == 1
    assert "is being written by another job (process " in second.stderr


@pytest.mark.parametrize("name", ["prep", "tokenize", "timeline", "convert", "labels"])
def test_what_a_killed_job_left_is_no_lock(name, jobs):
    arguments, path = jobs[name]
    path.parent.mkdir()
    path.write_text(' {"host":"here","pid":1,"since":"2026-01-01T00:00:00Z"}\n')
    assert run(*arguments).exit_code == 0
    assert not path.exists()


def refused(*arguments, words):
    done = run(*arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr


def test_tokens_of_another_tokenizer_are_not_converted_over(jobs, audio, tmp_path):
    other = make_bundle(tmp_path / "other", seed=1)
    run("tokenize", audio, "--out-dir", tmp_path / "theirs", "--tokenizer", other)
    for name in ("convert", "labels"):
        (_, _, *more), _ = jobs[name]
        assert run("convert", tmp_path / "theirs", *more).exit_code == 0
        before = stats(tmp_path / "out")
        refused("convert", tmp_path / "tokens", *more, words="has tokens of another tokenizer (")
        assert stats(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prep", "prep.json"),
        ("tokenize", "tokenize.json"),
        ("timeline", "t.json"),
        ("convert", "c.json"),
    ],
)
def test_a_newer_version_is_not_touched(name, file, jobs):
    arguments, path = jobs[name]
    assert run(*arguments).exit_code == 0
    reseal(path.parent / file, schema_version=99)
    before = stats(path.parent)
    refused(*arguments, words="was written by a newer ulmo")
    assert stats(path.parent) == before


def test_a_run_of_other_settings_or_of_a_newer_version_is_not_touched(tiny_tiles, tmp_path):
    out, store = tmp_path / "run", TileStore(tiny_tiles)
    out.mkdir()
    manifest = plan_run(out, tiny_tiles, store, {}, {}, resume=False)
    assert isinstance(manifest, RunManifest)
    path = out / "train.json"
    write_sealed_values(path, manifest.model_dump(mode="json"))
    before = stats(out)
    refused("train", tiny_tiles, out, words="exists: go on with --resume, or choose a new folder")
    other = ("--resume", "--CB", "64")
    refused("train", tiny_tiles, out, *other, words="(codebook_size there 512, here 64)")
    assert stats(out) == before
    reseal(path, schema_version=3)
    before = stats(out)
    refused("train", tiny_tiles, out, "--resume", words="was written by a newer ulmo")
    assert stats(out) == before


def test_a_run_that_was_killed_before_it_began_is_begun(tiny_tiles, tmp_path):
    """Neither --resume nor a new folder is asked for."""
    out, store = tmp_path / "run", TileStore(tiny_tiles)
    out.mkdir()
    for name in (LOCK, ".train.json.77.tmp"):
        (out / name).touch()
    assert plan_run(out, tiny_tiles, store, {}, {}, resume=False).train.epochs > 0
