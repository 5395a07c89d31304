"""Run on one thread what must give the same bits for any number of threads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import cv2

_CHANGING = Lock()
_inside = 0  # blocks that run now, in all threads
_before: list[tuple[Callable[[int], None], int]] = []  # how to restore each library

if hasattr(os, "register_at_fork"):  # so that no child is born with the lock held
    os.register_at_fork(
        before=_CHANGING.acquire,
        after_in_parent=_CHANGING.release,
        after_in_child=_CHANGING.release,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit NumPy's BLAS and OpenCV to one thread inside the `with` block.

    BLAS splits a product by its number of threads, and rounds differently at the edges of a
    piece. This costs no speed: a front end's products take microseconds, and the cores work on
    different recordings. The limit holds until the last of the threads that asked for it is done.
    """
    global _inside
    with _CHANGING:
        if not _inside:
            _limit()
        _inside += 1
    try:
        yield
    finally:
        with _CHANGING:
            _inside -= 1
            if not _inside:
                for set_threads, threads in _before:
                    set_threads(threads)


def _limit() -> None:
    """Set each library to one thread, and note what it had."""
    _before.clear()
    for library in _blas():
        if (threads := library.get_num_threads()) != 1:
            _before.append((library.set_num_threads, threads))
            library.set_num_threads(1)
    if (threads := cv2.getNumThreads()) != 1:
        _before.append((cv2.setNumThreads, threads))
        cv2.setNumThreads(0)  # runs everything in the caller's thread; 1 crashes after a fork


@cache
def _blas() -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController().select(user_api="blas")
    return tuple(controller.lib_controllers)
