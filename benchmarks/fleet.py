"""A simulation of many workers on many recordings, from measured times.

The way of a recording: the driver sends it, the scheduler gives it to a worker, the worker computes
while the storage carries its bytes. Driver, scheduler and storage serve one recording at a time, in
order. A worker may be slow, and may be lost in the middle of a job, which is then done again.
"""

import heapq
import math
from collections import deque
from typing import NamedTuple

import numpy as np

from ulmo.jobs.executor import AHEAD
from ulmo.jobs.progress import TRIES

MOST = 600_000  # recordings that are simulated one by one: a year of minutes is 525,960
SAMPLE = 200_000  # of more than that, so many are: 200 for each of 1,000 workers
_DRAWN = 1 << 16  # job times that are drawn together
_ARRIVES, _ENDED, _LOST = range(3)


class Measured(NamedTuple):
    """What a command takes for recordings of one length; times in seconds, sizes in bytes."""

    jobs: tuple[float, ...]  # of a worker for a recording, one for each that was measured
    start: float  # of a new worker, until it begins its first job
    driver: float  # for a recording
    scheduler: float  # for a recording
    read: float  # for a recording
    written: float  # for a recording


class Fleet(NamedTuple):
    """Workers, and what happens to them. Nothing here is measured: these are assumptions."""

    workers: int
    slow_share: float = 0.05  # of the workers, to the nearest whole one
    slow_factor: float = 2.0  # a slow one takes so many times as long
    hours_between_losses: float = 100.0  # of one worker, on average
    away: float = 300.0  # seconds until a lost worker is missed, and until another takes its place
    storage: float = 1e9  # bytes a second, reading and writing, of all workers together


class Simulated(NamedTuple):
    """What became of a run."""

    seconds: float
    steady: float  # seconds for each recording, of the middle half of them
    again: float  # jobs that were lost with their worker, and done again
    refused: float  # recordings whose worker was lost too often
    shares: dict[str, float]  # of the time that each part was at work, by its name; of workers:
    # that they computed

    @property
    def fullest(self) -> str:
        """The part, other than the workers, that is at work for most of the time."""
        return max((name for name in self.shares if name != "workers"), key=self.shares.__getitem__)


def simulate(measured: Measured, fleet: Fleet, recordings: int, *, seed: int = 0) -> Simulated:
    """Simulate a run, every recording of it."""
    rng = np.random.default_rng(seed)
    slow = round(fleet.workers * fleet.slow_share)
    factors = [fleet.slow_factor] * slow + [1.0] * (fleet.workers - slow)
    between = fleet.hours_between_losses * 3600
    lives = rng.exponential(1.0, fleet.workers).tolist()
    until = [math.inf if math.isinf(between) else life * between for life in lives]
    carried = (measured.read + measured.written) / fleet.storage
    times, jobs = [], np.asarray(measured.jobs)
    driver = scheduler = storage = now = busy = 0.0
    ready: deque[float] = deque()  # when jobs that were sent can begin, in order
    lost: list[tuple[float, int]] = []  # when lost jobs can begin again, and their tries so far
    idle: list[int] = []
    ended = again = refused = sent = 0
    marks = {recordings // 4: 0.0, recordings * 3 // 4: 0.0}  # when so many had ended
    events = [(measured.start, worker, _ARRIVES, 0) for worker in range(fleet.workers)]

    def send(at: float) -> None:
        nonlocal driver, scheduler, sent
        driver = max(driver, at) + measured.driver
        scheduler = max(scheduler, driver) + measured.scheduler
        ready.append(scheduler)
        sent += 1

    while sent < min(AHEAD * fleet.workers, recordings):
        send(0.0)
    while ended < recordings:
        now, worker, what, tries = heapq.heappop(events)
        if what == _LOST:
            again += 1
            until[worker] = now + fleet.away + rng.exponential(between)
            heapq.heappush(events, (now + fleet.away, worker, _ARRIVES, 0))
            if tries < TRIES:
                heapq.heappush(lost, (now + fleet.away, tries))
                if idle:
                    heapq.heappush(events, (now + fleet.away, idle.pop(), _ARRIVES, 0))
                continue
            refused += 1
        if what != _ARRIVES:
            ended += 1
            if ended in marks:
                marks[ended] = now
            if sent < recordings:
                send(now)
        if what == _LOST:
            continue
        if ready and not (lost and lost[0][0] < ready[0]):
            begin, tries = ready.popleft(), 0
        elif lost:
            begin, tries = heapq.heappop(lost)
        else:
            idle.append(worker)
            continue
        if not times:
            times = rng.choice(jobs, _DRAWN).tolist()
        begin = max(begin, now)
        storage = max(storage, begin) + carried
        computing = times.pop() * factors[worker]
        end = max(begin + computing, storage)
        if until[worker] < end:
            end = max(until[worker], begin)
            heapq.heappush(events, (end, worker, _LOST, tries + 1))
        else:
            heapq.heappush(events, (end, worker, _ENDED, 0))
        busy += min(computing, end - begin)
    (first, begun), (last, done) = min(marks.items()), max(marks.items())
    steady = (done - begun) / max(last - first, 1)
    shares = {"workers": busy / (fleet.workers * now)}
    shares |= _shares(measured, carried, recordings, now)
    return Simulated(now, steady, again, refused, shares)


def _shares(
    measured: Measured, carried: float, recordings: int, seconds: float
) -> dict[str, float]:
    each = {"driver": measured.driver, "scheduler": measured.scheduler, "storage": carried}
    return {name: recordings * part / seconds for name, part in each.items()}


def extended(measured: Measured, fleet: Fleet, recordings: int, *, seed: int = 0) -> Simulated:
    """A run of any size: one of more than `MOST` goes on as its first `SAMPLE` recordings.

    The end of a run, when some workers have nothing left to do, is that of the simulated ones.
    """
    if recordings <= MOST:
        return simulate(measured, fleet, recordings, seed=seed)
    found, times = simulate(measured, fleet, SAMPLE, seed=seed), recordings / SAMPLE
    seconds = found.seconds + (recordings - SAMPLE) * found.steady
    carried = (measured.read + measured.written) / fleet.storage
    workers = found.shares["workers"] * found.seconds * times / seconds
    shares = {"workers": workers} | _shares(measured, carried, recordings, seconds)
    return Simulated(seconds, found.steady, found.again * times, found.refused * times, shares)


def most_workers(measured: Measured, fleet: Fleet) -> dict[str, float]:
    """How many workers keep each other part at work all the time: more of them gain nothing."""
    slow = fleet.slow_share * (1 / fleet.slow_factor - 1) + 1  # jobs that a worker does, on average
    job = float(np.mean(measured.jobs)) / slow
    carried = (measured.read + measured.written) / fleet.storage
    parts = {"driver": measured.driver, "scheduler": measured.scheduler, "storage": carried}
    return {name: job / seconds if seconds else math.inf for name, seconds in parts.items()}
