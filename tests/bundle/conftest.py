"""A small bundle, and a copy of it for each test."""

import shutil

import pytest

from tests.bundles import PREP


@pytest.fixture(scope="module")
def original(make_bundle, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tokenizer", PREP)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tokenizer")
