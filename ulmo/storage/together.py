"""Requests to a store, several at a time: each waits for long, and computes little."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 16
_BLOCK = 1024  # items that are held, at most


def together(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What a function gives for each item, in their order.

    Raises what the function raises, for the first item for which it does.
    """
    return list(each_together(function, items, lambda _: True))


def each_together(
    function: Callable[[T], R], items: Iterable[T], waits: Callable[[T], bool]
) -> Iterator[R]:
    """The same, as it is asked for: few are held. One by one where it does not wait for a store."""
    with ThreadPoolExecutor(_AT_ONCE, "ulmo-store") as pool:
        try:
            for is_slow, run in groupby(items, waits):
                if not is_slow:
                    yield from map(function, run)
                while is_slow and (block := list(islice(run, _BLOCK))):
                    yield from pool.map(function, block)
        finally:
            pool.shutdown(cancel_futures=True)
