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
    libraries = [(library, library.get_num_threads()) for library in _blas()]
    changed = [(library, threads) for library, threads in libraries if threads != 1]
    for library, _ in changed:
        library.set_num_threads(1)
    threads_of_cv2 = cv2.getNumThreads()
    if threads_of_cv2 != 1:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        for library, threads in changed:
            library.set_num_threads(threads)
        if threads_of_cv2 != 1:
            cv2.setNumThreads(threads_of_cv2)


@cache
def _blas() -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController().select(user_api="blas")
    return tuple(controller.lib_controllers)
