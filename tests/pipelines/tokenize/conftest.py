import pytest


@pytest.fixture(scope="session")
def tokenizer(tokenizer_of):
    return tokenizer_of()
