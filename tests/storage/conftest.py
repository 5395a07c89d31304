"""What the tests of a ledger share: who has one, and outputs whose job has ended or was killed."""

from contextlib import suppress

import pytest

from tests.pipelines.recordings import Killed
from tests.storage.ledgers import KEYS, USERS


@pytest.fixture(params=USERS)
def user(request):
    return USERS[request.param]


@pytest.fixture
def complete(user, tmp_path):
    """A folder whose job has ended; a notebook of other people lies in it."""
    folder = tmp_path / "complete"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert user.run(folder) == list(KEYS)
    return folder


@pytest.fixture
def unfinished(user, tmp_path):
    """A folder whose job was killed after two keys."""
    folder = tmp_path / "unfinished"
    folder.mkdir()
    ledger = user.resumed(folder)
    with suppress(Killed), ledger.writing([]):
        for key in KEYS[:2]:
            ledger.add(key, user.rows(key))
        raise Killed
    return folder
