"""How many rows a table of a ledger may have, and that few of them are in memory."""

import tracemalloc
from hashlib import sha256

import pytest

from tests.outputs import write_table
from tests.sealed import hashes_of, reseal
from ulmo.config import UserError
from ulmo.storage import ledger as ledger_file
from ulmo.storage.tables import schema_of


def refused_rows(user, count):
    """Recordings that are refused for one reason, as alike as honest ones are."""
    plain = user.rows("k")[0].model_dump() | {"status": "refused", "detail": "the file is empty"}
    for number in range(count):
        key = sha256(str(number).encode()).hexdigest()
        yield plain | {"path": f"{number:06}.wav", "key": key, "bytes": 0}


def table_of(user, folder, rows):
    """A complete output whose table has these rows."""
    user.run(folder)
    files = user.files(folder)
    write_table(files.table, rows, schema_of(user.row))
    reseal(files.manifest, hashes=hashes_of(folder, files.table.name))
    return user.open(folder)


def test_many_recordings_refused_for_one_reason(user, tmp_path):
    """They compress well, and are read, while few of them are in memory."""
    ledger = table_of(user, tmp_path, refused_rows(user, 30_000))
    tracemalloc.start()
    assert sum(1 for _ in ledger.rows()) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


def test_more_rows_than_the_table_has_room_for(user, tmp_path):
    """Equal ones, of a key, in a few kilobytes."""
    rows = [user.rows("k")[0].model_dump()] * 30_000
    ledger = table_of(user, tmp_path, rows)
    assert user.files(tmp_path).table.stat().st_size < 30_000 - 4096
    with pytest.raises(UserError, match="more rows than its size allows"):
        ledger.check_rows()


def test_a_key_of_more_rows_than_a_block_is_not_done(user, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_file, "BATCH_ROWS", 16)
    table_of(user, tmp_path, [user.rows("k")[0].model_dump()] * 17)
    assert user.resumed(tmp_path).done("k") == []
