"""A command works whatever its streams, folders and limits are, or says in one line what to do."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.commands import TINY, run
from tests.pipelines.recordings import HOP, RATE, SIZE, contents, noise, write
from tests.pipelines.tokenizing import hidden
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.cli.streams import leave_broken_streams, mend_streams
from ulmo.config import PrepSettings
from ulmo.pipelines.tokenize import tokenize as pipeline

ROOT = Path(__file__).parents[1]
PLAN = {"frontend": "stft", "tile_size": SIZE, "sample_rate": RATE, "hop_length": HOP}
ULMO = (sys.executable, "-m", "ulmo")
ODD = os.fsdecode(b"caf\xe9.wav")


@pytest.fixture(scope="module")
def place(make_bundle, tmp_path_factory):
    """A small tokenizer, and recordings whose names few streams can show."""
    folder = tmp_path_factory.mktemp("surroundings")
    make_bundle(folder / "bundle", PrepSettings(**PLAN, normalization="tile"))
    for seed, name in enumerate(("é.wav", "鳥.wav", ODD)):
        write(folder / "audio" / name, noise(RATE, seed))
    return folder


@pytest.fixture(scope="module")
def usual(place):
    """What ulmo-tokenize writes in usual surroundings: in this process."""
    options = ("--tokenizer", place / "bundle", "--out-dir", place / "usual", "--workers", 1)
    assert run(ulmo, "tokenize", place / "audio", *options).exit_code == 0
    return contents(place / "usual")


def command(place, *arguments):
    words = [*ULMO, "tokenize", *arguments, "--tokenizer", place / "bundle"]
    return [os.fspath(word) for word in words]


def tokenize(place, out, *options, shell="", environment=(), **others):
    """Tokenize the folder in two workers, in a shell that may close streams; its output."""
    words = command(place, place / "audio", "--out-dir", out, "--workers", "2", *options)
    script = ["sh", "-c", f'"$0" "$@" {shell}', *words] if shell else words
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)}
    done = subprocess.run(
        script, env=environment, capture_output=True, text=True, timeout=120, **others
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(shell, place, usual, tmp_path):
    """No file is given the number of a stream, and then a library's warnings."""
    workers = 1 if shell == ">&-" else 2  # workers without stdout are those of the last row
    said = tokenize(place, tmp_path / "out", "--workers", str(workers), shell=shell)
    assert ("3 ok" in said) == (">&-" not in shell.replace("2>&-", ""))
    assert contents(tmp_path / "out") == usual


BROKEN = """
import os, subprocess, sys
read, write = os.pipe()
os.close(read)
streams = {name: write for name in sys.argv[1].split(",")}
others = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in streams}
done = subprocess.run(sys.argv[2:], **streams, **others)
print(done.returncode, done.stdout or b"", done.stderr or b"")
"""


