import pytest


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk():
    """Here each call counts: the disk is waited for."""
