"""Keras as the models are written for, whatever a user's settings say."""

import os
import signal

import keras
import pytest
import tensorflow as tf

from tests.pipelines.training import Silent
from ulmo.cli import start
from ulmo.config import UserError
from ulmo.pipelines.lm.train import train_token_model
from ulmo.pipelines.loading import loading_tensorflow
from ulmo.pipelines.train.train import train


@pytest.fixture
def usual():
    config = keras.config
    before = config.floatx(), config.epsilon(), config.image_data_format()
    yield before
    config.set_floatx(before[0])
    config.set_epsilon(before[1])
    config.set_image_data_format(before[2])


def test_settings_of_keras_in_the_home_change_nothing(usual, monkeypatch):
    config = keras.config
    config.set_floatx("float64")
    config.set_epsilon(1.0)
    config.set_image_data_format("channels_first")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with loading_tensorflow():
        assert (config.floatx(), config.epsilon(), config.image_data_format()) == usual
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert usual == ("float32", 1e-7, "channels_last")


def test_another_backend_that_runs_already_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with (
        pytest.raises(UserError, match="with the backend jax already: train in another process"),
        loading_tensorflow(),
    ):
        pytest.fail("it was loaded")


@pytest.fixture(params=["tokenizer", "token model"])
def training(request, tmp_path):
    """A training of nothing, which is refused before it reads anything."""
    if request.param == "tokenizer":
        return lambda: train(tmp_path, tmp_path / "run", {}, {}, Silent())
    return lambda: train_token_model(tmp_path, tmp_path / "run", Silent())


def test_the_scope_of_a_strategy_is_refused(training):
    with (
        tf.distribute.OneDeviceStrategy("/cpu:0").scope(),
        pytest.raises(UserError, match="codebooks would differ between its replicas: train outs"),
    ):
        training()


@pytest.fixture
def own_ctrl_c():
    """A command leaves Ctrl-C to end the process; the tests behind this one have theirs."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_commands_drop_settings_of_libraries_that_change_weights(monkeypatch, own_ctrl_c):
    dropped = {
        "KERAS_HOME": "/elsewhere",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    for name, value in {**dropped, "TF_CPP_MIN_LOG_LEVEL": "1"}.items():
        monkeypatch.setenv(name, value)
    seen = {}
    monkeypatch.setattr("ulmo.cli.train.train", lambda: seen.update(os.environ))
    start.train()
    assert not seen.keys() & dropped.keys()
    assert seen["TF_CPP_MIN_LOG_LEVEL"] == "1"
