"""A worker process, and how its parent speaks with it: over two pipes, and nothing else.

    parent -> stdin of the worker    a job; an empty message to end
    parent <- stdout of the worker   progress, and at the end of a job its result

A worker is a fresh interpreter. It needs no shared memory and no semaphores, and it does not run
the script that its parent runs: so a script needs no `if __name__ == "__main__"`, and a notebook,
a REPL or a program that reads its script from stdin may use workers too.
"""

import ctypes
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.spawn import get_executable
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE, Popen
from threading import Event, Lock, Thread, Timer
from typing import IO, Any, NamedTuple

from threadpoolctl import threadpool_limits

from ulmo.config import JobError
from ulmo.config.descriptors import fill_descriptors
from ulmo.jobs.memory import keep_freed_memory
from ulmo.jobs.progress import Progress, Reports, set_reports
from ulmo.no_pandas import hide_pandas

_READY = b"\n<ulmo worker is ready>\n"
_MOST_NOISE = 1 << 16  # bytes that another program in the worker's place may print
_START_SECONDS = 300.0  # a cold start from a slow disk takes tens
_LENGTH_BYTES = 8  # of the length of a message, before it
_REPORT_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_START = "import sys; sys.path[:] = {path}; from ulmo.jobs.worker import main; main()"
# Options of the interpreter, by their names in sys.flags.
_OPTIONS = {"dont_write_bytecode": "B", "ignore_environment": "E", "no_user_site": "s"}
_OPTIONS |= {"isolated": "I", "optimize": "O"}
_ALONE = "run the same with --workers 1 (in Python: workers=1)"


class WorkerLostError(JobError):
    """A worker was killed, or its host is gone, in the middle of a job.

    recording: the path of the recording that the job had come to; empty if it had come to none.
    times: how often that happened, one after the other.
    """

    def __init__(self, recording: str, times: int = 1) -> None:
        super().__init__(recording, times)
        self.recording, self.times = recording, times

    def __str__(self) -> str:
        return (
            "a worker was killed, perhaps for want of memory: "
            "run the same command with fewer workers to go on"
        )


class Ended(NamedTuple):
    """How a job ended: what it returned, or the error that it raised, pickled."""

    value: bytes
    failed: bool

    def result(self) -> Any:
        """What the job returned. Raises what it raised."""
        value = pickle.loads(self.value)
        if self.failed:
            raise value
        return value


class _Message(NamedTuple):
    """What a worker says."""

    size: int  # bytes of input that were done since the last message
    milliseconds: int  # of sound, likewise
    recording: str | None = None  # the path of the recording that comes next
    ended: Ended | None = None


