"""How much of a long test is run: a share in `make test`, all of it in `make crash`."""

import os
import random

import pytest

ALL = bool(os.environ.get("ULMO_ALL"))
"""`make crash` and `make fuzz-parsers` set it."""


def some_of(items, seed="", most=6):
    """The first item, the last, and others that the seed draws: at most so many, in their order.

    All items if ULMO_ALL is set. Tests with other parameters take other seeds, and so other items.
    """
    items = [*items]
    if ALL or len(items) <= most:
        return items
    inner = random.Random(seed).sample(range(1, len(items) - 1), most - 2)
    return [items[place] for place in (0, *sorted(inner), len(items) - 1)]


def in_make_crash(test):
    """A test of kills that takes long: only with ULMO_ALL, as in `make crash`."""
    return pytest.mark.kills(pytest.mark.skipif(not ALL, reason="make crash has it")(test))
