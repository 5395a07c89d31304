"""Jobs spread over processes, each in a fresh one: what a job writes depends on the job alone."""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str
) -> list[Result]:
    """The results of `function` for each job, in the order of the jobs.

    Function and jobs must be picklable. At most `workers` processes run at a time. After Ctrl-C the
    jobs that run are ended, and no other begins.
    """
    context, ignore = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(
        workers, context, signal.signal, ignore, max_tasks_per_child=1
    ) as pool:
        return list(tqdm(pool.map(function, jobs), total=len(jobs), desc=what, leave=False))