class Worker:
    """A worker process. Raises JobError if it cannot be started.

    folder, environment: its working folder and its environment; None: those of this process. With a
    folder, no signal of a terminal reaches it.
    """

    def __init__(
        self, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        if getattr(sys, "frozen", False):
            raise JobError(f"a frozen program has no Python to start workers with: {_ALONE}")
        root = str(Path(__file__).parents[2])
        path = [*(each for each in sys.path if isinstance(each, str)), root]
        script = _START.format(path=ascii(path))
        try:
            place: dict[str, Any] = {"cwd": folder, "env": environment}
            if folder is not None and os.name == "posix":
                place["process_group"] = 0
            command = [get_executable() or "python", *_flags(), "-c", script]
            self._process = Popen(command, stdin=PIPE, stdout=PIPE, **place)
        except OSError as error:
            raise JobError(f"no worker can be started ({error.strerror}): {_ALONE}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        self._is_ready = False

    def do(
        self, content: bytes, report: Progress, begin: Callable[[str], None] = lambda _: None
    ) -> Ended:
        """Have a job done: (function, argument, recordings to refuse), pickled.

        `begin` is called with the path of each recording that it comes to. Raises WorkerLostError
        if the process is killed; the progress of the job is then taken back.
        """
        recording, size, milliseconds = "", 0, 0
        try:
            if not self._is_ready:
                self._await_start()
            _send(self._input, content)
            while True:
                message: _Message = pickle.loads(_receive(self._output))
                size, milliseconds = size + message.size, milliseconds + message.milliseconds
                report(message.size, message.milliseconds)
                if message.recording is not None:
                    recording = message.recording
                    begin(recording)
                if message.ended is not None:
                    return message.ended
        except (OSError, EOFError, ValueError):
            report(-size, -milliseconds)
            raise WorkerLostError(recording) from None

    def _await_start(self) -> None:
        """Wait for the worker. What says nothing for long is another program, and is ended."""
        too_late = Event()

        def give_up() -> None:
            too_late.set()
            self._process.kill()

        limit = Timer(_START_SECONDS, give_up)
        limit.daemon = True
        limit.start()
        seen = b""
        try:
            while not seen.endswith(_READY):
                byte = self._output.read(1)
                seen += byte
                if not byte and self._process.wait() < 0 and not too_late.is_set():
                    raise EOFError  # killed while it was starting
                if not byte or len(seen) > _MOST_NOISE:
                    what = os.fsdecode(get_executable() or "")
                    raise JobError(f"{what!r} does not start as a worker: {_ALONE}")
        finally:
            limit.cancel()
        self._is_ready = True

    def stop(self) -> None:
        """End the process now, in the middle of its job."""
        with suppress(OSError):
            self._input.close()

    def kill(self) -> None:
        """End the process now, whatever it does, and wait for its end."""
        self._process.kill()  # first: it may be stopped, and never read what is being sent to it
        self.stop()
        self._process.wait()
        self._output.close()

    def close(self) -> None:
        """End the process once its job is done."""
        if not self._is_ready:  # it has no job, and may be a program that never ends
            self._process.kill()
        with suppress(OSError, ValueError):
            _send(self._input, b"")
        self.stop()
        self._process.wait()
        self._output.close()


def _flags() -> list[str]:
    """The interpreter's own options that decide how code runs, for another one."""
    flags = [
        f"-{letter * count}"
        for name, letter in _OPTIONS.items()
        if (count := getattr(sys.flags, name))
    ]
    utf8 = ["-X", "utf8"] if sys.flags.utf8_mode else []
    return [*flags, *utf8, *(f"-W{option}" for option in sys.warnoptions)]


def _send(file: IO[bytes], content: bytes) -> None:
    file.write(len(content).to_bytes(_LENGTH_BYTES) + content)
    file.flush()


def _receive(file: IO[bytes]) -> bytes:
    """A message. Raises EOFError if the other end is closed."""
    head = file.read(_LENGTH_BYTES)
    length = int.from_bytes(head)
    content = file.read(length) if len(head) == _LENGTH_BYTES else b""
    if len(head) < _LENGTH_BYTES or len(content) < length:
        raise EOFError
    return content


class _Reports:
    """Sends a worker's messages; progress not more often than somebody would look."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = Lock()
        self._size = self._milliseconds = 0
        self._sent = time.monotonic()

    def add(self, size: int, milliseconds: int) -> None:
        """Report progress."""
        with self._lock:
            self._size += size
            self._milliseconds += milliseconds
            if time.monotonic() - self._sent > _REPORT_SECONDS:
                self._send()

    def begin(self, recording: str) -> None:
        """Report a recording at once: the process may be killed by it."""
        with self._lock:
            self._send(recording=recording)

    def end(self, ended: Ended) -> None:
        """Report the end of a job."""
        with self._lock:
            self._send(ended=ended)

    def _send(self, **values: Any) -> None:
        try:
            _send(self._file, pickle.dumps(_Message(self._size, self._milliseconds, **values)))
        except BrokenPipeError:  # the parent was killed
            os._exit(1)
        self._size = self._milliseconds = 0
        self._sent = time.monotonic()


def main() -> None:
    """Do jobs until there are no more. The process ends at once if its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hide_pandas()
    fill_descriptors()
    _end_with_parent()
    jobs: SimpleQueue[bytes] = SimpleQueue()
    with os.fdopen(os.dup(0), "rb") as orders, os.fdopen(os.dup(1), "wb") as answers:
        _silence()
        keep_freed_memory()
        try:
            Thread(target=_listen, args=(orders, jobs), daemon=True).start()
        except RuntimeError:  # there may be no more threads; the parent says what to do
            return
        answers.write(_READY)
        answers.flush()
        reports = _Reports(answers)
        _work(jobs, reports)


def _end_with_parent() -> None:
    """Let the kernel end this process as soon as its parent ends, before it writes anything more.

    A worker that is stopped, or that gets no time, does not notice by itself that its parent was
    killed: it would go on later, and put old tokens in the place of those of a newer job. Linux
    alone can do this; elsewhere `_listen` notices as soon as it runs. To Linux, the parent is the
    thread that started the worker: it must live as long as the pool.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _work(jobs: "SimpleQueue[bytes]", reports: _Reports) -> None:
    while content := jobs.get():
        try:
            function, job, lost = pickle.loads(content)
            set_reports(Reports(reports.add, reports.begin, lost))
            threadpool_limits(1)  # of the libraries that are loaded by now
            ended = Ended(pickle.dumps(function(job)), failed=False)
        except BaseException as error:
            ended = Ended(pickle.dumps(_portable(error)), failed=True)
        reports.end(ended)


def _silence() -> None:
    """Lead what libraries print to stderr, away from the pipe."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)


def _listen(orders: IO[bytes], jobs: "SimpleQueue[bytes]") -> None:
    try:
        while content := _receive(orders):
            jobs.put(content)
    except (EOFError, OSError):
        os._exit(1)
    jobs.put(b"")


def _portable(error: BaseException) -> BaseException:
    """The error, with the lines that it came by, as something that can be sent."""
    lines = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PicklingError, TypeError, AttributeError):
        error = RuntimeError(str(error))
    error.add_note(f"In a worker:\n{lines}")
    return error
