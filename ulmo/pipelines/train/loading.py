"""Loading TensorFlow: what has to be settled before it is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # By default only on processors with AVX-512; without it a step takes 1.6 to 2 times as long.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}
"""Of TensorFlow, unless the user has set them."""


@contextmanager
def loading_tensorflow() -> Iterator[None]:
    """Import TensorFlow inside: its libraries log to the file descriptor of stderr."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
