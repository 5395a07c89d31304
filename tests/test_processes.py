"""One tokenizer in many processes: forked, spawned, copied; and in many threads."""

import asyncio
import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from tests.small_tokenizers import RATE, sound
from ulmo.bundle import session
from ulmo.bundle.per_process import PerProcess
from ulmo.bundle.session import Session
from ulmo.config import JobError, UserError
from ulmo.preprocessing import threads
from ulmo.preprocessing.threads import one_thread
from ulmo.tokenizer import load_tokenizer

SOUND = sound(3 * RATE)
SECONDS = 60  # within which a child answers, or hangs
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture
def fresh(tokenizer_of):
    """A tokenizer that nobody has used, with two threads."""
    return load_tokenizer(tokenizer_of().bundle.place, threads=2)


@pytest.fixture
def used(fresh):
    """One whose threads and decoder are running."""
    fresh.decode(fresh.encode(SOUND, sample_rate=RATE))
    return fresh


@pytest.fixture(scope="module")
def expected(tokenizer_of):
    tokenizer = tokenizer_of()
    tokens = tokenizer.encode(SOUND, sample_rate=RATE)
    return tokens.ids.tobytes(), tokenizer.decode(tokens).tobytes()


def both(tokenizer):
    """What a process makes of the sound, and what it makes of the tokens."""
    tokens = tokenizer.encode(SOUND, sample_rate=RATE)
    return tokens.ids.tobytes(), tokenizer.decode(tokens).tobytes()


def forked(function):
    """What a function returns in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        try:
            with os.fdopen(write, "wb") as answer:
                pickle.dump(function(), answer)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        content = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(content)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
class TestForked:
    @pytest.mark.parametrize("before", ["fresh", "used"])
    def test_a_child_encodes_and_decodes(self, before, expected, request):
        tokenizer = request.getfixturevalue(before)
        assert forked(partial(both, tokenizer)) == expected
        assert both(tokenizer) == expected

    def test_a_child_of_a_child(self, used, expected):
        assert forked(lambda: forked(partial(both, used))) == expected

    def test_several_at_once_as_a_data_loader(self, used, expected):
        with get_context("fork").Pool(2) as pool:
            assert pool.map_async(both, [used] * 4).get(SECONDS) == [expected] * 4

    def test_after_opencv_has_used_its_threads(self, used, expected):
        cores = cv2.getNumThreads()
        cv2.setNumThreads(4)
        try:
            cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (31, 31), 0)
            assert forked(partial(both, used)) == expected
        finally:
            cv2.setNumThreads(cores)

    def test_while_another_thread_encodes(self, used, expected):
        going = threading.Event()

        def encode():
            while not going.is_set():
                both(used)

        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(encode)
            try:
                for _ in range(5):
                    assert forked(partial(both, used)) == expected
            finally:
                going.set()
            other.result()

    def test_cuda_is_one_line(self, monkeypatch):
        class Fake:
            def __init__(self, *_, **__): ...

        providers = ["CUDAExecutionProvider"]
        monkeypatch.setattr(session.onnxruntime, "get_available_providers", lambda: providers)
        monkeypatch.setattr(session.onnxruntime, "InferenceSession", Fake)
        opened = Session(b"", device="cuda")

        def use():
            with pytest.raises(UserError, match="start processes with spawn"):
                opened.run([], {})
            return True

        assert forked(use)

    def test_a_value_is_made_once_in_each_process(self):
        made = PerProcess(object)
        value = made.get()
        assert made.get() is value

        def use():
            mine = made.get()
            return mine is made.get(), mine is value

        assert forked(use) == (True, False)


# Everything that PyTorch's DataLoader does with a dataset, under a start method.
LOADER = """
import multiprocessing, sys
from tests.test_processes import SOUND, RATE, both
import ulmo
class Dataset:
    def __init__(self, folder):
        self.tokenizer = ulmo.load_tokenizer(folder, threads=2)
        self.first = both(self.tokenizer)
    def __getitem__(self, index):
        return both(self.tokenizer) == self.first
