"""Run on one thread what must give the same bits for any number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit NumPy's BLAS and OpenCV to one thread inside the `with` block.

    BLAS splits a product by its number of threads, and rounds differently at the edges of a
    piece. This costs no speed: a front end's products take microseconds, and the cores work on
    different recordings.
    """
    setters = [(library.set_num_threads, library.get_num_threads()) for library in _blas()]
    setters.append((cv2.setNumThreads, cv2.getNumThreads()))
    changed = [(set_threads, threads) for set_threads, threads in setters if threads != 1]
    for set_threads, _ in changed:
        set_threads(1)
    try:
        yield
    finally:
        for set_threads, threads in changed:
            set_threads(threads)


@cache
def _blas() -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController().select(user_api="blas")
    return tuple(controller.lib_controllers)
