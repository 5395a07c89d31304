"""Jobs for workers, in a module that imports little: a worker imports it before its first job."""

import os
import signal
import sys
import time
from importlib import import_module

from ulmo.config import UserError
from ulmo.jobs.progress import lost_with, progressed


def double(number):
    return 2 * number


def chat(number):
    """Print to stdout by all means, and give a result."""
    print("said by Python", flush=True)
    os.write(1, b"said by C\n")
    return number


def finds(name):
    """Whether a module can be imported."""
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def lie(_):
    return lambda: None


class CrookedError(Exception):
    """Cannot be made of its arguments."""

    def __init__(self, one, two):
        super().__init__("crooked")


def crook(_):
    raise CrookedError(1, 2)


def fail(_):
    raise UserError("unlucky")


def leave(_):
    sys.exit(7)


def use_pool():
    from ulmo.jobs.spread import Spread

    with Spread(2).open(2, lambda *_: None) as pool:
        return sorted(dict(pool.each(double, [1, 2])).values())


def work(number):
    """Square a number, and report progress in two steps."""
    progressed(number, 1000)
    if number == 13:
        raise UserError("unlucky")
    progressed(1)
    return number * number


def crash_once(place):
    """The worker is killed the first time; what it had done is not counted."""
    assert lost_with(place) is None
    progressed(5, 500)
    if not place.exists():
        place.touch()
        time.sleep(0.3)  # so that the progress is on its way
        os.kill(os.getpid(), signal.SIGKILL)
    return place.name


def crash_with(places):
    """A job of several recordings, of which one kills the worker each time."""
    found = []
    for place in places:
        lost = lost_with(place)
        found.append(lost is None)
        if place.name == "bad" and lost is None:
            with place.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
    return found


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def meet(paths):
    """Wait for a file, if one is named, and make another."""
    awaited, made = paths
    while awaited and not awaited.exists():
        time.sleep(0.01)
    made.touch()


def is_deaf(_):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def sleep(path):
    """What would be waited for in vain."""
    path.touch()
    if path.name == "2":
        raise UserError("unlucky")
    time.sleep(600)
