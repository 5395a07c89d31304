"""Loading TensorFlow: whether it is installed, and its settings before it is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ulmo.config import not_installed

_ENVIRONMENT = {  # of TensorFlow, unless the user has set them
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # By default only on processors with AVX-512; without it a step takes 1.6 to 2 times as long.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}

_PACKAGES = ("tensorflow", "keras", "tensorboard")


def check_tensorflow() -> None:
    """Raise UserError, which names the extra to install, unless training can begin."""
    for name in _PACKAGES:
        if find_spec(name) is None:
            raise not_installed(name)


@contextmanager
def loading_tensorflow() -> Iterator[None]:
    """Silence stderr while TensorFlow is imported: its libraries write to the descriptor itself."""
    for name, value in _ENVIRONMENT.items():
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
