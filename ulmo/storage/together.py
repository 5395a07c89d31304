"""Requests to a store, several at a time: each waits for long, and computes little."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 16


def together(function: Callable[[T], R], items: Iterable[T], *, at_once: bool = True) -> list[R]:
    """What a function gives for each item, in their order; one by one unless `at_once`.

    Raises what the function raises, for the first item for which it does.
    """
    if not at_once:
        return list(map(function, items))
    with ThreadPoolExecutor(_AT_ONCE, "ulmo-store") as pool:
        try:
            return list(pool.map(function, items))
        finally:
            pool.shutdown(cancel_futures=True)
