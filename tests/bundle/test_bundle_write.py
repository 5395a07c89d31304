"""After a kill or an error at any step of writing, the old or the new bundle is read whole."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bounded import some_of
from tests.bundles import FILES, PREP, contents, refusal
from ulmo.bundle import folder as folder_module
from ulmo.bundle.bundle import read_bundle
from ulmo.config import UserError
from ulmo.storage import atomic
from ulmo.storage.open_folder import OpenFolder


@pytest.fixture(scope="module")
def bundles(make_bundle, tmp_path_factory):
    """The old and the new bundle."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make_bundle(folder / str(seed), PREP, seed=seed) for seed in (0, 1)]


def fingerprint(folder):
    return read_bundle(folder).manifest.fingerprint


STEPS = [(Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "open"), (Path, "unlink")]
STEPS += [(OpenFolder, "move"), (os, "fsync"), (os, "rmdir"), (os, "unlink")]


@contextmanager
def ending_before(step, end, monkeypatch):
    """Call `end` in place of change number `step` of the disk; yields the changes so far."""
    done = []

    def wrap(original, name):
        def counted(*args, **kwargs):
            if len(done) == step:
                end()
            done.append(name)
            return original(*args, **kwargs)

        return counted

    with monkeypatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, wrap(getattr(owner, name), name))
        yield done


class Stopped(BaseException):
    """An exception that no code catches."""


def stop():
    raise Stopped


def check_and_go_on(bundles, folder, make_bundle):
    """The old or new bundle is read; writing again succeeds and leaves no other files."""
    assert fingerprint(folder) in map(fingerprint, bundles)
    make_bundle(folder, PREP, seed=1)
    assert contents(folder) == contents(bundles[1])
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.kills
@pytest.mark.parametrize(
    "killed",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process")
        ),
    ],
)
def test_an_error_or_a_kill_at_any_step(killed, bundles, tmp_path, make_bundle, monkeypatch):
    folder = shutil.copytree(bundles[0], tmp_path / "count" / "tokenizer")
    with ending_before(-1, stop, monkeypatch) as done:
        make_bundle(folder, PREP, seed=1)
    assert len(done) > 15
    for step in some_of(range(len(done)), str(killed)):
        folder = shutil.copytree(bundles[0], tmp_path / str(step) / "tokenizer")
        if not killed:
            with ending_before(step, stop, monkeypatch), pytest.raises(Stopped):
                make_bundle(folder, PREP, seed=1)
        elif process := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
        else:
            with ending_before(step, lambda: os._exit(9), monkeypatch):
                make_bundle(folder, PREP, seed=1)
            os._exit(0)
        check_and_go_on(bundles, folder, make_bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_leaves_the_old_bundle(name, bundles, tmp_path, make_bundle, monkeypatch):
    folder = shutil.copytree(bundles[0], tmp_path / "tokenizer")

    @contextmanager
    def failing(path):
        with atomic.publish(path) as file:
            if path.name == name:
                file.write(b"the beginning")
                raise OSError("no space left")
            yield file

    monkeypatch.setattr(folder_module, "publish", failing)
    with pytest.raises(OSError, match="no space left"):
        make_bundle(folder, PREP, seed=1)
    monkeypatch.undo()
    assert contents(folder) == contents(bundles[0])
    check_and_go_on(bundles, folder, make_bundle)


def test_a_bundle_takes_the_place_of_another(bundles, tmp_path, make_bundle):
    folder = shutil.copytree(bundles[0], tmp_path / "tokenizer")
    check = make_bundle(folder, PREP, seed=1)
    assert contents(check) == contents(bundles[1])


@pytest.mark.parametrize("place", ["tokenizer", ".tokenizer.new", ".tokenizer.old"])
@pytest.mark.parametrize("name", ["README.md", ".DS_Store", "notes/n.txt", "encoder.onnx/x"])
def test_what_others_put_there_is_not_lost(place, name, bundles, tmp_path, make_bundle):
    shutil.copytree(bundles[0], tmp_path / "tokenizer")
    path = tmp_path / place / name
    if name.startswith("encoder"):
        path.parent.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = sorted((tmp_path / place).rglob("*"))
    with pytest.raises(UserError, match=rf"{place} holds .*, which is not ulmo's: move it away"):
        make_bundle(tmp_path / "tokenizer", PREP, seed=1)
    assert sorted((tmp_path / place).rglob("*")) == before
    assert path.read_text() == "mine"


def test_what_others_put_there_meanwhile_is_not_lost(bundles, tmp_path, make_bundle, monkeypatch):
    folder = shutil.copytree(bundles[0], tmp_path / "tokenizer")

    @contextmanager
    def slow(path):
        (folder / "notes.txt").write_text("mine")
        with atomic.publish(path) as file:
            yield file

    monkeypatch.setattr(folder_module, "publish", slow)
    make_bundle(folder, PREP, seed=1)
    assert contents(folder) == contents(bundles[1])
    assert (tmp_path / ".tokenizer.old" / "notes.txt").read_text() == "mine"


def test_behind_a_link_the_folder_is_written_and_the_link_stays(bundles, tmp_path, make_bundle):
    folder = shutil.copytree(bundles[0], tmp_path / "runs" / "7")
    link = tmp_path / "latest"
    link.symlink_to(folder)
    make_bundle(link, PREP, seed=1)
    assert link.is_symlink()
    assert contents(folder) == contents(bundles[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "runs"]


def test_a_file_in_its_place_is_kept(tmp_path, make_bundle):
    (tmp_path / "tokenizer").write_text("mine")
    with pytest.raises(UserError, match="tokenizer is a file: move it away"):
        make_bundle(tmp_path / "tokenizer", PREP)
    assert (tmp_path / "tokenizer").read_text() == "mine"


def test_an_old_one_is_only_read_where_there_is_none(bundles, tmp_path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(bundles[0], tmp_path / ".tokenizer.old")
    assert fingerprint(folder) == fingerprint(bundles[0])
    folder.mkdir()
    assert "is not a tokenizer" in refusal(folder)
