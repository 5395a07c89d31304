"""What TensorFlow says when a file cannot be written, said as Python does."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from ulmo.config import JobError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """OSError for a full disk, JobError with one line for all else that TensorFlow complains of."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    except tf.errors.OpError as error:
        raise JobError(f"{path} cannot be written: {error.message.splitlines()[0]}") from None
