"""The examples in docstrings give what they say; those of the public API run on data_samples."""

import doctest
import importlib

import pytest

from tests.conftest import SAMPLES

MODULES = [
    *("ulmo.tokenizer", "ulmo.tokens", "ulmo.vocabulary"),
    *("ulmo.bundle.weights", "ulmo.config.network", "ulmo.config.strides"),
    *("ulmo.pipelines.regions.regions", "ulmo.formats.cells"),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch):
    monkeypatch.chdir(SAMPLES.parent)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
