"""TensorFlow as a training needs it: loaded silently, with our settings, and left by Ctrl-C."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from ulmo.config import UserError

_ENVIRONMENT = {  # of TensorFlow, unless the user has set them
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # By default only on processors with AVX-512; without it a step takes 1.6 to 2 times as long.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


class Interruptible(Protocol):
    """A training that ends after its current batch once `interrupted` is set."""

    interrupted: bool


def refuse_strategy() -> None:
    """Raise UserError if the caller shares training out by a strategy of tf.distribute.

    Gradients would agree, and the codebooks of the replicas would silently differ. Does not import
    TensorFlow.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.distribute.has_strategy():
        raise UserError(
            "a strategy of tf.distribute is active, and codebooks would differ between its "
            "replicas: train outside of its scope, with --devices"
        )


@contextmanager
def loading_tensorflow() -> Iterator[None]:
    """Silence stderr while TensorFlow is imported: its libraries write to the descriptor itself.

    Keras then has the settings that the models are written for, whatever `keras.json` in the home
    says. UserError if it runs with another backend already.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _silence():
        import keras

        if keras.config.backend() == "tensorflow":
            keras.config.set_floatx("float32")
            keras.config.set_epsilon(1e-7)
            keras.config.set_image_data_format("channels_last")
            yield
            return
    raise UserError(
        f"Keras runs with the backend {keras.config.backend()} already: train in another process"
    )


def use_threads(threads: int) -> None:
    """Set the number of TensorFlow's threads; 1 makes operations deterministic.

    UserError if TensorFlow runs already with another number.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise UserError("TensorFlow is running already: its threads cannot change") from None
    if threads == 1:
        tf.config.experimental.enable_op_determinism()


@contextmanager
def _silence() -> Iterator[None]:
    """Send what is written to the descriptor of stderr nowhere."""
    kept = None
    with suppress(OSError):  # there is no stderr
        kept = os.dup(2)
    if kept is None:
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def catching_interrupts(trainer: Interruptible) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the current batch; a second Ctrl-C ends it at once."""

    def interrupt(number: int, _: Any) -> None:
        trainer.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {}
    with suppress(ValueError):  # not in the main thread, which alone receives signals
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, interrupt)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
