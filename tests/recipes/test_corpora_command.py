"""python -m recipes.corpora: which corpora, what it says, and what it refuses."""

import numpy as np
import pytest
from click.testing import CliRunner

from recipes.corpora import __main__ as command
from recipes.corpora.folder import Content, Corpus, Label, write_recording
from tests.bundles import contents


def corpus(folder):
    def make(there, workers):
        write_recording(there / "a.flac", np.full(8000, 500, np.int16), 8000)
        return Content([Label("a.flac", "a")], [], "CC0\n")

    return Corpus(folder, "CC0-1.0", 1, make)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CORPORA", {name: corpus(name) for name in ("voices", "calls")})
    return lambda *options: CliRunner().invoke(command.main, [str(tmp_path / "root"), *options])


def test_all_corpora_or_some_and_once(run, tmp_path):
    some = run("--only", "calls")
    assert some.exit_code == 0, some.output
    line = "1 recordings  0.000 hours    0.0 MB       0 pairs  CC0-1.0"
    assert [" ".join(each.split()) for each in some.stdout.splitlines()] == [
        " ".join(f"calls {line}".split())
    ]
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"calls"}
    before = contents(tmp_path / "root" / "calls")
    assert set(before) == {"a.flac", "labels.csv", "LICENSE.txt", "corpus.json"}
    everything = run()
    assert [each.split()[0] for each in everything.stdout.splitlines()] == ["voices", "calls"]
    assert contents(tmp_path / "root" / "calls") == before
    assert run().stdout == everything.stdout


def test_a_corpus_that_is_none(run, tmp_path):
    done = run("--only", "noises")
    assert done.exit_code == 2
    assert "'noises' is not one of" in done.stderr
    assert not (tmp_path / "root").exists()


def test_one_job_at_a_time(run, tmp_path):
    from ulmo.storage.lock import LOCK, locked

    root = tmp_path / "root"
    root.mkdir()
    with locked(root / LOCK, root):
        done = run()
    assert done.exit_code == 2
    assert "root is being written by another job" in done.stderr
