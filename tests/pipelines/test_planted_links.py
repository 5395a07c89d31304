"""Links that a stranger planted under names that ulmo writes: what they lead to stays as it is."""

import os
import shutil
from functools import partial

import pytest

from tests.commands import TINY, run
from tests.outputs import make_run, make_tiles
from tests.pipelines.recordings import Killed, contents, kill, stats
from tests.pipelines.tokenizing import record
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats import publish
from ulmo.jobs.best_effort import BestEffort
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep import writer as prep_writer
from ulmo.pipelines.prep.output import PrepOutput
from ulmo.pipelines.train.train import _begin_run
from ulmo.pipelines.verify.verify import verify
from ulmo.storage import lock
from ulmo.storage.checkpoint_files import remove_others
from ulmo.storage.lock import locked
from ulmo.storage.run_manifest import read_run

LINKS = {"link": os.symlink, "hard link": os.link}


@pytest.fixture
def home(tmp_path):
    """The user's own files, which no command names."""
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    names = ["thesis.json", "x.npy", "000000-0000.npy", ".a.0123456789abcdef.tmp", "sub/y"]
    names += [f"x.ch{channel}.tokens.{kind}" for channel in (0, 1) for kind in ("npy", "json")]
    for name in names:
        (home / name).write_text("mine")
    return home


@pytest.fixture
def unchanged(home):
    """Checks at the end that nothing in the user's home was written, made, or removed."""
    before = contents(home), stats(home)
    yield
    assert (contents(home), stats(home)) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", LINKS)
def test_beside_recordings(kind, home, tokenizer, tmp_path):
    """400 temporary names of processes near this one, and every other name that ulmo has there."""
    folder, victim = tmp_path / "stranger", home / "thesis.json"
    for name in ("a.wav", "b.wav"):
        record(folder / name)
    for name in ("a.tokens.npy", "a.tokens.json"):
        for number in range(os.getpid() - 100, os.getpid() + 100):
            LINKS[kind](victim, folder / f".{name}.{number}.tmp")
        LINKS[kind](victim, folder / f".{name}.lock")
    for name in (".lock", ".tokenize.jsonl", "a.tokens.npy", "b.tokens.npy"):
        LINKS[kind](victim, folder / name)
    result = run(ulmo, "tokenize", folder, "--tokenizer", tokenizer.bundle.place)
    assert result.exit_code == 3
    assert "Traceback" not in result.output
    assert ".a.tokens.json.lock is in the way" in result.output
    assert (folder / "b.tokens.npy").read_bytes().startswith(b"\x93NUMPY")
    for name in (".a.tokens.json.lock", "a.tokens.npy"):
        assert (folder / name).read_text() == "mine"


