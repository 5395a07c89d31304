"""Workers are started by any process, and say in one line why they cannot be."""

import asyncio
import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import zipapp
from pathlib import Path

import pytest

from tests.jobs.toys import chat, crook, double, fail, finds, leave, lie, use_pool
from ulmo.config import JobError, UserError
from ulmo.formats.publish import TakenError
from ulmo.jobs import worker
from ulmo.jobs.spread import Spread
from ulmo.jobs.worker import Worker
from ulmo.storage.lock import LockError
from ulmo.storage.plain_file import LinkError

ROOT = Path(__file__).parents[2]
# Without a main guard: a worker that ran this again would start workers, and so on.
SCRIPT = """
from tests.jobs.toys import double
from ulmo.jobs.spread import Spread
with Spread(2).open(2, lambda *_: None) as pool:
    print(sorted(dict(pool.each(double, [1, 2, 3])).values()), flush=True)
"""
NO_SEMAPHORES = """
import _multiprocessing
class SemLock:
    def __init__(self, *_): raise OSError(30, "Read-only file system", "/dev/shm/pym-1")
_multiprocessing.SemLock = SemLock
"""
NO_THREADS = """
import threading
def start(_): raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""
NOISE = "print('a library greets everybody')"


def run(*command, site="", tmp_path=None, **options):
    """The output of a command whose Python runs `site` at its start, in every process."""
    paths = [str(ROOT)]
    if site:
        (tmp_path / "sitecustomize.py").write_text(site)
        paths.insert(0, str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    options = {"capture_output": True, "text": True, "timeout": 60, "env": environment, **options}
    done = subprocess.run([sys.executable, *command], **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestFromAnywhere:
    expected = "[2, 4, 6]\n"

    def test_a_script_without_a_main_guard(self, tmp_path):
        (tmp_path / "script.py").write_text(SCRIPT)
        assert run(tmp_path / "script.py") == self.expected

    @pytest.mark.parametrize("how", [("-",), ("-i",)])
    def test_a_script_from_stdin_and_a_prompt(self, how):
        assert run(*how, input=SCRIPT + "\n") == self.expected

    def test_a_command_line_with_options(self):
        assert run("-OO", "-W", "error", "-c", SCRIPT) == self.expected

    def test_a_zipapp(self, tmp_path):
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__main__.py").write_text(SCRIPT)
        zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
        assert run(tmp_path / "app.pyz") == self.expected

    def test_without_semaphores_as_without_dev_shm(self, tmp_path):
        assert run("-c", SCRIPT, site=NO_SEMAPHORES, tmp_path=tmp_path) == self.expected

    def test_where_a_library_prints_when_python_starts(self, tmp_path):
        said = run("-c", SCRIPT, site=NOISE, tmp_path=tmp_path)
        assert said == f"a library greets everybody\n{self.expected}"

    @pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
    def test_where_streams_are_closed(self, closed):
        command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, SCRIPT]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert (done.returncode, done.stdout) == (0, self.expected)

    def test_a_process_that_may_have_no_children_of_multiprocessing(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(use_pool) == [2, 4]

    def test_a_thread_and_a_running_loop(self):
        results = []
        thread = threading.Thread(target=lambda: results.append(use_pool()))
        thread.start()
        thread.join()

        async def use():
            return use_pool()

        assert [*results, asyncio.run(use())] == [[2, 4]] * 2

    def test_after_a_change_of_the_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert use_pool() == [2, 4]


@pytest.fixture(scope="module")
def one():
    """Do one job in another process: of a pool that no job and no error may spoil for the next."""
    with Spread(2).open(2, lambda *_: None) as pool:
        yield lambda function, job=0: next(pool.each(function, [job]))[1]


class TestResults:
    def test_what_a_job_prints_is_not_taken_for_its_result(self, capfd):
        with Spread(2).open(2, lambda *_: None) as pool:
            assert dict(pool.each(chat, [5])) == {5: 5}
        assert capfd.readouterr() == ("", "said by Python\nsaid by C\n")

    def test_a_large_job_and_a_large_result(self, one):
        assert one(bytes.upper, b"x" * (8 << 20)) == b"X" * (8 << 20)

    def test_there_is_no_pandas_for_pyarrow_to_import(self, one):
        assert (one(finds, "pandas"), one(finds, "json")) == (False, True)

    def test_a_result_that_cannot_be_sent(self, one):
        with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
            one(lie)
        assert one(double, 4) == 8

    def test_an_error_that_cannot_be_sent(self, one):
        with pytest.raises(RuntimeError, match="crooked"):
            one(crook)

    @pytest.mark.parametrize(
        "error",
        [
            LinkError(Path("x")),
            LockError(errno.EBUSY, "it is being written", Path("x")),
            TakenError(Path("x"), "no header beside it"),
        ],
    )
    def test_an_error_for_the_user_can_be_sent(self, error):
        sent = pickle.loads(pickle.dumps(error))
        assert (type(sent), str(sent), sent.filename) == (type(error), str(error), "x")

    def test_an_error_names_the_lines_that_it_came_by(self, one):
        with pytest.raises(UserError, match="unlucky") as raised:
            one(fail)
        assert "in fail" in raised.value.__notes__[0]

    def test_a_job_that_ends_python(self, one):
        with pytest.raises(SystemExit):
            one(leave)
        assert one(double, 4) == 8

    def test_a_job_of_a_module_that_is_not_there(self, one, monkeypatch):
        monkeypatch.setitem(sys.modules, "nowhere", sys.modules[double.__module__])
        monkeypatch.setattr(double, "__module__", "nowhere")
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            one(double)


ALONE = r"workers=1\)$"


class TestNoWorker:
    @pytest.mark.parametrize("program", ["/bin/true", "/bin/echo", "/bin/cat"])
    def test_where_python_is_another_program(self, program, monkeypatch):
        """As in an embedded interpreter. `cat` gives back nothing before it is asked."""
        monkeypatch.setattr(worker, "get_executable", lambda: program)
        with pytest.raises(JobError, match=f"'{program}' does not start as a worker.*{ALONE}"):
            use_pool()

    @pytest.mark.parametrize("lines", ["exec sleep 600", "while :; do echo no worker; done"])
    def test_where_python_is_a_program_that_never_ends(self, lines, tmp_path, monkeypatch):
        """As the window of a program that embeds Python."""
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)
        monkeypatch.setattr(worker, "get_executable", lambda: str(program))
        monkeypatch.setattr(worker, "_START_SECONDS", 0.5)
        with pytest.raises(JobError, match=f"does not start as a worker.*{ALONE}"):
            use_pool()

    def test_where_it_is_killed_at_once(self, tmp_path, monkeypatch):
        """It would start; so it is not said that it does not."""
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\nkill -KILL $$\n")
        program.chmod(0o755)
        monkeypatch.setattr(worker, "get_executable", lambda: str(program))
        with pytest.raises(JobError, match="a worker was killed"):
            use_pool()

    def test_where_it_is_gone(self, monkeypatch):
        monkeypatch.setattr(worker, "get_executable", lambda: "/nowhere/python")
        with pytest.raises(JobError, match=f"no worker can be started .*{ALONE}"):
            use_pool()

    @pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
    def test_where_there_may_be_no_more_processes(self, number, monkeypatch):
        def fork(*_, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(worker, "Popen", fork)
        with pytest.raises(JobError, match=f"{os.strerror(number)}.*{ALONE}"):
            use_pool()

    def test_where_a_worker_may_have_no_threads(self, tmp_path, monkeypatch, capfd):
        (tmp_path / "sitecustomize.py").write_text(NO_THREADS)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
        with pytest.raises(JobError, match=f"does not start as a worker.*{ALONE}"):
            use_pool()
        assert capfd.readouterr() == ("", "")

    def test_in_a_frozen_program(self, monkeypatch):
        """It would start itself again, and again."""
        monkeypatch.setattr(sys, "frozen", True, raising=False)
        with pytest.raises(JobError, match=f"frozen.*{ALONE}"):
            Worker()
