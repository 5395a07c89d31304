"""Jobs that write the same output at once: header, hash and ids are always of the same job."""

import errno
from functools import partial
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest

import ulmo.formats.publish as publish_module
from tests.formats.streams import save, some
from tests.moves import at_moves
from tests.outputs import names
from tests.storage.trees import failing
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.header import read_stored
from ulmo.formats.read import read_corpus
from ulmo.pipelines.verify.verify import verify
from ulmo.storage import lock

((HEADER, IDS),) = some((5,))
OTHER = HEADER.model_copy(update={"fingerprint": "cd" * 32})
TOKENIZERS = {"A": [(HEADER, IDS)], "B": [(OTHER, IDS[::-1])]}
FINGERPRINTS = {job: recordings[0][0].fingerprint for job, recordings in TOKENIZERS.items()}


class Jobs:
    """Two jobs, of which A is held at one of its moves until B has ended, or waits for A."""

    def __init__(self, monkeypatch, at):
        self._at, self._moves = at, 0
        self._b_can_do_no_more, self._a_is_held = Event(), Event()
        acquire = lock.BaseFileLock.acquire

        def held(move, source, target):
            if current_thread().name == "A":
                self._moves += 1
                self._hold(self._moves == self._at)
            move()

        def wait(*arguments, **options):
            if current_thread().name == "B":
                self._b_can_do_no_more.set()
            return acquire(*arguments, **options)

        at_moves(monkeypatch, held)
        monkeypatch.setattr(lock.BaseFileLock, "acquire", wait)

    def _hold(self, here):
        if here:
            self._a_is_held.set()
            assert self._b_can_do_no_more.wait(60)

    def run(self, **jobs):
        """Run two functions to their ends."""
        threads = {
            name: Thread(target=self._run, args=(job,), name=name) for name, job in jobs.items()
        }
        threads["A"].start()
        assert self._a_is_held.wait(60)
        threads["B"].start()
        for thread in threads.values():
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, job):
        """An error in a thread fails the test: pytest's warning of it is an error here."""
        try:
            job()
        finally:
            if current_thread().name == "B":
                self._b_can_do_no_more.set()