COMMANDS = {
    "tokenize": (
        *("tokens", "token_headers", "tokens/deep", "token_headers/deep"),
        *(".lock", ".tokenize.jsonl"),
    ),
    "prep": ("tiles", ".rows", ".again", ".lock", ".prep.jsonl"),
    "convert": ("deep", ".lock"),
    "timeline": (".20260101.tokens.npy.parts", ".20260101.tokens.npy.lock"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("name", "planted"), [(name, each) for name, all_ in COMMANDS.items() for each in all_]
)
def test_in_an_output(name, planted, home, tokenizer, tmp_path, monkeypatch):
    audio, out = tmp_path / "audio", tmp_path / "out"
    record(audio / "deep" / "20260101_000000.wav")
    chosen = ("--tokenizer", tokenizer.bundle.place)
    if name == "convert":
        run(ulmo, "tokenize", audio, *chosen, "--out-dir", tmp_path / "npy")
    if name == "prep":  # of a job that was killed when it began: the folder is known as ulmo's
        with monkeypatch.context() as patched:
            patched.setattr(PrepOutput, "_make_folders", kill)
            with pytest.raises(Killed):
                run(ulmo, "prep", audio, out, *TINY)
        assert (out / "prep.json").exists()
    (out / planted).parent.mkdir(parents=True, exist_ok=True)
    is_file = planted.endswith((".lock", ".jsonl"))
    (out / planted).symlink_to(home / "thesis.json" if is_file else home)
    link = tmp_path / "linked"  # the user may name a link
    link.symlink_to(out)
    commands = {
        "tokenize": ("tokenize", audio, *chosen, "--out-dir", link),
        "prep": ("prep", audio, link, *TINY),
        "convert": ("convert", tmp_path / "npy", "--out", link, "--format", "raven"),
        "timeline": (
            *("tokenize", audio, *chosen, "--timeline", "--out"),
            link / "20260101.tokens.npy",
        ),
    }
    result = run(ulmo, *commands[name])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.exit_code == 0:  # the link was removed, or another file is in its place
        assert planted.endswith((".jsonl", ".parts", ".again"))
        assert not (out / planted).exists()
    else:
        lines = (*result.stderr.splitlines(), *result.stdout.splitlines())
        assert any(
            words in line for line in lines for words in ("a link is in its place", "is in the way")
        ), lines


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("swapped", ["tokens/deep", "token_headers/deep", "tokens", "tiles"])
def test_a_folder_that_becomes_one_while_its_files_are_written(
    swapped, home, tokenizer, tmp_path, monkeypatch
):
    audio, out = tmp_path / "audio", tmp_path / "out"
    record(audio / "deep" / "x.wav", channels=2)

    def swap(original, *arguments):
        if not (out / swapped).is_symlink():
            (out / swapped).rename(tmp_path / "moved")
            (out / swapped).symlink_to(home)
        return original(*arguments)

    for module, name in ((prep_writer, "write_shard"), (publish, "written_hash")):
        monkeypatch.setattr(module, name, partial(swap, getattr(module, name)))
    chosen = ("--tokenizer", tokenizer.bundle.place, "--channels", "each", "--out-dir", out)
    prep = ("prep", audio, out, *TINY)
    result = run(ulmo, *(prep if swapped == "tiles" else ("tokenize", audio, *chosen)))
    assert (out / swapped).is_symlink()
    assert result.exit_code in (1, 3), result.output
    assert "a link is in its place" in result.output
    assert "Traceback" not in result.output


def test_tiles_that_become_one_before_older_shards_are_removed(home, tmp_path, monkeypatch):
    record(tmp_path / "audio" / "x.wav")
    out, make_table = tmp_path / "out", prep_output.publish_table
    (home / "000009-0000.npy").write_text("mine")
    before = contents(home), stats(home)

    def swap(path, *arguments, **options):
        (out / "tiles").rename(tmp_path / "moved")
        (out / "tiles").symlink_to(home)
        return make_table(path, *arguments, **options)

    monkeypatch.setattr(prep_output, "publish_table", swap)
    result = run(ulmo, "prep", tmp_path / "audio", out, *TINY)
    assert (result.exit_code, "a link is in its place" in result.output) == (1, True)
    assert "Traceback" not in result.output
    assert (contents(home), stats(home)) == before


@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/best"])
def test_checkpoints_that_become_one_before_older_ones_are_removed(place, make_bundle, tmp_path):
    folder = make_run(tmp_path / "run", make_bundle)
    (folder / place).rename(tmp_path / "of another run")
    (folder / place).symlink_to(tmp_path / "of another run")
    before = contents(tmp_path / "of another run")
    for inside in ("checkpoints", "checkpoints/best"):
        if inside.startswith(place):
            with pytest.raises(NotADirectoryError, match="a link is in its place"):
                remove_others(folder / inside, [], below=folder)
    assert contents(tmp_path / "of another run") == before


@pytest.mark.usefixtures("unchanged")
def test_tiles_that_lie_elsewhere(home, tmp_path):
    """Neither repaired, nor written anew, nor cleared of what no row names."""
    folder = make_tiles(tmp_path / "made")
    shutil.rmtree(folder / "tiles")
    (folder / "tiles").symlink_to(home)
    faults = verify(folder, repair=True).faults
    assert {fault.path for fault in faults} >= {"tiles/x.npy", "tiles/thesis.json"}
    result = run(ulmo, "prep", tmp_path / "audio", folder)
    assert result.exit_code == 2


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "place", ["checkpoints", "checkpoints/best", "pictures", "tensorboard", "tokenizer"]
)
def test_a_run_that_is_resumed(place, home, make_bundle, tmp_path):
    folder = make_run(tmp_path / "run", make_bundle)
    shutil.rmtree(folder / place, ignore_errors=True)
    (folder / place).symlink_to(home)
    with pytest.raises(UserError, match="link"):
        _begin_run(folder, read_run(folder), BestEffort(print))
    verify(folder, repair=True)


@pytest.mark.usefixtures("unchanged")
def test_recordings_in_a_folder_with_the_name_of_ours(home, tokenizer, tmp_path):
    """Tokens lie beside them, and their headers would lie where the link leads."""
    wav = record(tmp_path / "stranger" / "tokens" / "a.wav")
    (tmp_path / "stranger" / "token_headers").symlink_to(home)
    result = run(ulmo, "tokenize", wav, "--tokenizer", tokenizer.bundle.place)
    assert (result.exit_code, "a link is in its place" in result.output) == (3, True)


class TestALock:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / ".lock"

    @pytest.mark.usefixtures("unchanged")
    @pytest.mark.parametrize("kind", LINKS)
    @pytest.mark.parametrize("soon", [False, True])
    def test_that_is_a_link(self, kind, soon, path, home, monkeypatch):
        """Or becomes one after it was looked at, before it is opened."""
        make, victim = LINKS[kind], home / "thesis.json"
        if soon:
            lock_of = lock._lock_of

            def planting(at):
                found = lock_of(at)
                make(victim, at)
                return found

            monkeypatch.setattr(lock, "_lock_of", planting)
        else:
            make(victim, path)
        for others in (0o755, 0o777):
            path.parent.chmod(others)
            with pytest.raises(UserError, match=r"in the way|cannot be made"), locked(path, path):
                pass
            assert path.read_text() == "mine"
            if soon:
                path.unlink()

    def test_in_a_folder_that_becomes_one_leaves_the_lock_of_another_job(self, tmp_path):
        here, other = tmp_path / "here", tmp_path / "other"
        here.mkdir()
        other.mkdir()
        with locked(other / ".lock", other):
            with locked(here / ".lock", here):
                here.rename(tmp_path / "moved")
                here.symlink_to(other)
            assert (other / ".lock").exists()
        assert not (other / ".lock").exists()

    @pytest.mark.parametrize("content", ["mine", '{"host": 1}', "\0mine"])
    def test_that_holds_something_else_is_left_alone(self, content, path):
        path.write_text(content)
        words = "in the way, and is not a lock of ulmo: remove it"
        with pytest.raises(UserError, match=words), locked(path, path):
            pass
        assert path.read_text() == content