@pytest.mark.parametrize("streams", ["stdout", "stdout,stderr"])
@pytest.mark.parametrize("arguments", [("--help",), ("tokenize", "é.wav"), ("nonsense",)])
def test_a_reader_that_is_gone_gets_no_traceback(streams, arguments, place, tmp_path):
    write(tmp_path / "é.wav", noise(RATE, 1))
    words = [*ULMO, *arguments]
    if "tokenize" in arguments:
        words += ["--tokenizer", place / "bundle"]
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, streams, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    says = "b'' b''\n" if arguments != ("nonsense",) or "stderr" in streams else ""
    assert done.stdout.startswith(("1 ", "2 ") if arguments == ("nonsense",) else "1 ")
    assert done.stdout.endswith(says)
    assert "Traceback" not in done.stdout
    assert "Exception ignored" not in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout(place, tmp_path):
    write(tmp_path / "x.wav", noise(RATE, 1))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(place, tmp_path / "x.wav"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == exits.FAILED
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_full_disk_behind_stderr_ends_no_job(quiet, monkeypatch, tmp_path):
    """A log may lie on another disk than the output."""
    write(tmp_path / "audio" / "x.wav", noise(RATE, 1))
    (tmp_path / "audio" / "y.wav").write_text("no sound")
    words = ("prep", tmp_path / "audio", tmp_path / "out", *TINY, "--workers", "1", *quiet)
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(SystemExit) as ended:
            ulmo.main([str(word) for word in words])
        print("to nobody", file=sys.stderr, flush=True)
        leave_broken_streams()
    assert ended.value.code == exits.SOME_REFUSED
    assert (tmp_path / "out" / "tiles.parquet").exists()


NO_HOME = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR"), "/dev/null/none")
FEW_LETTERS = {"PYTHONIOENCODING": "ascii"}
OLD_LOCALE = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
STRICT = {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"}  # no asserts, no docstrings


def test_a_poor_environment(place, usual, tmp_path):
    environment = NO_HOME | FEW_LETTERS | OLD_LOCALE | STRICT
    tokenize(place, tmp_path / "out", environment=environment.items())
    assert contents(tmp_path / "out") == usual


def test_settings_of_libraries_in_the_environment(tmp_path):
    """They would change the last bits of samples and levels, in workers too."""
    for seed in range(2):
        write(tmp_path / "audio" / f"{seed}.wav", noise(22_050, seed), rate=44_100)
    settings = {"SOXR_USE_SIMD": "0", "SOXR_MIN_DFT_SIZE": "8", "OPENCV_IPP": "disabled"}
    settings |= {"OPENBLAS_CORETYPE": "Prescott"}

    def prepared(workers, **given):
        words = (*ULMO, "prep", "audio", "out", "--workers", str(workers))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **given}
        subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)
        made = contents(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
        return made

    usual = prepared(1)
    assert prepared(1, **settings) == usual
    assert prepared(2, **settings) == usual


def test_names_that_a_stream_cannot_show(place, tmp_path):
    write(tmp_path / ODD, noise(RATE, 1))
    write(tmp_path / "é.wav", noise(RATE, 1))
    done = subprocess.run(
        command(place, tmp_path / ODD, tmp_path / "é.wav", tmp_path / "é.wav" / "none"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (exits.WRONG_USAGE, b"")
    assert b"none is neither a file nor a folder" in done.stderr
    done = subprocess.run(
        command(place, tmp_path / ODD, tmp_path / "é.wav"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\xe9.tokens.npy" in done.stdout


def test_a_folder_that_was_deleted(place, usual, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave():
        os.chdir(gone)
        gone.rmdir()

    tokenize(place, tmp_path / "out", preexec_fn=leave)
    assert contents(tmp_path / "out") == usual


def test_few_open_files(place, usual, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    tokenize(place, tmp_path / "out", preexec_fn=limit)
    assert contents(tmp_path / "out") == usual


LIMITS = {
    OSError(errno.EMFILE, "Too many open files"): "ulimit -n",
    OSError(errno.ENOMEM, "Cannot allocate memory"): "fewer --workers",
    OSError(errno.ENOSPC, "No space left on device"): "make room",
    MemoryError(): "fewer --workers",
    RuntimeError("can't start new thread"): "ulimit -u",
    ImportError("libarrow.so: failed to map segment"): "ulimit -v",
}


@pytest.mark.parametrize(("error", "words"), LIMITS.items(), ids=map(repr, LIMITS))
def test_limits_are_one_line_that_says_what_to_do(error, words, place, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(pipeline, "tokenize_recording", fail)
    options = ("--tokenizer", place / "bundle", "--out-dir", tmp_path / "out", "--workers", 1)
    result = run(ulmo, "tokenize", place / "audio", *options)
    assert result.exit_code == exits.FAILED
    (line,) = result.stderr.splitlines()
    assert words in line


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_threads(workers, place, tmp_path, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    options = ("--tokenizer", place / "bundle", "--out-dir", tmp_path / "out")
    result = run(ulmo, "tokenize", place / "audio", *options, "--workers", workers, "--threads", 2)
    assert result.exit_code == exits.FAILED
    assert result.stderr.count("\n") == 1
    assert "use --workers 1 --threads 1" in result.stderr
    alone = run(ulmo, "tokenize", place / "audio", *options, "--workers", 1, "--threads", 1)
    assert alone.exit_code == 0
    assert hidden(tmp_path) == []


def test_ctrl_c_while_options_are_read(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ulmo, "parse_args", interrupt)
    result = run(ulmo, "tokenize")
    assert (result.exit_code, result.stderr) == (exits.INTERRUPTED, "ulmo: interrupted\n")


class TestMended:
    """Streams as pythonw, a service or another program leaves them."""

    @pytest.mark.parametrize("arguments", [("--help",), ("tokenize",), ("inspect", "/nowhere")])
    def test_none_at_all(self, arguments, monkeypatch):
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        with pytest.raises(SystemExit) as ended:
            ulmo.main([str(each) for each in arguments])
        assert ended.value.code == (0 if "--help" in arguments else exits.WRONG_USAGE)

    def test_closed_ones(self, monkeypatch, tmp_path):
        with (tmp_path / "closed").open("w") as closed:
            monkeypatch.setattr(sys, "stderr", closed)
        mend_streams()
        print("to nobody", file=sys.stderr, flush=True)
        leave_broken_streams()

    def test_one_that_is_no_file(self, monkeypatch):
        """As in a notebook or an IDE."""

        class Stream:
            def write(self, text): ...

            def flush(self): ...

        stream = Stream()
        monkeypatch.setattr(sys, "stdout", stream)
        mend_streams()
        assert sys.stdout is stream
        leave_broken_streams()
