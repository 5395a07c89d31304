"""Jobs for workers, in a module that imports little: a worker imports it before its first job."""

import os
import sys

from ulmo.config import UserError


def double(number):
    return 2 * number


def chat(number):
    """Print to stdout by all means, and give a result."""
    print("said by Python", flush=True)
    os.write(1, b"said by C\n")
    return number


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