@pytest.mark.parametrize("name", ["npy", "csv", "megatron"])
@pytest.mark.parametrize("old", [None, "A", "B"])
def test_of_two_tokenizers_one_has_all_files(name, old, tmp_path, monkeypatch):
    suffixes = FORMATS[name].suffixes
    for at in range(1, len(suffixes) + 2):  # the moves of the files, and that of the header
        folder = tmp_path / str(at)
        folder.mkdir()
        path = folder / f"x{suffixes[0]}"
        if old:
            save(path, name, TOKENIZERS[old])
        with monkeypatch.context() as patched:
            jobs = Jobs(patched, at)
            jobs.run(**{job: partial(save, path, name, TOKENIZERS[job]) for job in "AB"})
        (found,) = read_stored(folder / "x.tokens.json").headers
        assert found.fingerprint == FINGERPRINTS["B"]  # which came last
        ((_, ids),) = read_corpus(folder / f"x{suffixes[-1]}")
        assert (ids == TOKENIZERS["B"][0][1]).all()
        assert verify(folder).faults == []
        assert names(folder) == sorted([*(f"x{suffix}" for suffix in suffixes), "x.tokens.json"])


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("pair", [("npy", "csv"), ("csv", "npy"), ("megatron", "jsonl")])
def test_two_formats_of_the_same_tokens_have_their_hashes(pair, locks, tmp_path, monkeypatch):
    """Also where the file system locks no files."""
    if not locks:
        monkeypatch.setattr(lock, "lock_descriptor", failing(errno.ENOLCK))
    moves = len(FORMATS[pair[0]].suffixes) + 1
    for at in range(1, moves + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        with monkeypatch.context() as patched:
            jobs = Jobs(patched, at)
            paths = [folder / f"x{FORMATS[name].suffixes[0]}" for name in pair]
            saving = [
                partial(save, *each, TOKENIZERS["A"]) for each in zip(paths, pair, strict=True)
            ]
            jobs.run(A=saving[0], B=saving[1])
        endings = {each.removeprefix(".tokens") for name in pair for each in FORMATS[name].suffixes}
        assert set(read_stored(folder / "x.tokens.json").hashes) == endings
        assert verify(folder).faults == []


def test_the_hash_is_that_of_what_was_written(tmp_path, monkeypatch):
    """Somebody without a lock puts other ids in the place, before the header is there."""
    path = tmp_path / "x.tokens.npy"
    save(tmp_path / "other.tokens.npy", "npy", TOKENIZERS["B"])

    def replaced(move, source, target):
        move()
        if target == path:
            path.write_bytes((tmp_path / "other.tokens.npy").read_bytes())

    at_moves(monkeypatch, replaced)
    save(path, "npy", TOKENIZERS["A"])
    (fault,) = verify(path).faults
    assert (fault.path, fault.what) == ("x.tokens.npy", "damaged")


class TestALock:
    """Another job holds the lock of a header for long."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        monkeypatch.setattr(publish_module, "_WAIT_SECONDS", 0.05)
        return tmp_path / "x.tokens.npy"

    def test_is_waited_for_only_so_long_and_the_line_says_who_has_it(self, path):
        with (
            publish_module.one_writer(path.with_suffix(".json")),
            pytest.raises(OSError, match=r"is being written by another job \(process \d") as raised,
        ):
            save(path, "npy", TOKENIZERS["A"])
        assert isinstance(raised.value, UserError)
        assert raised.value.errno == errno.EBUSY
        assert names(path.parent) == []
        save(path, "npy", TOKENIZERS["A"])

    def test_of_a_killed_job_locks_nobody_out(self, path):
        left = path.with_name(".x.tokens.json.lock")
        left.write_text(' {"host":"here","pid":1,"since":"2026-01-01T00:00:00Z"}\n')
        save(path, "npy", TOKENIZERS["A"])
        assert names(path.parent) == ["x.tokens.json", "x.tokens.npy"]

    def test_that_is_left_is_a_left_over_and_no_other_file(self, path):
        save(path, "npy", TOKENIZERS["A"])
        for name in (".x.tokens.json.lock", ".yarn.lock", ".y.tokens.json.lock"):
            path.with_name(name).touch()
        path.with_name(".y.tokens.json.lock").write_text("mine")
        (fault,) = verify(path.parent).faults
        assert (fault.path, fault.what) == (".x.tokens.json.lock", "left_over")
        with publish_module.one_writer(path.with_suffix(".json")):
            assert verify(path.parent).faults == []
        path.with_name(".x.tokens.json.lock").touch()
        assert verify(path.parent, repair=True).faults == []
        assert names(path.parent) == [
            *(".y.tokens.json.lock", ".yarn.lock", "x.tokens.json", "x.tokens.npy")
        ]

    def test_keeps_repairs_and_removals_away(self, path):
        save(path, "npy", TOKENIZERS["A"])
        path.write_bytes(b"damaged")
        outputs = publish_module.output_paths(path, "npy")
        with publish_module.one_writer(outputs.header):
            with pytest.raises(UserError, match="is being written by another job"):
                verify(path.parent, repair=True)
            with pytest.raises(OSError, match="is being written by another job"):
                publish_module.remove_tokens(outputs)
            assert path.read_bytes() == b"damaged"
        publish_module.remove_tokens(outputs)
        assert names(path.parent) == []

    def test_of_one_channel_is_that_of_the_recording(self):
        locks = {publish_module.header_lock(Path(f"x{each}.tokens.json")) for each in ("", ".ch1")}
        assert locks == {Path(".x.tokens.json.lock")}


def test_what_was_written_again_since_it_was_found_damaged_is_not_removed(tmp_path, monkeypatch):
    path = save(tmp_path / "x.tokens.npy", "npy", TOKENIZERS["A"])
    whole = path.read_bytes()
    path.write_bytes(b"damaged")
    acquire = lock.FileLock.acquire

    def mended(self, *arguments, **options):
        if "x.tokens.json" in self.lock_file:
            path.write_bytes(whole)
        return acquire(self, *arguments, **options)

    monkeypatch.setattr(lock.FileLock, "acquire", mended)
    assert verify(tmp_path, repair=True).faults == []
    assert path.read_bytes() == whole