def work(dataset, index, answers):
    answers.send(dataset[index])
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    dataset = Dataset(sys.argv[2])
    mine, theirs = context.Pipe()
    worker = context.Process(target=work, args=(dataset, 0, theirs), daemon=True)
    worker.start()
    print(mine.poll(60) and mine.recv())
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_dataset_with_a_tokenizer_goes_to_a_worker(method, fresh, tmp_path):
    (tmp_path / "loader.py").write_text(LOADER)
    command = [sys.executable, "loader.py", method, os.path.relpath(fresh.bundle.place, tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


class TestCopied:
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_by_place_and_fingerprint_alone(self, protocol, used, expected):
        content = pickle.dumps(used, protocol)
        assert len(content) < 4000  # no weights
        assert both(pickle.loads(content)) == expected

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_in_this_process(self, way, used, expected):
        again = way({"tokenizer": used})["tokenizer"]
        assert both(again) == expected
        assert again.ref == used.ref

    def test_with_its_time_expansion(self, used):
        slow = used.with_sound(time_expansion=10)
        again = pickle.loads(pickle.dumps(slow))
        assert again.prep == slow.prep != used.prep
        assert (again.edges_hz == slow.edges_hz).all()

    def test_with_its_options(self, used):
        options = {"threads": 1, "unk_quantile": 0.9}
        again = pickle.loads(pickle.dumps(load_tokenizer(used.bundle.place, **options)))
        assert (again.ref.threads, again.unk_quantile) == (1, 0.9)

    def test_whatever_the_folder_it_is_loaded_in(self, used, tmp_path, monkeypatch):
        monkeypatch.chdir(used.bundle.place.parent)
        content = pickle.dumps(load_tokenizer(used.bundle.place.name))
        monkeypatch.chdir(tmp_path)
        assert pickle.loads(content).manifest == used.manifest

    def test_a_bundle_that_was_replaced_or_is_gone_is_one_line(self, used, tokenizer_of, tmp_path):
        folder = tmp_path / "bundle"
        shutil.copytree(used.bundle.place, folder)
        content = pickle.dumps(load_tokenizer(folder))
        shutil.rmtree(folder)
        with pytest.raises(UserError, match="bundle"):
            pickle.loads(content)
        shutil.copytree(tokenizer_of("mel").bundle.place, folder)
        with pytest.raises(JobError, match="was replaced meanwhile: load or run the same again"):
            pickle.loads(content)


def test_an_open_file_without_a_temporary_folder_is_one_line(fresh, tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    soundfile.write(path, SOUND, RATE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with path.open("rb") as file, pytest.raises(UserError, match="set TMPDIR, or give its path"):
        fresh.encode(file)
    assert len(fresh.encode(path).ids)


class TestThreads:
    def test_many_encode_at_once(self, fresh, expected):
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(both, [fresh] * 12)) == [expected] * 12

    def test_under_a_running_loop(self, fresh, expected):
        async def use():
            return await asyncio.gather(*(asyncio.to_thread(both, fresh) for _ in range(3)))

        with ThreadPoolExecutor(1) as pool:  # this thread may have the loop of a browser's tests
            assert pool.submit(asyncio.run, use()).result() == [expected] * 3

    def test_libraries_stay_at_one_thread_until_the_last_block_ends(self):
        """In whatever order blocks of several threads begin and end."""
        before = [library.get_num_threads() for library in threads._blas()]
        cores = cv2.getNumThreads()
        cv2.setNumThreads(3)
        try:
            first, second = one_thread(), one_thread()
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            assert cv2.getNumThreads() == 1
            assert {library.get_num_threads() for library in threads._blas()} == {1}
            second.__exit__(None, None, None)
            assert cv2.getNumThreads() == 3
            assert [library.get_num_threads() for library in threads._blas()] == before
        finally:
            cv2.setNumThreads(cores)
